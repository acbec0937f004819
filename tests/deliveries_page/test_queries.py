"""The page's queries on SQLite, a real Postgres and a real MariaDB, compared with sums that are computed here from the rows."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries_page.made_ledger import DAGS, fill
from ledger_rows import write_deliveries, write_totals

from airflow_provider_adjust.deliveries_page import event_list, queries, run_list
from airflow_provider_adjust.deliveries_page.event_list import EventRow
from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor, encode_cursor
from airflow_provider_adjust.deliveries_page.queries import PAGE_SIZE, Count, counts, dags_in
from airflow_provider_adjust.deliveries_page.run_list import Run
from airflow_provider_adjust.deliveries_page.summary import summarise
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import deliveries, events, totals, tries

NOW = datetime(2026, 5, 6)
DAYS = 5
PURCHASES, SUBSCRIPTIONS = DAGS


@pytest.fixture
def ledger(ledger_engine: sa.Engine) -> Any:
    fill(ledger_engine, rows=1500, days=DAYS, last=NOW)
    with ledger_engine.begin() as connection:
        write_totals(
            connection,
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
                    "outcome": "held",
                    "reason": "lane_held",
                    "events": held,
                    "updated_at": datetime(2026, 5, 4, 2),
                }
                for dag_id, held in ((PURCHASES, 7), (SUBSCRIPTIONS, 11))
            ],
        )
    with ledger_engine.connect() as connection:
        yield connection


def without_held(found: Iterable[Count]) -> list[Count]:
    return [count for count in found if count.status != "held"]


def written(connection: sa.Connection, dag_ids: Collection[str]) -> list[Any]:
    """The rows of these DAGs, filtered here and not by the database."""
    return [row for row in connection.execute(sa.select(deliveries)) if row.dag_id in dag_ids]


def test_the_dags_in_a_ledger_are_found_without_the_empty_name(ledger: sa.Connection) -> None:
    row = dict(written(ledger, DAGS)[0]._mapping)
    write_deliveries(ledger, [row | {"dag_id": "", "event_id": "sent-outside-airflow"}])
    assert dags_in(ledger) == sorted(DAGS)


def test_an_empty_ledger_has_no_dags(ledger: sa.Connection) -> None:
    ledger.execute(tries.delete())
    assert dags_in(ledger) == []


@pytest.mark.parametrize("dag_ids", [DAGS, [PURCHASES], [SUBSCRIPTIONS], []])
def test_counts_and_revenue_add_up_per_day_and_kind(ledger: sa.Connection, dag_ids: Collection[str]) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    revenue: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in written(ledger, dag_ids):
        key = (row.dag_id, str(row.occurred_at.date()), row.event_token, row.status, row.reason, row.currency)
        expected[key] += 1
        revenue[key] += row.revenue

    found = without_held(counts(ledger, dag_ids, Filters().with_default_days(NOW.date()), NOW))
    keys = {
        (each.dag_id, str(each.day), each.event_token, each.status, each.reason, each.currency): each for each in found
    }
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
    assert sum(count.events for count in without_held(counts(ledger, DAGS, filters, NOW))) == len(expected)
    assert {event.event_id for event in all_events(ledger, filters)} == expected
    assert sum(sum(run.events.values()) - run.events["held"] for run in all_runs(ledger, filters)) == len(expected)


def all_events(connection: sa.Connection, filters: Filters) -> list[EventRow]:
    """The events of all pages."""
    found: list[EventRow] = []
    while True:
        page = event_list.events(connection, DAGS, filters, NOW)
        assert len(page.items) <= PAGE_SIZE
        assert page.first == len(found) + 1
        found += page.items
        if page.after is None:
            return found
        filters = filters.model_copy(update={"after": page.after})


def all_runs(connection: sa.Connection, filters: Filters) -> list[Run]:
    """The runs of all pages."""
    found: list[Run] = []
    while True:
        page = run_list.runs(connection, DAGS, filters, NOW)
        assert page.first == len(found) + 1
        found += page.items
        if page.after is None:
            return found
        filters = filters.model_copy(update={"after": page.after})


@pytest.mark.parametrize("same", ["nothing", "the time", "time and try", "the whole place"])
def test_pages_have_every_event_once_the_latest_first(ledger: sa.Connection, same: str) -> None:
    if same != "nothing":
        ledger.execute(events.update().values(occurred_at=NOW - timedelta(days=1, microseconds=1)))
    if same in {"time and try", "the whole place"}:
        ledger.execute(events.update().values(try_id=ledger.scalar(sa.select(sa.func.min(tries.c.id)))))
    if same == "the whole place":  # as in an older ledger
        ledger.execute(events.update().values(position=0))
    c = events.c
    rows = ledger.execute(sa.select(c.event_id, c.occurred_at, c.try_id, c.position))
    places = {event_id: place for event_id, *place in rows}
    found = [event.event_id for event in all_events(ledger, Filters().with_default_days(NOW.date()))]
    assert len(found) == len(set(found)) == 1500
    assert [places[event_id] for event_id in found] == sorted(places.values(), reverse=True)


def test_a_cursor_of_events_holds_numbers_and_a_time_only(ledger: sa.Connection) -> None:
    """The server's log of requests has it."""
    after = event_list.events(ledger, DAGS, Filters().with_default_days(NOW.date()), NOW).after
    assert after is not None
    moment, *numbers = json.loads(base64.urlsafe_b64decode(after + "=="))
    assert datetime.fromisoformat(moment) < NOW
    assert [type(number) for number in numbers] == [int] * 4
    for passed, before in ((-1, 0), (1_000_001, 0), (0, -1)):
        wrong = encode_cursor((NOW, 1, 1, passed, before))
        with pytest.raises(InvalidCursor):
            event_list.events(ledger, DAGS, Filters(after=wrong).with_default_days(NOW.date()), NOW)


