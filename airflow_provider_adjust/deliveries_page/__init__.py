"""The page "Adjust deliveries" in Airflow's UI. It shows ledgers to users who may read the DAG.

Airflow loads ``plugin`` when it starts. The rest is imported at the first request, so a defect in it breaks this page only.
"""
