"""Decorators: functions that become tasks which send events to Adjust."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
