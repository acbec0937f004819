"""What Adjust says that it has: its reports, and how they compare with what was sent. Imports nothing of Airflow."""
