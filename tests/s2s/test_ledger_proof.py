"""A proof from outside settles the ledger's events in doubt, moves their totals along, and touches nothing that lives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from fake_transport import LOST, FakeTransport
from ledger_rows import DESTINATION, write_deliveries
from s2s_case import NOW, row

from airflow_provider_adjust.s2s import EventParser, Retries, Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.proof import (
    BATCH_SIZE,
    Doubt,
    event_scopes,
    events_between,
    events_with_ids,
    release_missing,
    settle_seen,
)
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, deliveries, events, totals, tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target

NOON = datetime(2026, 5, 1, 12)


def delivery(event_id: str, status: str, **changes: Any) -> dict[str, Any]:
    return {
        "app_token": "app1",
        "event_token": "event1",
        "environment": "production",
        "event_id": event_id,
        "status": status,
        "reason": "" if status == "sending" else "no_answer",
        "occurred_at": NOON,
        "revenue": Decimal("1.50"),
        "currency": "EUR",
        "updated_at": NOON + timedelta(hours=1),
        **changes,
    }


def fill(engine: sa.Engine, *rows: dict[str, Any]) -> list[Doubt]:
    """The events of a ledger that has nothing else, as whoever asks about them has read them."""
    prepare(engine)
    with engine.begin() as connection:
        write_deliveries(connection, rows)
    return read(engine)


def read(engine: sa.Engine) -> list[Doubt]:
    with engine.connect() as connection:
        query = sa.select(events.c.scope_id, events.c.event_id, events.c.try_id, events.c.status).order_by(
            events.c.event_id
        )
        return [Doubt(*each) for each in connection.execute(query)]


def statuses(engine: sa.Engine) -> dict[str, tuple[str, str]]:
    query = sa.select(deliveries.c.event_id, deliveries.c.status, deliveries.c.reason)
    with engine.connect() as connection:
        return {event_id: (status, reason) for event_id, status, reason in connection.execute(query)}


def counted(engine: sa.Engine) -> list[tuple[Any, ...]]:
    columns = totals.c.outcome, totals.c.reason, totals.c.currency, totals.c.events, totals.c.revenue
    with engine.connect() as connection:
        found = connection.execute(sa.select(*columns).where(totals.c.events > 0).order_by(*columns[:3]))
        return [(*each[:4], None if each[4] is None else round(Decimal(each[4]), 2)) for each in found]


def ids(doubts: Iterable[Doubt]) -> list[str]:
    return sorted(each.event_id for each in doubts)


def test_events_seen_are_delivered_and_missing_ones_are_released(ledger_engine: sa.Engine) -> None:
    first, second, third, fourth = fill(
        ledger_engine,
        delivery("a", "in_doubt"),
        delivery("b", "in_doubt", revenue=None, currency=None),
        delivery("c", "sending", run_id="killed"),
        delivery("d", "in_doubt"),
    )
    assert ids(settle_seen(ledger_engine, [first, third])) == ["a", "c"]
    assert ids(release_missing(ledger_engine, [second, fourth])) == ["b", "d"]
    assert statuses(ledger_engine) == {"a": ("delivered", "seen_in_export"), "c": ("delivered", "seen_in_export")}
    assert sorted(counted(ledger_engine), key=repr) == sorted(
        [
            ("delivered", "seen_in_export", "EUR", 1, Decimal("1.50")),
            ("delivered", "seen_in_export", "EUR", 1, Decimal("1.50")),
            ("held", "missing_in_export", None, 1, None),
            ("held", "missing_in_export", "EUR", 1, Decimal("1.50")),
        ],
        key=repr,
    )
    assert ids(settle_seen(ledger_engine, [first, second, third, fourth])) == [], "they are settled, or gone"


def test_several_of_one_total_are_moved_together(ledger_engine: sa.Engine) -> None:
    doubts = fill(ledger_engine, *(delivery(f"e{number}", "in_doubt") for number in range(3)))
    list(settle_seen(ledger_engine, doubts[:2]))
    assert counted(ledger_engine) == [
        ("delivered", "seen_in_export", "EUR", 2, Decimal("3.00")),
        ("in_doubt", "no_answer", "EUR", 1, Decimal("1.50")),
    ]


def test_a_total_that_was_pruned_does_not_fall_below_nothing(ledger_engine: sa.Engine) -> None:
    doubts = fill(ledger_engine, delivery("a", "in_doubt"))
    with ledger_engine.begin() as connection:
        connection.execute(sa.delete(totals))
    assert ids(settle_seen(ledger_engine, doubts)) == ["a"]
    assert counted(ledger_engine) == [("delivered", "seen_in_export", "EUR", 1, Decimal("1.50"))]


def test_what_lives_was_erased_or_has_changed_is_left_alone(ledger_engine: sa.Engine) -> None:
    doubts = fill(
        ledger_engine,
        delivery("alive", "sending", run_id="alive"),
        delivery("erased", "in_doubt", reason="erased"),
        delivery("settled", "in_doubt", run_id="other"),
        delivery("taken-over", "in_doubt", run_id="old"),
        delivery("unchanged", "in_doubt"),
    )
    with ledger_engine.begin() as connection:
        connection.execute(tries.update().where(tries.c.run_id == "alive").values(lease_until=datetime(2100, 1, 1)))
        rejected = {"status": STATUS_NUMBERS["rejected"]}
        connection.execute(events.update().where(events.c.event_id == "settled").values(rejected))
        new = connection.scalar(sa.select(tries.c.id).where(tries.c.run_id == "alive"))
        connection.execute(events.update().where(events.c.event_id == "taken-over").values(try_id=new))
    before = statuses(ledger_engine)
    assert ids(release_missing(ledger_engine, doubts)) == ["unchanged"]
    assert ids(settle_seen(ledger_engine, doubts)) == []
    assert statuses(ledger_engine) == {event_id: each for event_id, each in before.items() if event_id != "unchanged"}


def test_a_try_with_an_expired_lease_cannot_settle_what_was_settled_here(ledger_engine: sa.Engine) -> None:
    """A worker that was suspended wakes up: its try was ended, and its claim is not its own any more."""
    doubts = fill(ledger_engine, delivery("a", "sending", run_id="suspended"))
    assert ids(settle_seen(ledger_engine, doubts)) == ["a"]
    with ledger_engine.connect() as connection:
        state, ended_at = connection.execute(sa.select(tries.c.state, tries.c.ended_at)).one()
    assert (state, ended_at is None) == ("lost", False)


def test_more_than_a_batch_is_settled(ledger_engine: sa.Engine) -> None:
    doubts = fill(ledger_engine, *(delivery(f"e{number:04}", "in_doubt") for number in range(BATCH_SIZE + 1)))
    assert len(list(settle_seen(ledger_engine, doubts))) == BATCH_SIZE + 1
    assert counted(ledger_engine) == [
        ("delivered", "seen_in_export", "EUR", BATCH_SIZE + 1, Decimal("1.50") * (BATCH_SIZE + 1))
    ]


def test_events_are_read_by_their_time_and_by_their_id(ledger_engine: sa.Engine) -> None:
    fill(
        ledger_engine,
        delivery("a", "delivered"),
        delivery("b", "in_doubt", occurred_at=NOON + timedelta(hours=2)),
        delivery("c", "in_doubt", reason="erased", occurred_at=NOON - timedelta(days=2)),
        delivery("d", "sending", run_id="live"),
        delivery("e", "delivered", environment="sandbox"),
        delivery("f", "delivered", destination="127.0.0.1"),
        delivery("g", "delivered", destination="", event_token="event2"),
    )
    with ledger_engine.begin() as connection:
        connection.execute(tries.update().where(tries.c.run_id == "live").values(lease_until=datetime(2100, 1, 1)))
        connection.execute(events.update().where(events.c.event_id == "b").values(lost_answers=2))
    scopes = event_scopes(ledger_engine, app_token="app1", environment="production", destination=DESTINATION)
    assert sorted(each.event_key for each in scopes.values()) == ["event1", "event2"]
    start = NOON.replace(tzinfo=UTC)
    found = {each.event_id: each for each in events_between(ledger_engine, scopes, start, start + timedelta(hours=2.5))}
    assert found.keys() == {"a", "b", "d", "g"}
    assert (bool(found["d"].is_live), bool(found["a"].is_live)) == (True, False)
    assert found["a"].settled_at == found["a"].sent_from == NOON + timedelta(hours=1)
    assert found["b"].sent_from == NOON + timedelta(hours=2), "an earlier try may have sent it as soon as it happened"
    [number] = [number for number, scope in scopes.items() if scope.event_key == "event1"]
    wanted = [(number, event_id) for event_id in ("c", "nobody", "g")]
    [erased] = events_with_ids(ledger_engine, scopes, wanted)
    assert (erased.event_id, bool(erased.is_erased)) == ("c", True)
    assert list(events_with_ids(ledger_engine, scopes, [(number, "nobody")])) == []


def test_an_event_that_was_made_sendable_is_sent_and_one_that_was_settled_is_not(ledger_engine: sa.Engine) -> None:
    rows = [row(order=f"A-{number}", gps_adid=f"d-{number}") for number in range(3)]
    parser = EventParser(RowOptions(id_field="order"))

    def send(run: str, transport: FakeTransport) -> dict[str, int]:
        ledger = Ledger(ledger_engine, TaskInstanceId("dag", run, "send"), on_in_doubt="hold", now=lambda: NOW)
        options = SendOptions(on_in_doubt="hold", retries=Retries(attempts=1))
        route = {None: Route(parser, Target("http://127.0.0.1/event"))}
        sender = Sender(route, transport, options, ledger=ledger, now=lambda: NOW)
        try:
            list(sender.send(rows))
            return dict(sender.sink.summary.outcomes)
        finally:
            ledger.end()
            ledger.close()

    assert send("1", FakeTransport({2: [LOST], 3: [LOST]})) == {"in_doubt": 2, "delivered": 1}
    assert send("2", FakeTransport()) == {"in_doubt": 2, "skipped": 1}
    _, first, second = read(ledger_engine)
    assert len([*settle_seen(ledger_engine, [first]), *release_missing(ledger_engine, [second])]) == 2
    transport = FakeTransport()
    assert send("3", transport) == {"skipped": 2, "delivered": 1}
    assert transport.positions == [3]
