"""Hooks: the connection to Adjust, and what can be done through it."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
