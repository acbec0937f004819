"""Hooks: the connection to Adjust, for sending and reading."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
