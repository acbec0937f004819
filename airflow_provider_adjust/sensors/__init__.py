"""Sensors: tasks that wait for something to be so in Adjust."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
