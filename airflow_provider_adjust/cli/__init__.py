"""The command line: ``airflow adjust ...`` and ``python -m airflow_provider_adjust ...``, which are the same."""
