"""The ledger's totals of what was delivered, by the days of Adjust's report: days of a fixed offset from UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal

import sqlalchemy as sa

from airflow_provider_adjust.reconcile.report_client import utc_offset
from airflow_provider_adjust.reconcile.totals import Days, EventTotals, merged
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.ledger.schema import deliveries, prepare

#: Adjust has a duplicate as well, from an earlier time, and the report shows it under the same day.
_IN_ADJUST = (Outcome.DELIVERED.value, Outcome.DUPLICATE.value)


def delivered_totals(
    engine: sa.Engine, wanted: Sequence[EventTotals], *, app_token: str, environment: str, zone: tzinfo
) -> list[EventTotals]:
    """Return the delivered total for each wanted one, in the same order.

    :raises AdjustConfigurationError: an event token has revenue in more than one currency on one of the days.
    """
    prepare(engine)
    by_day = {
        day: _of_day(engine, day, app_token, environment, zone) for day in sorted({d for w in wanted for d in w.days})
    }
    totals = []
    for want in wanted:
        none = replace(want, events=0, revenue=None if want.revenue is None else Decimal(0))
        found = (
            replace(each, days=want.days)
            for day in want.days
            for each in by_day[day]
            if each.event_token == want.event_token
        )
        [total] = merged([none, *(found if want.currency else (_events_only(each) for each in found))])
        totals.append(total)
    return totals


def _of_day(engine: sa.Engine, day: date, app_token: str, environment: str, zone: tzinfo) -> list[EventTotals]:
    start = datetime.combine(day, time(), UTC) - utc_offset(day, zone)
    columns = deliveries.c
    query = (
        sa.select(columns.event_token, columns.currency, sa.func.count(), sa.func.sum(columns.revenue))
        .where(
            columns.app_token == app_token,
            columns.environment == environment,
            columns.status.in_(_IN_ADJUST),
            columns.occurred_at >= start.replace(tzinfo=None),
            columns.occurred_at < (start + timedelta(days=1)).replace(tzinfo=None),
        )
        .group_by(columns.event_token, columns.currency)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        EventTotals(token, Days(day, day), count, None if currency is None else Decimal(amount or 0), currency)
        for token, currency, count, amount in rows
    ]


def _events_only(totals: EventTotals) -> EventTotals:
    return replace(totals, revenue=None, currency=None)
