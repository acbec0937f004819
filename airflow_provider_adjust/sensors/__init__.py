"""Sensors: tasks that wait for events in the warehouse or in Adjust."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
