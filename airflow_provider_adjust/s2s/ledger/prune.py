"""Delete old events from the ledger in small transactions: no sending task waits long, and a kill undoes only the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import ERASED, Outcome
from airflow_provider_adjust.s2s.ledger.lane_times import KEPT_FOR, prune_lanes
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, reasons, totals, tries, verdicts
from airflow_provider_adjust.s2s.ledger.statements import delete

#: Events per transaction; some databases accept no longer list in a statement.
BATCH_SIZE = 1000
#: Older than any event in a ledger.
_FIRST = datetime(1970, 1, 1)
_SETTLED = [STATUS_NUMBERS[outcome.value] for outcome in (Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED)]
_columns = events.c
#: The number of the reason of erased events.
_ERASED = sa.select(reasons.c.id).where(reasons.c.code == ERASED).scalar_subquery()


def prune(
    engine: sa.Engine,
    *,
    older_than: timedelta,
    now: datetime | None = None,
    batch_size: int = BATCH_SIZE,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Delete settled events that happened before this time; return how many.

    Adjust accepts no event older than 58 days, so older ones cannot be sent twice. Events in doubt stay, unless they were
    erased that long ago. Totals and verdicts of equally old days are deleted, too, and tries that began before this time and
    have neither events nor totals left. The last times of lanes are deleted after 58 days, whatever the age.

    :param batch_size: events per transaction.
    :param is_stopped: called before each batch. If it returns true, the remaining events stay for the next run.
    """
    prepare(engine)
    before = ((now or datetime.now(UTC)) - older_than).replace(tzinfo=None)
    deleted = 0
    reached: datetime | None = _FIRST
    while reached is not None and not is_stopped():
        with engine.begin() as connection:
            count, reached = _prune_batch(connection, reached, before, batch_size)
        deleted += count
    if reached is None:
        with engine.begin() as connection:
            _prune_tries(connection, before)
        forgotten = (now or datetime.now(UTC)).replace(tzinfo=None) - KEPT_FOR
        reached = _FIRST
        while reached is not None and not is_stopped():
            with engine.begin() as connection:
                reached = prune_lanes(connection, reached, forgotten, batch_size)
    return deleted


def _prune_batch(
    connection: sa.Connection, since: datetime, before: datetime, batch_size: int
) -> tuple[int, datetime | None]:
    """Delete the oldest; return how many, and the time from which to continue, None if no more are left.

    The next batch begins where this one ended, since a search from the start would read all deleted rows again.
    """
    is_over = sa.or_(_columns.status.in_(_SETTLED), _columns.reason == _ERASED)
    is_old = (_columns.occurred_at < before, is_over)
    oldest = (
        sa.select(_columns.scope_id, _columns.event_id, _columns.occurred_at)
        .where(_columns.occurred_at >= since, *is_old)
        .order_by(_columns.occurred_at)
        .limit(batch_size)
    )
    found = connection.execute(oldest).all()
    by_scope: dict[int, list[str]] = defaultdict(list)
    for scope_id, event_id, _ in found:
        by_scope[scope_id].append(event_id)
    # With the conditions again, since a task may have claimed a corrected event since it was read. In the same order, to avoid
    # deadlocks between two prunes.
    deleted = sum(delete(connection, scope_id, ids, *is_old) for scope_id, ids in sorted(by_scope.items()))
    return deleted, found[-1].occurred_at if len(found) == batch_size else None


def _prune_tries(connection: sa.Connection, before: datetime) -> None:
    # A killed try is still open if no other try has taken over its events.
    ended = sa.func.coalesce(tries.c.ended_at, tries.c.lease_until) < before
    old = sa.select(tries.c.id).where(ended).scalar_subquery()
    has_day = totals.c.day.is_not(None)
    connection.execute(sa.delete(totals).where(has_day, totals.c.day < before.date()))
    connection.execute(sa.delete(verdicts).where(verdicts.c.day < before.date()))
    connection.execute(sa.delete(totals).where(~has_day, totals.c.try_id.in_(old)))
    empty = [~sa.exists().where(table.c.try_id == tries.c.id).correlate(tries) for table in (events, totals)]
    connection.execute(sa.delete(tries).where(ended, *empty))
