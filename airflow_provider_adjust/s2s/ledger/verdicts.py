"""The last comparison with Adjust, by event token and day, for the page of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import database_now, verdicts
from airflow_provider_adjust.s2s.ledger.statements import Numbers, Scope, retry_on_conflict
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId


class Verdict(StrEnum):
    """The place of a gap, if there is one; of several gaps, the first one from the warehouse to Adjust."""

    EQUAL = "equal"
    NOT_SENT = "not_sent"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    NOT_IN_WAREHOUSE = "not_in_warehouse"
    NOT_BOOKED = "not_booked"
    NOT_OURS = "not_ours"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class ComparedDay:
    """The ledger's and Adjust's totals of a scope for one day. ``zone`` is the time zone of the day."""

    scope: Scope
    day: date
    verdict: Verdict
    sent_events: int | None
    seen_events: int | None
    sent_revenue: Decimal | None = None
    seen_revenue: Decimal | None = None
    currency: str = ""
    zone: str = "UTC"


def write_verdicts(engine: sa.Engine, source: str, task: TaskInstanceId, compared: Sequence[ComparedDay]) -> None:
    """Write the comparisons; each replaces the earlier one of its source, scope and day."""
    numbers = Numbers()
    numbers.learn(engine, {each.scope for each in compared}, ())

    def work() -> None:
        with engine.begin() as connection:
            now = database_now(connection)
            of_day = {(numbers.scope(each.scope), each.day) for each in compared}
            for scope_id, day in sorted(of_day):
                connection.execute(
                    sa.delete(verdicts).where(
                        verdicts.c.scope_id == scope_id, verdicts.c.day == day, verdicts.c.source == source
                    )
                )
            rows = [
                {
                    "scope_id": numbers.scope(each.scope),
                    "day": each.day,
                    "source": source,
                    "currency": each.currency,
                    "verdict": each.verdict.value,
                    "checked_at": now,
                    "sent_events": each.sent_events,
                    "sent_revenue": each.sent_revenue,
                    "seen_events": each.seen_events,
                    "seen_revenue": each.seen_revenue,
                    "zone": each.zone,
                    "dag_id": task.dag_id,
                    "run_id": task.run_id,
                    "task_id": task.task_id,
                }
                for each in compared
            ]
            if rows:
                connection.execute(verdicts.insert(), rows)

    retry_on_conflict(work)
