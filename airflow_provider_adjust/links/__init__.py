"""Links: buttons on a task in Airflow's UI."""
