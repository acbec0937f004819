"""Adjust's raw data exports against what was sent, event by event. Imports nothing of Airflow."""
