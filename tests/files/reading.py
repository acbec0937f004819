"""Reads the rows of a file, or of a folder, that a test has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.event_files import read_rows
from airflow_provider_adjust.files.head import CheckColumns, any_columns
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import UnreadableRow


def read(path: Path, **options: Any) -> list[Any]:
    with read_rows(ObjectStoragePath(str(path)), RowOptions(**options)) as rows:
        return list(rows)


def read_bytes(
    path: Path, content: bytes, *, check: CheckColumns = any_columns, **options: Any
) -> tuple[list[Any], str]:
    """The rows of a file with this content, and the error that ended it, if one did."""
    path.write_bytes(content)
    rows: list[Any] = []
    try:
        with read_rows(ObjectStoragePath(str(path)), RowOptions(**options), check=check) as stream:
            rows.extend(row for row in stream)
    except AdjustError as error:
        return rows, f"{type(error).__name__}: {error}"
    return rows, ""


def problem(row: Any) -> str:
    assert isinstance(row, UnreadableRow), row
    return f"{row.reason}: {row.problem}"
