"""Notifications: what became of a delivery, told to people."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
