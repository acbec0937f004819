"""Adjust's reports against what was sent. Imports nothing of Airflow."""
