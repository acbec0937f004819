"""The page's queries on SQLite and on a real Postgres, compared with sums that are computed here from the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries_page.made_ledger import DAGS, fill

from airflow_provider_adjust.deliveries_page import queries
from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor
from airflow_provider_adjust.deliveries_page.queries import PAGE_SIZE, EventRow, Run, counts, dags_in, held_counts
from airflow_provider_adjust.deliveries_page.summary import summarise
from airflow_provider_adjust.s2s.ledger.schema import deliveries, held

NOW = datetime(2026, 5, 6)
DAYS = 5
PURCHASES, SUBSCRIPTIONS = DAGS


@pytest.fixture
def ledger(ledger_engine: sa.Engine) -> Any:
    fill(ledger_engine, rows=1500, days=DAYS, last=NOW)
    with ledger_engine.begin() as connection:
        connection.execute(held.delete())
        connection.execute(
            held.insert(),
            [
                {
                    "dag_id": dag_id,
                    "run_id": "scheduled__2026-05-03T00:00:00+00:00",
                    "task_id": "send_purchases",
                    "map_index": 1,
                    "app_token": "4w565xzmb54d",
                    "event_token": "f0ob4r",
                    "environment": "production",
                    "day": date(2026, 5, 3),
                    "events": events,
                }
                for dag_id, events in ((PURCHASES, 7), (SUBSCRIPTIONS, 11))
            ],
        )
    with ledger_engine.connect() as connection:
        yield connection


def written(connection: sa.Connection, dag_ids: Collection[str]) -> list[Any]:
    """The rows of these DAGs, filtered here and not by the database."""
    return [row for row in connection.execute(sa.select(deliveries)) if row.dag_id in dag_ids]


def test_the_dags_in_a_ledger_are_found_without_the_empty_name(ledger: sa.Connection) -> None:
    row = dict(written(ledger, DAGS)[0]._mapping)
    ledger.execute(deliveries.insert(), [row | {"dag_id": "", "event_id": "sent-outside-airflow"}])
    assert dags_in(ledger) == sorted(DAGS)


def test_an_empty_ledger_has_no_dags(ledger: sa.Connection) -> None:
    ledger.execute(deliveries.delete())
    assert dags_in(ledger) == []


@pytest.mark.parametrize("dag_ids", [DAGS, [PURCHASES], [SUBSCRIPTIONS], []])
def test_counts_and_revenue_add_up_per_day_and_kind(ledger: sa.Connection, dag_ids: Collection[str]) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    revenue: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in written(ledger, dag_ids):
        key = (str(row.occurred_at.date()), row.event_token, row.status, row.reason, row.currency)
        expected[key] += 1
        revenue[key] += row.revenue

    found = counts(ledger, dag_ids, Filters().with_default_days(NOW.date()), NOW)
    keys = {(str(count.day), count.event_token, count.status, count.reason, count.currency): count for count in found}
    assert {key: count.events for key, count in keys.items()} == expected
    assert {key: round(count.revenue or 0, 6) for key, count in keys.items()} == {
        key: round(value, 6) for key, value in revenue.items()
    }

    summary = summarise(found)
    assert summary.totals.events.total() == len(written(ledger, dag_ids))
    assert [day.day for day in summary.days] == sorted({count.day for count in found}, reverse=True)
    assert sum((day.totals.events for day in summary.days), Counter()) == summary.totals.events


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        (Filters(event_token="sub5cr"), lambda row: row.event_token == "sub5cr"),
        (Filters(status="rejected"), lambda row: row.status == "rejected"),
        (Filters(reason="device_opted_out"), lambda row: row.reason == "device_opted_out"),
        (Filters(dag_id=PURCHASES), lambda row: row.dag_id == PURCHASES),
        (Filters(dag_id="unheard_of"), lambda row: False),
        (Filters(map_index=2), lambda row: row.map_index == 2),
        (Filters(environment="sandbox"), lambda row: False),
        (
            Filters(run_id="scheduled__2026-05-03T00:00:00+00:00"),
            lambda row: row.run_id == "scheduled__2026-05-03T00:00:00+00:00",
        ),
        (Filters(first_day=date(2026, 5, 2), last_day=date(2026, 5, 2)), lambda row: row.occurred_at.day == 2),
        (Filters(first_day=date(2026, 5, 4)), lambda row: row.occurred_at.day >= 4),
        (Filters(last_day=date(2026, 4, 30)), lambda row: False),
    ],
    ids=[
        "token",
        "status",
        "reason",
        "dag",
        "no-such-dag",
        "map-index",
        "no-such-environment",
        "run",
        "day",
        "from-day",
        "before",
    ],
)
def test_a_filter_applies_to_every_list(ledger: sa.Connection, filters: Filters, matches: Any) -> None:
    expected = {row.event_id for row in written(ledger, DAGS) if matches(row)}
    filters = filters.with_default_days(NOW.date())
    assert sum(count.events for count in counts(ledger, DAGS, filters, NOW)) == len(expected)
    assert {event.event_id for event in all_events(ledger, filters)} == expected
    assert sum(sum(run.events.values()) for run in all_runs(ledger, filters, with_held=False)) == len(expected)


def all_events(connection: sa.Connection, filters: Filters) -> list[EventRow]:
    """The events of all pages."""
    found: list[EventRow] = []
    while True:
        page = queries.events(connection, DAGS, filters, NOW)
        assert len(page.items) <= PAGE_SIZE
        found += page.items
        if page.after is None:
            return found
        filters = filters.model_copy(update={"after": page.after})


def all_runs(connection: sa.Connection, filters: Filters, *, with_held: bool) -> list[Run]:
    found: list[Run] = []
    while True:
        page = queries.runs(connection, DAGS, filters, NOW, with_held=with_held)
        found += page.items
        if page.after is None:
            return found
        filters = filters.model_copy(update={"after": page.after})


def test_pages_have_every_event_once_in_order_even_at_one_time(ledger: sa.Connection) -> None:
    ledger.execute(deliveries.update().values(occurred_at=NOW - timedelta(days=1, microseconds=1)))
    found = all_events(ledger, Filters().with_default_days(NOW.date()))
    places = [
        (event.occurred_at, event.app_token, event.event_token, event.environment, event.event_id) for event in found
    ]
    assert len(places) == len(set(places)) == 1500
    assert places == sorted(places)


def test_pages_have_every_task_instance_once(ledger: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE_SIZE", 3)
    found = all_runs(ledger, Filters().with_default_days(NOW.date()), with_held=True)
    keys = [(run.dag_id, run.run_id, run.task_id, run.map_index) for run in found]
    assert keys == sorted(set(keys), reverse=True)
    assert set(keys) == {(row.dag_id, row.run_id, row.task_id, row.map_index) for row in written(ledger, DAGS)}
    assert sum(run.events["held"] for run in found) == 18


def test_an_old_claim_is_in_doubt_and_a_fresh_one_is_being_sent(ledger: sa.Connection) -> None:
    first, second = ("order-0000001", "order-0000002")
    for event_id, age in ((first, timedelta(minutes=14)), (second, timedelta(minutes=16))):
        sending = deliveries.update().where(deliveries.c.event_id == event_id)
        ledger.execute(sending.values(status="sending", updated_at=NOW - age))
    filters = Filters().with_default_days(NOW.date())
    assert [event.event_id for event in all_events(ledger, filters.model_copy(update={"status": "sending"}))] == [first]
    assert second in {event.event_id for event in all_events(ledger, filters.model_copy(update={"status": "in_doubt"}))}
    totals = summarise(counts(ledger, DAGS, filters, NOW)).totals.events
    assert (totals["sending"], totals.total()) == (1, 1500)


@pytest.mark.parametrize(
    ("dag_ids", "filters", "expected"),
    [
        (DAGS, Filters(), 18),
        ([PURCHASES], Filters(), 7),
        ([], Filters(), 0),
        ([PURCHASES], Filters(dag_id=SUBSCRIPTIONS), 0),
        (DAGS, Filters(event_token="sub5cr"), 0),
        (DAGS, Filters(first_day=date(2026, 5, 4)), 0),
        (DAGS, Filters(status="rejected"), 0),
    ],
)
def test_held_events_are_counted_without_a_filter_on_status_or_reason(
    ledger: sa.Connection, dag_ids: Collection[str], filters: Filters, expected: int
) -> None:
    found = held_counts(ledger, dag_ids, filters.with_default_days(NOW.date()))
    assert sum(count.events for count in found) == expected
    assert {count.status for count in found} <= {"held"}


@pytest.mark.parametrize("after", ["W10", "e30", "Ww", "äö", "WzFd", "bnVsbA", "WyJhIiwiYiIsImMiLDEuNV0"])
def test_a_text_that_is_not_a_cursor_of_the_list_is_refused(ledger: sa.Connection, after: str) -> None:
    for ask in (queries.events, lambda *args: queries.runs(*args, with_held=False)):
        with pytest.raises(InvalidCursor):
            ask(ledger, DAGS, Filters(after=after).with_default_days(NOW.date()), NOW)


def test_the_ledger_has_no_column_with_device_ids() -> None:
    """A new column of the ledger must not hold personal data, since the page may show it."""
    assert set(deliveries.c.keys()) == {
        *("app_token", "event_token", "environment", "event_id", "status", "reason", "http_status", "content"),
        *("occurred_at", "revenue", "currency", "claim", "dag_id", "run_id", "task_id", "map_index", "updated_at"),
    }
