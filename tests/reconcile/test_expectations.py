"""What a DAG may expect of Adjust, in every form, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from reconcile.report_case import total

from airflow_provider_adjust.reconcile.expectations import read_expectations
from airflow_provider_adjust.reconcile.totals import Days, EventTotals, read_totals
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import load_timezone

FIRST, SECOND = date(2026, 5, 1), date(2026, 5, 2)
ROW = {"day": "2026-05-01", "event_token": "f0ob4r", "events": 3, "revenue": "3.75", "currency": "EUR"}


def result(**changes: Any) -> dict[str, Any]:
    """What a sending task returned."""
    summary = DeliverySummary(first_event_at=datetime(2026, 5, 1, 1, tzinfo=UTC))
    summary.last_event_at = datetime(2026, 5, 1, 23, tzinfo=UTC)
    summary.outcomes.update(delivered=3, rejected=1)
    summary.revenue = {"EUR": Decimal("3.75")}
    return summary.as_result(seconds=1.0, rejected_path=None) | changes


def read(value: Any, **settings: Any) -> list[EventTotals]:
    zone = load_timezone(settings.pop("zone", "UTC"))
    return read_expectations(value, "expected", zone=zone, **settings)


EXPECTED = [total(3, "3.75", "EUR", day=FIRST)]
TWO_CURRENCIES = replace(total(6, day=FIRST), by_currency={"EUR": Decimal("3.75"), "USD": Decimal("1.00")})
FORMS: dict[str, tuple[Any, dict[str, Any], list[EventTotals]]] = {
    "a row": (ROW, {}, EXPECTED),
    "rows": ([ROW], {}, EXPECTED),
    "JSON text": (json.dumps([ROW]), {}, EXPECTED),
    "JSON text of one row": (json.dumps(ROW), {}, EXPECTED),
    "no rows": ([], {}, []),
    "rows of one event token and day are added up": ([ROW, ROW], {}, [total(6, "7.50", "EUR", day=FIRST)]),
    "in the order of days": (
        [ROW | {"day": "2026-05-02"}, ROW], {}, [*EXPECTED, total(3, "3.75", "EUR", day=SECOND)],
    ),
    "numbers of a warehouse": (
        ROW | {"day": datetime(2026, 5, 1), "events": Decimal("3.0"), "revenue": 3.75, "currency": " eur"}, {}, EXPECTED,
    ),
    "a date": (ROW | {"day": FIRST}, {}, EXPECTED),
    "a timestamp as text": (ROW | {"day": "2026-05-01 00:00:00+00:00"}, {}, EXPECTED),
    "events alone": ({"day": FIRST, "event_token": "f0ob4r", "events": "3"}, {}, [total(3, day=FIRST)]),
    "no revenue that day": (
        ROW | {"events": 0, "revenue": None}, {}, [total(0, "0", "EUR", day=FIRST)],
    ),
    "a period": (ROW | {"day": None, "period": "2026-05-01:2026-05-02"}, {}, [total(3, "3.75", "EUR", day=FIRST, last=SECOND)]),
    "the sensor's period and token": (
        {"events": 3}, {"date_period": "2026-05-01:2026-05-02", "event_token": "f0ob4r"}, [total(3, day=FIRST, last=SECOND)],
    ),
    "a row's own go first": (ROW, {"date_period": "2026-05-02", "event_token": "abc123"}, EXPECTED),
    "revenue is not compared": (ROW, {"with_revenue": False}, [total(3, day=FIRST)]),
    "a result": (result(), {"event_token": "f0ob4r"}, EXPECTED),
    "the results of a mapped task": ([result(), result()], {"event_token": "f0ob4r"}, [total(6, "7.50", "EUR", day=FIRST)]),
    "a result in another zone": (
        result(), {"event_token": "f0ob4r", "zone": "Asia/Tokyo"}, [total(3, "3.75", "EUR", day=FIRST, last=SECOND)],
    ),
    "a result and its period": (
        result(), {"event_token": "f0ob4r", "date_period": "2026-05-02"}, [total(3, "3.75", "EUR", day=SECOND)],
    ),
    "a result without revenue": (result(revenue={}), {"event_token": "f0ob4r"}, [total(3, day=FIRST)]),
    "a result in two currencies, events only": (
        result(revenue={"EUR": "1", "USD": "2"}), {"event_token": "f0ob4r", "with_revenue": False}, [total(3, day=FIRST)],
    ),
    "rows in two currencies": ([ROW, ROW | {"currency": "USD", "revenue": 1}], {}, [TWO_CURRENCIES]),
    "a currency without an amount": (
        [ROW, ROW | {"events": 0, "currency": "USD", "revenue": None}], {}, EXPECTED,
    ),
    "revenue by currency": (ROW | {"events": 6, "revenue": {"EUR": "3.75", "usd": 1}}, {}, [TWO_CURRENCIES]),
    "results in two currencies": (
        [result(), result(revenue={"USD": "1.00"})], {"event_token": "f0ob4r"}, [TWO_CURRENCIES],
    ),
    "a result in two currencies": (
        result(delivered=6, revenue={"EUR": "3.75", "USD": "1"}), {"event_token": "f0ob4r"}, [TWO_CURRENCIES],
    ),
    "a result of a night without events": (
        result(delivered=0, revenue={}, first_event_at=None, last_event_at=None), {"event_token": "f0ob4r"}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_an_expectation_is_read_in_every_form(name: str) -> None:
    value, settings, expected = FORMS[name]
    assert read(value, **settings) == expected


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no event token": (ROW | {"event_token": None}, {}, "a row without event_token"),
    "no day": (ROW | {"day": None}, {}, "a row without day"),
    "no such day": (ROW | {"day": "yesterday"}, {}, "day in expected is 'yesterday'; give a day such as 2026-05-01"),
    "a period that ends first": (ROW | {"day": "2026-05-02:2026-05-01"}, {}, "ends before it begins"),
    "no events": (ROW | {"events": None}, {}, "events in expected is None; give a whole number"),
    "half an event": (ROW | {"events": 0.5}, {}, "events in expected is 0.5; give a whole number"),
    "less than no events": (ROW | {"events": -1}, {}, "events in expected is -1"),
    "no number": (ROW | {"revenue": "much"}, {}, "revenue in expected is 'much'; give a number"),
    "not a number": (ROW | {"revenue": float("nan")}, {}, "revenue in expected is nan; give a number"),
    "no currency": (ROW | {"currency": None}, {}, "without a currency"),
    "text that is not JSON": ("{'day': 1}", {}, "end the expression with `| tojson`"),
    "no text": ("", {}, "text that is not JSON"),
    "a template of nothing": ("null", {}, "expected must be rows such as"),
    "nothing": (None, {}, "expected must be rows such as"),
    "no row": (7, {}, "expected must be rows such as"),
    "rows that are none": (["f0ob4r"], {}, "expected must be rows such as"),
    "a result without its event token": (result(), {}, "which counts all event tokens together; name the one"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_expectation_that_cannot_be_used_is_refused_with_a_remedy(name: str) -> None:
    value, settings, words = REFUSED[name]
    with pytest.raises(AdjustConfigurationError, match=words):
        read(value, **settings)


@pytest.mark.parametrize(
    "totals", [TWO_CURRENCIES, total(3, "3.750", "EUR"), total(3), total(0, "0", "EUR", last=date(2030, 1, 1))]
)
def test_totals_come_back_from_json(totals: EventTotals) -> None:
    assert read_totals(json.loads(json.dumps(totals.as_json())), "expected") == totals


def test_a_period_is_every_day_of_it() -> None:
    days = Days.parse("2026-02-27:2026-03-02", "date_period")
    assert [f"{day:%m-%d}" for day in days] == ["02-27", "02-28", "03-01", "03-02"]
    assert str(days) == "2026-02-27:2026-03-02"
    assert str(Days.parse("2026-02-27", "date_period")) == "2026-02-27"
