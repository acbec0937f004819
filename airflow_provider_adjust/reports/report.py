"""A report, typed: Adjust writes the values of a row as text and the totals as numbers (Report Service, response)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_adjust.reports.errors import ReportRefused


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row: its dimensions as text, its metrics as exact numbers."""

    dimensions: Mapping[str, str]
    metrics: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Report:
    """The rows, the totals of each metric, and Adjust's warnings. A report on nothing has no rows and no totals."""

    rows: tuple[ReportRow, ...] = ()
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_report(body: bytes, dimensions: Sequence[str], metrics: Sequence[str]) -> Report:
    """Read the body of an answer with status 200.

    :raises ReportRefused: it is not what Adjust documents.
    """
    content = read_json(body)
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReportRefused("the Report Service gave no list of rows; check the connection's report_endpoint")
    totals = content.get("totals") or {}
    return Report(
        rows=tuple(
            ReportRow(
                dimensions={name: str(_value(row, name)) for name in dimensions},
                metrics={name: _number(name, _value(row, name)) for name in metrics},
            )
            for row in rows
        ),
        totals={name: _number(name, totals[name]) for name in metrics if name in totals},
        warnings=tuple(map(str, content.get("warnings") or ())),
    )


def read_json(body: bytes) -> Any:
    """The answer's JSON, its numbers exact.

    :raises ReportRefused: it is none.
    """
    try:
        return json.loads(body, parse_float=Decimal)
    except ValueError:
        raise ReportRefused(
            "the Report Service gave an answer that is not JSON; check the connection's report_endpoint"
        ) from None


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ReportRefused(f"the Report Service gave a row without {name!r}, which was asked for")
    return row[name]


def _number(name: str, value: Any) -> Decimal:
    if value is None or value == "":
        return Decimal(0)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ReportRefused(f"the Report Service gave a value of {name!r} that is no number")
    return number
