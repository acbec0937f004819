"""Expected totals, in the forms that a DAG can give: rows, JSON text, or the result of a sending task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.reconcile.totals import (
    AD_REVENUE_TOKEN,
    Days,
    EventTotals,
    merged,
    no_ad_revenue,
    read_totals,
)
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: A dict with these keys is the result of a sending task.
_RESULT_KEYS = frozenset({"delivered", "first_event_at", "last_event_at", "revenue"})


def read_expectations(
    value: Any,
    name: str,
    *,
    zone: tzinfo,
    date_period: Any = None,
    event_token: str | None = None,
    with_revenue: bool = True,
) -> list[EventTotals]:
    """Read one expectation or a list of them, and add up those of the same event token and days.

    The result of a sending task counts the events of one run, not of one event token, so it needs ``event_token``. Its days
    are those from its first event to its last in ``zone``, unless ``date_period`` is given.

    :raises AdjustConfigurationError: a value is missing, contradicts another or cannot be used.
    """
    given = None if date_period in (None, "") else date_period
    rows = [_without_revenue(row) if not with_revenue else row for row in _rows(value, name)]
    return merged(
        total
        for row in rows
        for total in (
            _of_result(row, zone, given, event_token)
            if row.keys() >= _RESULT_KEYS
            else [read_totals(row, name, period=given, event_token=event_token)]
        )
    )


def _rows(value: Any, name: str) -> list[Mapping[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise AdjustConfigurationError(
                f"{name} is text that is not JSON; in a template, end the expression with `| tojson`, or pass the upstream "
                "task's output itself"
            ) from None
    rows = [value] if isinstance(value, Mapping) else list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(row, Mapping) for row in rows):
        raise AdjustConfigurationError(
            f"{name} must be rows such as {{'day': '2026-05-01', 'event_token': 'f0ob4r', 'events': 10}}, or the result of "
            "a sending task"
        )
    return rows


def _without_revenue(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if row.keys() >= _RESULT_KEYS:
        return {**row, "revenue": {}}
    return {key: value for key, value in row.items() if key not in {"revenue", "currency"}}


def _of_result(
    result: Mapping[str, Any], zone: tzinfo, date_period: Any, event_token: str | None
) -> Iterator[EventTotals]:
    if event_token is None:
        raise AdjustConfigurationError(
            "expected is the result of a sending task, which counts all event tokens together; name the one that it sent "
            "as event_token. If it sent several, count the events per event token in the warehouse and expect these rows"
        )
    events = int(result["delivered"])
    if not events:
        return  # a run without a delivery expects nothing
    if event_token == AD_REVENUE_TOKEN and not result["revenue"]:
        raise no_ad_revenue("expected")
    days = (
        Days(
            *(datetime.fromisoformat(result[at]).astimezone(zone).date() for at in ("first_event_at", "last_event_at"))
        )
        if date_period is None
        else Days.parse(date_period, "date_period")
    )
    nothing = EventTotals(event_token, days, events)
    yield sum(
        (
            EventTotals(event_token, days, 0, Decimal(str(amount)), currency)
            for currency, amount in (result["revenue"] or {}).items()
        ),
        nothing,
    )
