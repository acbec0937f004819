"""The last comparison with Adjust for each day and kind of event, which reconciling tasks write to the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa

from airflow_provider_adjust.deliveries_page.filters import Filters
from airflow_provider_adjust.deliveries_page.queries import (
    MAX_COUNTS,
    as_amount,
    days,
    of_dags,
    of_scope,
    shown_environment,
)
from airflow_provider_adjust.s2s.ledger.schema import scopes, shown_key, verdicts
from airflow_provider_adjust.s2s.ledger.verdicts import Verdict

#: The meaning of each verdict, and whether it is good.
MEANINGS: Mapping[str, str] = {
    Verdict.EQUAL: "Adjust shows what we sent",
    Verdict.NOT_SENT: "Our gap: the warehouse has more than we sent",
    Verdict.REFUSED: "Adjust refused some",
    Verdict.IN_DOUBT: "Some are in doubt",
    Verdict.NOT_IN_WAREHOUSE: "We sent more than the warehouse has",
    Verdict.NOT_BOOKED: "Adjust's gap: sent, and not shown by Adjust",
    Verdict.NOT_OURS: "Adjust shows more than we sent",
    Verdict.DIFFERENT: "Adjust differs",
}
#: By day, app token, event token and environment.
Key = tuple[date, str, str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What Adjust showed for a day at the time of the comparison."""

    verdict: str
    source: str
    checked_at: datetime
    sent_events: int | None
    seen_events: int | None
    sent_revenue: Decimal | None
    seen_revenue: Decimal | None
    currency: str
    zone: str
    #: The event's name for people, and the connection to the app.
    event_name: str = ""
    conn_id: str = ""

    @property
    def meaning(self) -> str:
        """The verdict as a sentence."""
        return MEANINGS.get(self.verdict, self.verdict.replace("_", " "))

    @property
    def is_well(self) -> bool:
        return self.verdict == Verdict.EQUAL

    def is_same_check(self, other: Seen) -> bool:
        """Whether both belong to one comparison, which has a verdict for each currency."""
        return (self.source, self.checked_at) == (other.source, other.checked_at)


def comparisons(connection: sa.Connection, dag_ids: Collection[str], filters: Filters) -> dict[Key, Seen]:
    """The last comparison of each day and kind of event by a task of the DAGs, with the worst verdict of its currencies."""
    v = verdicts.c
    query = (
        sa.select(
            *v,
            *(scopes.c[name] for name in ("app_token", "event_name", "conn_id")),
            shown_environment().label("shown_environment"),
            shown_key.label("shown_key"),
        )
        .join(scopes, scopes.c.id == v.scope_id)
        .where(v.dag_id.in_(sorted(dag_ids)), *days(filters, v.day), *of_scope(filters))
        .order_by(v.checked_at.desc(), v.currency)
        .limit(MAX_COUNTS)
    )
    found: dict[Key, Seen] = {}
    for each in of_dags(dag_ids, connection.execute(query)):
        key = (each.day, each.app_token, each.shown_key, each.shown_environment)
        seen = Seen(
            verdict=each.verdict,
            source=each.source,
            checked_at=each.checked_at,
            sent_events=each.sent_events,
            seen_events=each.seen_events,
            sent_revenue=as_amount(each.sent_revenue),
            seen_revenue=as_amount(each.seen_revenue),
            currency=each.currency,
            zone=each.zone,
            event_name=each.event_name,
            conn_id=each.conn_id,
        )
        last = found.setdefault(key, seen)
        if last.is_well and seen.is_same_check(last):
            found[key] = seen
    return found
