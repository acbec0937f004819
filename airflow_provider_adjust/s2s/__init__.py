"""Adjust's server-to-server protocol in plain Python: rows in, receipts out. Imports nothing of Airflow."""
