"""The ledger's totals by the days of Adjust's report, which have a fixed offset from UTC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.reconcile.report_client import utc_offset
from airflow_provider_adjust.reconcile.totals import AD_REVENUE_TOKEN, Days, EventTotals, LedgerTotals, merged
from airflow_provider_adjust.s2s.answers.outcome import ERASED, Outcome
from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import (
    SENDING,
    STATUS_NUMBERS,
    events,
    is_booked_between,
    reasons,
    scopes,
    shown_key,
)

#: The total in which a status counts. A duplicate counts as delivered: Adjust has it from an earlier request, and reports it
#: under the same day.
_TOTAL_OF = {
    STATUS_NUMBERS[Outcome.DELIVERED.value]: "delivered",
    STATUS_NUMBERS[Outcome.DUPLICATE.value]: "delivered",
    STATUS_NUMBERS[Outcome.REJECTED.value]: "refused",
    STATUS_NUMBERS[Outcome.IN_DOUBT.value]: "in_doubt",
    STATUS_NUMBERS[SENDING]: "in_doubt",
}
_Found = dict[str, list[EventTotals]]


def ledger_totals(
    engine: sa.Engine,
    wanted: Sequence[EventTotals],
    *,
    app_token: str,
    environment: str,
    destination: str,
    zone: tzinfo,
) -> list[LedgerTotals]:
    """Return the ledger's total for each wanted one, in the same order.

    :param destination: the host that the events were sent to. Events sent to another host, such as in a rehearsal, do not
        count. Older ledgers did not store the host.
    """
    prepare(engine)
    scope = (
        scopes.c.app_token == app_token,
        scopes.c.environment == environment,
        scopes.c.endpoint.in_({AD_REVENUE.name if w.event_token == AD_REVENUE_TOKEN else EVENT.name for w in wanted}),
        scopes.c.destination.in_([destination, ""]),
    )
    by_day = {day: _of_day(engine, day, scope, zone) for day in sorted({d for w in wanted for d in w.days})}
    return [
        LedgerTotals(
            *(_sum(want, (each for day in want.days for each in by_day[day][kind])) for kind in LedgerTotals._fields)
        )
        for want in wanted
    ]


def _sum(want: EventTotals, found: Iterable[EventTotals]) -> EventTotals:
    nothing = None if want.revenue is None else Decimal(0)
    none = replace(want, events=0, revenue=nothing, by_currency={}, is_counted=True)
    ours = (replace(each, days=want.days) for each in found if each.event_token == want.event_token)
    [total] = merged([none, *(ours if want.amounts else map(_events_only, ours))])
    return total


def _of_day(engine: sa.Engine, day: date, scope: Sequence[sa.ColumnElement[bool]], zone: tzinfo) -> _Found:
    start = datetime.combine(day, time(), UTC) - utc_offset(day, zone)
    columns = events.c
    query = (
        sa.select(columns.status, shown_key, columns.currency, sa.func.count(), sa.func.sum(columns.revenue))
        .join(scopes, scopes.c.id == columns.scope_id)
        .where(
            *scope,
            # Their times are the time of the erasure.
            columns.reason.not_in(sa.select(reasons.c.id).where(reasons.c.code == ERASED)),
            is_booked_between(start, start + timedelta(days=1)),
        )
        .group_by(columns.status, shown_key, columns.currency)
    )
    with engine.connect() as connection:
        rows: Sequence[Any] = connection.execute(query).all()
    found: _Found = defaultdict(list)
    for status, token, currency, count, amount in rows:
        revenue = None if currency is None else Decimal(amount or 0)
        found[_TOTAL_OF[status]].append(EventTotals(token, Days(day, day), count, revenue, currency))
    return found


def _events_only(totals: EventTotals) -> EventTotals:
    return replace(totals, revenue=None, currency=None)
