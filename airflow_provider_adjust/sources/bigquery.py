"""BigQuery. Its hook returns nested values in the form of the REST API."""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust.sources.source import Source


def _problem_of(column: Any) -> str | None:
    if column[1] in {"RECORD", "STRUCT"}:
        return f"is a STRUCT, which comes without the names of its fields; select TO_JSON_STRING({column[0]})"
    return None


BIGQUERY = Source(problem_of=_problem_of)
