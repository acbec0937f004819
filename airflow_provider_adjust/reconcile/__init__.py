"""Compare Adjust's reports with what was sent. It does not import Airflow."""
