"""The way from a rejected file to the DAG that sends it again. The page itself triggers nothing."""

from __future__ import annotations

from airflow_provider_adjust.deliveries_page.access import Reader
from airflow_provider_adjust.deliveries_page.configuration import resend_dag_id
from airflow_provider_adjust.files.folder import files_folder
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


def resend_dag(reader: Reader) -> str | None:
    """The DAG that sends rejected files again, where Airflow has it and the user may read it."""
    dag_id = resend_dag_id()
    return dag_id if dag_id and dag_id in reader.readable([dag_id]) else None


def name_below_folder(path: str) -> str | None:
    """The file's name below ``[adjust] files_folder``, as that DAG takes it; None for a file elsewhere."""
    try:
        folder = files_folder()
    except AdjustConfigurationError:
        return None
    below = path.removeprefix("file://").removeprefix(f"{folder.removeprefix('file://')}/")
    return below if below != path.removeprefix("file://") else None
