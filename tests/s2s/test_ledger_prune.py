"""Old events leave the ledger batch by batch; on SQLite and on a real Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import write_deliveries, write_totals

from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.schema import deliveries, lanes, totals, tries
from airflow_provider_adjust.s2s.ledger.schema import events as event_table
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OLD = (NOW - timedelta(days=100)).replace(tzinfo=None)
YOUNG = (NOW - timedelta(days=80)).replace(tzinfo=None)
OWNER = {"dag_id": "sync", "run_id": "run", "task_id": "send", "map_index": -1}
APPS = ("app1", "app2")


@pytest.fixture
def ledger(ledger_engine: sa.Engine) -> sa.Engine:
    prepare(ledger_engine)
    return ledger_engine


def remember(ledger: sa.Engine, events: Iterable[tuple[str, datetime]], status: str = "delivered") -> None:
    """Each event goes to one of two apps."""
    rows: list[dict[str, Any]] = [
        OWNER
        | {
            "app_token": APPS[place % 2],
            "event_token": "event1",
            "environment": "production",
            "event_id": event_id,
            "status": status,
            "reason": "",
            "occurred_at": occurred_at,
            "updated_at": occurred_at,
        }
        for place, (event_id, occurred_at) in enumerate(events)
    ]
    with ledger.begin() as connection:
        write_deliveries(connection, rows)


def old_events(count: int, *, step: timedelta = timedelta(seconds=1)) -> list[tuple[str, datetime]]:
    return [(f"old-{place}", OLD + place * step) for place in range(count)]


def count(ledger: sa.Engine) -> int:
    with ledger.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(deliveries)) or 0


def prune_all(ledger: sa.Engine, batch_size: int = 10, is_stopped: Callable[[], bool] = lambda: False) -> int:
    return prune(ledger, older_than=timedelta(days=90), now=NOW, batch_size=batch_size, is_stopped=is_stopped)


@pytest.mark.parametrize("events", [0, 1, 9, 10, 11, 30], ids=lambda number: f"{number} events")
@pytest.mark.parametrize("step", [timedelta(seconds=1), timedelta(0)], ids=["one a second", "all at once"])
def test_every_old_event_is_deleted_whatever_the_batch_size(ledger: sa.Engine, events: int, step: timedelta) -> None:
    remember(ledger, [("young", YOUNG), *old_events(events, step=step)])
    assert prune_all(ledger) == events
    assert count(ledger) == 1


def test_each_batch_is_kept_before_the_next_begins(ledger: sa.Engine) -> None:
    """Another connection sees between two batches all that was deleted, and no lock remains."""
    remember(ledger, old_events(25))
    seen: list[int] = []

    def look() -> bool:
        with ledger.begin() as connection:
            connection.execute(sa.update(event_table).values(http_status=299))
        seen.append(count(ledger))
        return False

    assert prune_all(ledger, is_stopped=look) == 25
    assert seen == [25, 15, 5, 0]


def test_a_stopped_prune_keeps_its_deletions_and_reports_them(ledger: sa.Engine) -> None:
    remember(ledger, old_events(25))
    asked = iter([False, False, True])
    assert prune_all(ledger, is_stopped=lambda: next(asked)) == 20
    assert count(ledger) == 5
    assert prune_all(ledger) == 5


def test_a_batch_that_fails_leaves_those_before_it_deleted(ledger: sa.Engine) -> None:
    remember(ledger, old_events(25))
    batches = iter(range(3))

    @sa.event.listens_for(ledger, "before_cursor_execute")
    def break_the_second(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM adjust_event") and next(batches) == 2:
            raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        prune_all(ledger)
    sa.event.remove(ledger, "before_cursor_execute", break_the_second)
    assert count(ledger) == 15


@pytest.mark.parametrize("status", ["in_doubt", "sending"])
def test_what_is_open_stays_and_holds_up_nothing(ledger: sa.Engine, status: str) -> None:
    remember(ledger, ((f"open-{place}", OLD - timedelta(days=1)) for place in range(25)), status)
    remember(ledger, old_events(12))
    assert prune_all(ledger) == 12
    assert count(ledger) == 25


def test_totals_and_tries_of_old_days_go_with_them(ledger: sa.Engine) -> None:
    days = (date(2026, 7, 1), date(2026, 9, 1))
    rows = [
        OWNER
        | {"app_token": "app1", "event_token": "event1", "environment": "production", "run_id": str(day)}
        | {"events": 1, "day": day, "outcome": "held", "occurred_at": datetime.combine(day, datetime.min.time())}
        for day in days
    ]
    with ledger.begin() as connection:
        write_totals(connection, rows)
    prune_all(ledger)
    with ledger.connect() as connection:
        assert list(connection.scalars(sa.select(totals.c.day))) == [days[1]]
        assert list(connection.scalars(sa.select(tries.c.run_id))) == [str(days[1])]


def test_a_killed_try_ends_with_its_lease(ledger: sa.Engine) -> None:
    """Nobody wrote its end."""
    for run, leased_until in (("long ago", OLD), ("last night", YOUNG)):
        task = TaskInstanceId("sync", run, "send", -1, 1)
        killed = Ledger(ledger, task)
        killed.close()
        with ledger.begin() as connection:
            connection.execute(tries.update().where(tries.c.run_id == run).values(lease_until=leased_until))
    prune_all(ledger)
    with ledger.connect() as connection:
        assert list(connection.scalars(sa.select(tries.c.run_id))) == ["last night"]


def test_two_that_prune_at_once_delete_each_event_once(ledger: sa.Engine) -> None:
    remember(ledger, old_events(200))
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(prune_all(ledger, batch_size=7))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 200
    assert count(ledger) == 0


@pytest.mark.parametrize("step", [timedelta(seconds=1), timedelta(0)])
def test_each_batch_of_lanes_begins_where_the_last_one_ended(ledger: sa.Engine, step: timedelta) -> None:
    """A search from the start would read all rows again that were deleted before it."""
    oldest = (NOW - timedelta(days=100)).replace(tzinfo=None)
    times = [oldest + place * step for place in range(25)]
    read: list[Any] = []

    def note(*arguments: Any) -> None:
        if arguments[2].startswith("SELECT adjust_lane"):
            context = arguments[4]
            read.append(context.compiled_parameters[0]["last_at_1"])

    with ledger.begin() as connection:
        connection.execute(
            lanes.insert(), [{"lane": place, "scope_id": place % 2, "last_at": at} for place, at in enumerate(times)]
        )
    sa.event.listen(ledger, "before_cursor_execute", note)
    prune_all(ledger)
    sa.event.remove(ledger, "before_cursor_execute", note)
    assert read[1:] == [times[9], times[19]]
    with ledger.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(lanes)) == 0
