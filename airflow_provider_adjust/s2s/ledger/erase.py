"""Erase events from the ledger, except their ids, so that they are never sent again.

Without its id, an event would be new, and the next run over its source would send it again. So the id and the status stay
until Adjust would no longer accept the event; then ``prune`` deletes them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import ERASED, Outcome
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.records import event_key
from airflow_provider_adjust.s2s.ledger.schema import (
    SENDING,
    STATUS_NUMBERS,
    STATUSES,
    database_now,
    scopes,
    tries,
    versions,
)
from airflow_provider_adjust.s2s.ledger.statements import delete, locked, reason_number, retry_on_conflict, update
from airflow_provider_adjust.s2s.ledger.tries import SUCCESS, TaskInstanceId, begin_try, end_try, note_setup
from airflow_provider_adjust.s2s.redaction import escape

#: The task id in the ledger for erased events.
TASK_ID: Final = "airflow adjust erase"
#: The most ids in one statement; some databases accept no longer list.
_BATCH = 500
#: A margin: clocks may differ, and an event may be sent a little after its time.
_MARGIN = timedelta(days=1)
#: The most characters of an event id in an error.
_LONGEST_SHOWN_ID = 80


@dataclass(slots=True)
class LedgerErasure:
    """The ledger's records of the events, by status, and what was done with them.

    ``blanked`` keep id and status. ``deleted`` are too old to be sent. ``before`` were erased earlier. ``errors`` are errors
    of tries that named one of the events.
    """

    blanked: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    before: int = 0
    errors: int = 0


def erase(
    engine: sa.Engine,
    event_ids: Collection[str],
    *,
    app_token: str | None = None,
    event_token: str | None = None,
    dry_run: bool = False,
) -> LedgerErasure | None:
    """Erase the events with these ids; return None if the database has no ledger.

    Events that a task is sending at this moment are in doubt afterwards, since the task can no longer record their end.

    :param app_token: only events of this app.
    :param event_token: only events of this event token.
    :param dry_run: roll everything back at the end.
    """
    if not sa.inspect(engine).has_table(versions.name):
        return None
    prepare(engine)

    def work() -> LedgerErasure:
        with engine.connect() as connection, connection.begin() as transaction:
            found = _erase(connection, sorted(set(event_ids)), app_token, event_token)
            if dry_run:
                transaction.rollback()
            return found

    return retry_on_conflict(work)


def _erase(
    connection: sa.Connection, event_ids: Sequence[str], app_token: str | None, event_token: str | None
) -> LedgerErasure:
    found = LedgerErasure()
    now = database_now(connection)
    wanted = [
        column == value
        for column, value in ((scopes.c.app_token, app_token), (scopes.c.event_key, event_token))
        if value is not None
    ]
    erased = reason_number(connection, ERASED)
    eraser: int | None = None
    #: The tries that the events are removed from.
    taken: set[int] = set()
    keys = sorted(map(event_key, event_ids))
    for scope in connection.execute(sa.select(scopes).where(*wanted).order_by(scopes.c.id)).all():
        for start in range(0, len(keys), _BATCH):
            blanked: dict[str, list[str]] = defaultdict(list)
            deleted: list[str] = []
            for event_id, record in locked(connection, scope.id, keys[start : start + _BATCH]).items():
                status = STATUSES[record.status]
                if record.reason == erased:
                    found.before += 1
                elif _is_over(record, scope.endpoint, now):
                    deleted.append(event_id)
                    found.deleted[status] += 1
                else:
                    blanked[status].append(event_id)
                    taken.add(record.try_id)
                    found.blanked[status] += 1
            delete(connection, scope.id, deleted)
            for status, same in blanked.items():
                # A separate try: otherwise the one that claimed an event could overwrite the erasure.
                eraser = eraser or _begin(connection)
                update(connection, scope.id, same, _blank(status, erased, eraser, now))
    if eraser is not None:
        _note_keys(connection, eraser, taken)
    found.errors = _erase_from_errors(connection, event_ids)
    return found


def _note_keys(connection: sa.Connection, eraser: int, taken: Collection[int]) -> None:
    """Record the keys of the erased events' ids: under another key, they would be new events."""
    query = sa.select(tries.c.digest_keys).where(tries.c.id.in_(sorted(taken)), tries.c.ids_are_digests)
    made = list(connection.scalars(query))
    keys = ",".join(sorted({entry for text in made for entry in text.split(",")}))
    note_setup(connection, eraser, keys, ids_are_digests=bool(made), environment="")


def _is_over(record: Any, endpoint: str, now: datetime) -> bool:
    """Whether Adjust would no longer accept the event, and no task is sending it."""
    max_age = ENDPOINTS[endpoint].max_age if endpoint in ENDPOINTS else None
    is_old = max_age is not None and record.occurred_at < now - max_age - _MARGIN
    return is_old and STATUSES[record.status] != SENDING


def _begin(connection: sa.Connection) -> int:
    try_id = begin_try(connection, TaskInstanceId(run_id=f"erase {uuid4().hex}", task_id=TASK_ID), 0.0)
    end_try(connection, try_id, SUCCESS, read=0, error="", rejected_path=None)
    return try_id


def _blank(status: str, erased: int, try_id: int, now: datetime) -> dict[str, Any]:
    """The remains of an event. Its time is that of the erasure: until 58 days later, Adjust may accept it."""
    kept = Outcome.IN_DOUBT.value if status == SENDING else status
    return {
        "status": STATUS_NUMBERS[kept],
        "reason": erased,
        "try_id": try_id,
        "occurred_at": now,
        "sent_at": None,
        "content": None,
        "revenue": None,
        "currency": None,
        "http_status": None,
        "lost_answers": 0,
        "position": 0,
    }


def mention_of(event_id: str) -> re.Pattern[str]:
    """A pattern for the event as messages name it."""
    return re.compile(rf"\bevent {re.escape(escape(event_id, _LONGEST_SHOWN_ID))}(?![\w-])")


def _erase_from_errors(connection: sa.Connection, event_ids: Sequence[str]) -> int:
    """Erase errors that name one of the events."""
    count = 0
    names_one = sa.select(tries.c.id, tries.c.error).where(tries.c.error.contains("event ")).with_for_update()
    for number, error in connection.execute(names_one).all():
        text = error
        for event_id in event_ids:
            text = mention_of(event_id).sub("event ***", text)
        if text != error:
            connection.execute(sa.update(tries).where(tries.c.id == number).values(error=text))
            count += 1
    return count
