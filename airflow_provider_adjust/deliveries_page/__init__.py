"""The page "Adjust deliveries" in Airflow's UI: what the ledger knows, for those who may see the DAG.

``plugin`` is all that Airflow loads when it starts. The rest is imported when somebody first opens the page, so that
whatever is wrong with it stops this page and nothing else.
"""
