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
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, scopes

#: Adjust has a duplicate as well, from an earlier time, and the report shows it under the same day.
_IN_ADJUST = [STATUS_NUMBERS[outcome.value] for outcome in (Outcome.DELIVERED, Outcome.DUPLICATE)]


def delivered_totals(
    engine: sa.Engine,
    wanted: Sequence[EventTotals],
    *,
    destination: str,
    app_token: str,
    environment: str,
    zone: tzinfo,
) -> list[EventTotals]:
    """Return the delivered total for each wanted one, in the same order.

    :param destination: the host of Adjust's endpoint. What went to a rehearsal is not in Adjust, and is not counted.
    :raises AdjustConfigurationError: an event token has revenue in more than one currency on one of the days.
    """
    prepare(engine)
    by_day = {
        day: _of_day(engine, day, destination, app_token, environment, zone)
        for day in sorted({d for w in wanted for d in w.days})
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


def _of_day(
    engine: sa.Engine, day: date, destination: str, app_token: str, environment: str, zone: tzinfo
) -> list[EventTotals]:
    start = datetime.combine(day, time(), UTC) - utc_offset(day, zone)
    columns = events.c
    query = (
        sa.select(scopes.c.event_key, columns.currency, sa.func.count(), sa.func.sum(columns.revenue))
        .join(scopes, scopes.c.id == columns.scope_id)
        .where(
            # An older ledger did not keep the host.
            scopes.c.destination.in_((destination, "")),
            scopes.c.app_token == app_token,
            scopes.c.environment == environment,
            scopes.c.endpoint == EVENT.name,
            columns.status.in_(_IN_ADJUST),
            columns.occurred_at >= start.replace(tzinfo=None),
            columns.occurred_at < (start + timedelta(days=1)).replace(tzinfo=None),
        )
        .group_by(scopes.c.event_key, columns.currency)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        EventTotals(token, Days(day, day), count, None if currency is None else Decimal(amount or 0), currency)
        for token, currency, count, amount in rows
    ]


def _events_only(totals: EventTotals) -> EventTotals:
    return replace(totals, revenue=None, currency=None)
