"""Notifiers: a message to people at the end of a delivery."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
