"""Triggers: the waiting half of deferrable sensors. They read and never send, since a restart repeats them."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