def test_a_row_that_the_database_selected_wrongly_is_not_shown(
    ledger: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a database would that takes two names for equal ones: every list compares the names once more."""
    for module in (event_list, run_list):
        monkeypatch.setattr(module, "PAGE_SIZE", 200)
    monkeypatch.setattr(queries, "may_be_shown", lambda dag_ids: sa.true())
    filters = Filters().with_default_days(NOW.date())
    for dag_ids in ([PURCHASES], [SUBSCRIPTIONS], [PURCHASES.upper()], []):
        shown = {count.dag_id for count in counts(ledger, dag_ids, filters, NOW)}
        shown |= {run.dag_id for run in run_list.runs(ledger, dag_ids, filters, NOW).items}
        shown |= {event.dag_id for event in event_list.events(ledger, dag_ids, filters, NOW).items}
        assert shown == set(dag_ids) & set(DAGS)


def test_pages_have_every_task_instance_once(ledger: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list, "PAGE_SIZE", 3)
    found = all_runs(ledger, Filters().with_default_days(NOW.date()))
    began = [run.began_at for run in found]
    assert began == sorted(began, reverse=True)
    keys = [run.key for run in found]
    assert len(keys) == len(set(keys))
    assert set(keys) == {(row.dag_id, row.run_id, row.task_id, row.map_index) for row in written(ledger, DAGS)}
    assert sum(run.events["held"] for run in found) == 18


def test_what_a_live_try_sends_is_being_sent_and_of_a_dead_one_in_doubt(ledger: sa.Connection) -> None:
    row = dict(written(ledger, [PURCHASES])[0]._mapping) | {"status": "sending", "reason": ""}
    for event_id, age in (("live", timedelta(seconds=80)), ("dead", timedelta(seconds=100))):
        write_deliveries(ledger, [row | {"event_id": event_id, "run_id": event_id, "updated_at": NOW - age}])
    filters = Filters().with_default_days(NOW.date())
    found = summarise(counts(ledger, DAGS, filters, NOW)).totals.events
    settled = [
        each for each in written(ledger, DAGS) if each.status == "in_doubt" and each.run_id not in {"live", "dead"}
    ]
    assert (found["sending"], found["in_doubt"]) == (1, len(settled) + 1)
    states = {
        run.run_id: (run.state, run.events["sending"], run.events["in_doubt"]) for run in all_runs(ledger, filters)
    }
    assert states["live"] == ("running", 1, 0)
    assert states["dead"] == ("lost", 0, 1)


def test_a_night_in_which_nothing_could_be_sent_is_shown_with_its_error(ledger: sa.Connection) -> None:
    task = {"dag_id": PURCHASES, "task_id": "send_purchases", "scope_id": None, "day": None, "events": 9}
    night = task | {"updated_at": NOW - timedelta(hours=1)}
    write_totals(ledger, [night | {"run_id": "bad night", "outcome": "invalid", "reason": "bad_time"}])
    ledger.execute(
        tries.update().where(tries.c.run_id == "bad night").values(state="failed", error="DeliveryHalted: 401")
    )
    write_totals(ledger, [night | {"run_id": "empty night", "outcome": "skipped"}])
    ledger.execute(totals.delete().where(totals.c.outcome == "skipped"))
    filters = Filters().with_default_days(NOW.date())
    runs = {run.run_id: run for run in all_runs(ledger, filters)}
    assert (runs["bad night"].events["invalid"], runs["bad night"].error) == (9, "DeliveryHalted: 401")
    assert sum(runs["empty night"].events.values()) == 0
    bad = [count for count in counts(ledger, DAGS, filters, NOW) if count.status == "invalid"]
    assert [(count.day, count.reason, count.events) for count in bad] == [(date(2026, 5, 5), "bad_time", 9)]


def test_of_several_tries_deliveries_add_up_and_the_last_says_what_is_missing(ledger: sa.Connection) -> None:
    night = {
        "dag_id": PURCHASES,
        "task_id": "send_purchases",
        "app_token": "4w565xzmb54d",
        "event_token": "f0ob4r",
        "environment": "production",
        "day": date(2026, 5, 5),
        "updated_at": NOW - timedelta(hours=1),
    }
    for run_id, found in (
        ("first try", {"delivered": 5, "held": 3, "in_doubt": 1}),
        ("last try", {"delivered": 4, "skipped": 5}),
    ):
        write_totals(
            ledger,
            [night | {"run_id": run_id, "outcome": outcome, "events": number} for outcome, number in found.items()],
        )
    ledger.execute(tries.update().where(tries.c.run_id == "first try").values(is_latest=False))
    ledger.execute(tries.update().where(tries.c.run_id.in_(("first try", "last try"))).values(run_id="night"))
    [run] = [run for run in all_runs(ledger, Filters().with_default_days(NOW.date())) if run.run_id == "night"]
    assert {status: number for status, number in run.events.items() if number} == {"delivered": 9}


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
        (DAGS, Filters(status="held"), 18),
        (DAGS, Filters(reason="lane_held"), 18),
    ],
)
def test_held_events_are_counted_as_any_others(
    ledger: sa.Connection, dag_ids: Collection[str], filters: Filters, expected: int
) -> None:
    found = counts(ledger, dag_ids, filters.with_default_days(NOW.date()), NOW)
    assert sum(count.events for count in found if count.status == "held") == expected


@pytest.mark.parametrize("after", ["W10", "e30", "Ww", "äö", "WzFd", "bnVsbA", "WyJhIiwiYiIsImMiLDEuNV0"])
def test_a_text_that_is_not_a_cursor_of_the_list_is_refused(ledger: sa.Connection, after: str) -> None:
    for ask in (event_list.events, run_list.runs):
        with pytest.raises(InvalidCursor):
            ask(ledger, DAGS, Filters(after=after).with_default_days(NOW.date()), NOW)


def test_the_ledger_has_no_column_with_device_ids() -> None:
    """A new column of the ledger must not hold personal data, since the page may show it."""
    assert set(events.c.keys()) == {
        *("scope_id", "event_id", "status", "reason", "http_status", "content", "occurred_at", "revenue", "currency"),
        *("try_id", "position", "lost_answers", "sent_at"),
    }


def test_another_endpoint_has_its_name_in_the_place_of_an_event_token(ledger_engine: sa.Engine) -> None:
    """And can be chosen by it: ad revenue has no event token."""
    row = {
        "dag_id": PURCHASES,
        "run_id": "scheduled__2026-05-03T00:00:00+00:00",
        "task_id": "send",
        "map_index": -1,
        "try_number": 1,
        "app_token": "4w565xzmb54d",
        "environment": "production",
        "status": "delivered",
        "reason": "",
        "http_status": 200,
        "occurred_at": datetime(2026, 5, 3, 12),
        "updated_at": datetime(2026, 5, 4, 2),
        "revenue": Decimal("0.0000042"),
        "currency": "USD",
        "content": 1,
    }
    prepare(ledger_engine)
    with ledger_engine.begin() as connection:
        write_deliveries(
            connection,
            [
                row | {"event_id": "o-1", "event_token": "f0ob4r"},
                row | {"event_id": "i-1", "event_token": "publisher", "endpoint": "ad_revenue"},
            ],
        )
    with ledger_engine.connect() as connection:
        found = counts(connection, DAGS, Filters(), NOW)
        assert sorted(each.event_token for each in found) == ["ad_revenue", "f0ob4r"]
        [only] = counts(connection, DAGS, Filters(event_token="ad_revenue"), NOW)
        assert (only.event_token, only.revenue) == ("ad_revenue", Decimal("0.0000042"))
        shown = event_list.events(connection, DAGS, Filters(event_token="ad_revenue"), NOW).items
        assert [(each.event_id, each.event_token) for each in shown] == [("i-1", "ad_revenue")]
