"""Triggers: the waiting part of deferrable sensors. They only read, since a restart repeats them."""

from airflow_provider_adjust.oldest_airflow import refuse_older_airflow

refuse_older_airflow()
