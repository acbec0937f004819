"""The link from a rejected file to the DAG that sends it again. The page itself triggers nothing."""

from __future__ import annotations

from airflow_provider_adjust.deliveries_page.access import Reader
from airflow_provider_adjust.deliveries_page.configuration import files_folder, resend_dag_id


def resend_dag(reader: Reader) -> str | None:
    """The DAG that sends rejected files again, if Airflow has it and the user may read it."""
    dag_id = resend_dag_id()
    return dag_id if dag_id and dag_id in reader.readable([dag_id]) else None


def name_below_folder(path: str) -> str | None:
    """The file's name below ``[adjust] files_folder``, which that DAG takes; None for a file elsewhere."""
    written, folder = path.removeprefix("file://"), f"{files_folder().removeprefix('file://')}/"
    return written.removeprefix(folder) if written.startswith(folder) else None
