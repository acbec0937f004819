"""Triggers: the waiting half of deferrable sensors. They read from Adjust and never send: a restart would send again."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
