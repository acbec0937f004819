"""Transfers: tasks that move rows from somewhere else to Adjust."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
