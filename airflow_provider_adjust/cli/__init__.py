"""The command line: ``airflow adjust ...`` and ``python -m airflow_provider_adjust ...``, with the same commands."""
