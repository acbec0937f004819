"""Decorators that turn a function into a task that sends its rows to Adjust."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
