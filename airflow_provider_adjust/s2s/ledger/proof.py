"""Settle the ledger's events in doubt by external proof, such as Adjust's raw data exports.

An event that Adjust has is settled as delivered. One that it lacks is deleted, so that the next run that reads it sends it.
Events that a running try has claimed, or that another try has claimed or settled meanwhile, stay unchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import ERASED, Outcome
from airflow_provider_adjust.s2s.answers.reasons import MISSING_IN_EXPORT, SEEN_IN_EXPORT
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import is_this_machine
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.ledger.recount import move_total
from airflow_provider_adjust.s2s.ledger.schema import (
    SENDING,
    STATUS_NUMBERS,
    booked_at,
    database_now,
    events,
    is_booked_between,
    reasons,
    scopes,
    tries,
)
from airflow_provider_adjust.s2s.ledger.statements import (
    Scope,
    delete,
    known_in,
    locked,
    reason_number,
    retry_on_conflict,
    update,
)
from airflow_provider_adjust.s2s.ledger.tries import holders

#: Events per transaction, few enough that no sending task waits long.
BATCH_SIZE = 1000
_SENDING, _IN_DOUBT = STATUS_NUMBERS[SENDING], STATUS_NUMBERS[Outcome.IN_DOUBT.value]
_columns = events.c
_STEP = timedelta(hours=1)
#: Reasons of events in doubt with a last request that got no answer and was counted.
_LOST_ANSWERS = ("no_answer", "answer_too_long", "unreadable_answer")


class Doubt(NamedTuple):
    """An event in doubt, as it was read. If it has changed since, it is left alone."""

    scope_id: int
    event_id: str
    try_id: int
    status: int


class LedgerEvent(NamedTuple):
    """An event of the ledger, with the time at which Adjust books it. It was sent between ``sent_from`` and ``settled_at``.

    ``is_live``: its try is still running. ``is_erased``: all but its id was erased.
    """

    scope_id: int
    event_id: str
    booked_at: datetime
    revenue: Decimal | None
    currency: str | None
    status: int
    try_id: int
    sent_from: datetime
    settled_at: datetime
    is_live: bool
    is_erased: bool


def event_scopes(engine: sa.Engine, *, app_token: str, environment: str, destination: str) -> dict[int, Scope]:
    """The scopes of an app's events at one destination, by their numbers.

    Events sent to another host, such as in a rehearsal, are not included. Older ledgers did not store the host: their events
    were sent to Adjust, rather than to a stand-in on this machine.
    """
    hosts = [destination] if is_this_machine(destination) else [destination, ""]
    query = sa.select(scopes).where(
        scopes.c.app_token == app_token,
        scopes.c.environment == environment,
        scopes.c.endpoint == EVENT.name,
        scopes.c.destination.in_(hosts),
    )
    with engine.connect() as connection:
        return {row.id: Scope(*(row._mapping[name] for name in Scope._fields)) for row in connection.execute(query)}


def events_between(
    engine: sa.Engine, scope_ids: Collection[int], start: datetime, end: datetime
) -> Iterator[LedgerEvent]:
    """The events of these scopes that Adjust books in this time, one hour per transaction, to limit memory and locks."""
    until = start
    while until < end:
        since, until = until, min(until + _STEP, end)
        with engine.connect() as connection:
            query = _events_with_tries(connection).where(
                _columns.scope_id.in_(scope_ids),
                is_booked_between(since, until),
            )
            for record in connection.execution_options(yield_per=BATCH_SIZE).execute(query):
                yield LedgerEvent(*record)


def events_with_ids(
    engine: sa.Engine, scope_ids: Collection[int], ids: Iterable[tuple[int, str]]
) -> Iterator[LedgerEvent]:
    """Those of the events, given as scope and id, that the ledger has at any time, read in batches."""
    iterator = iter(ids)
    while batch := set(islice(iterator, BATCH_SIZE)):
        with engine.connect() as connection:
            known = known_in(connection, scope_ids, [event_id for _, event_id in batch])
            wanted = [(each.scope_id, each.event_id) for each in known if (each.scope_id, each.event_id) in batch]
            if wanted:
                is_wanted = sa.tuple_(_columns.scope_id, _columns.event_id).in_(wanted)
                found = connection.execute(_events_with_tries(connection).where(is_wanted)).all()
                yield from (LedgerEvent(*record) for record in found)


def _events_with_tries(connection: sa.Connection) -> sa.Select[Any]:
    # Unless the lost answer is certainly of its own try, an earlier try may have sent it at any time since it happened.
    is_own = sa.and_(_columns.lost_answers <= 1, reasons.c.code.in_(_LOST_ANSWERS))
    is_first = sa.case(
        (_columns.status == _SENDING, _columns.lost_answers == 0), (_columns.status == _IN_DOUBT, is_own), else_=True
    )
    is_live = sa.and_(tries.c.ended_at.is_(None), tries.c.lease_until > database_now(connection))
    return (
        sa.select(
            _columns.scope_id,
            _columns.event_id,
            booked_at,
            _columns.revenue,
            _columns.currency,
            _columns.status,
            _columns.try_id,
            sa.case((is_first, tries.c.started_at), else_=_columns.occurred_at),
            sa.func.coalesce(tries.c.ended_at, tries.c.heartbeat_at),
            is_live,
            sa.func.coalesce(reasons.c.code == ERASED, sa.false()),
        )
        .join(tries, tries.c.id == _columns.try_id)
        .outerjoin(reasons, reasons.c.id == _columns.reason)
    )


def settle_seen(engine: sa.Engine, doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """Settle events that Adjust has as delivered; yield those that were settled."""
    return _resolve(engine, doubts, Outcome.DELIVERED)


def release_missing(engine: sa.Engine, doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """Delete events that Adjust lacks; yield those that were deleted."""
    return _resolve(engine, doubts, Outcome.HELD)


def _resolve(engine: sa.Engine, doubts: Iterable[Doubt], outcome: Outcome) -> Iterator[Doubt]:
    iterator = iter(doubts)
    while batch := list(islice(iterator, BATCH_SIZE)):

        def work(batch: Sequence[Doubt] = batch) -> list[Doubt]:
            with engine.begin() as connection:
                return _resolve_batch(connection, batch, outcome)

        yield from retry_on_conflict(work)


def _resolve_batch(connection: sa.Connection, batch: Sequence[Doubt], outcome: Outcome) -> list[Doubt]:
    # Ends tries with an expired lease, so that none of them can settle these events later.
    ended = {
        number for number, each in holders(connection, {doubt.try_id for doubt in batch}).items() if not each.is_alive
    }
    codes = {row.id: row.code for row in connection.execute(sa.select(reasons))}
    reason = SEEN_IN_EXPORT if outcome is Outcome.DELIVERED else MISSING_IN_EXPORT
    delivered = {"status": STATUS_NUMBERS[Outcome.DELIVERED.value], "reason": reason_number(connection, reason)}
    by_scope: dict[int, dict[str, Doubt]] = defaultdict(dict)
    for doubt in batch:
        if doubt.try_id in ended:
            by_scope[doubt.scope_id][doubt.event_id] = doubt
    resolved: list[Doubt] = []
    # In the same order as sending tasks, to avoid deadlocks.
    for scope_id, asked in sorted(by_scope.items()):
        records = [
            record
            for record in locked(connection, scope_id, sorted(asked)).values()
            if (record.try_id, record.status) == asked[record.event_id][2:] and codes.get(record.reason) != ERASED
        ]
        ids = [record.event_id for record in records]
        if not ids:
            continue
        if outcome is Outcome.DELIVERED:
            update(connection, scope_id, ids, delivered)
        else:
            delete(connection, scope_id, ids)
        for record in records:
            move_total(connection, record, codes.get(record.reason, ""), outcome, reason)
        resolved += [asked[event_id] for event_id in ids]
    return resolved
