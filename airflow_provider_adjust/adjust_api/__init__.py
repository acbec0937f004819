"""Reading from Adjust with the API token. Imports nothing of Airflow, and s2s never imports it."""
