"""The sums that the page shows: in total, by day, and by kind of event within a day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from airflow_provider_adjust.deliveries_page.queries import Count


@dataclass(slots=True)
class Totals:
    """Events by status, rejected events by reason, and delivered revenue by currency."""

    events: Counter[str] = field(default_factory=Counter)
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def add(self, count: Count) -> None:
        """Add one count."""
        self.events[count.status] += count.events
        if count.status == "rejected":
            self.rejected_by_reason[count.reason] += count.events
        if count.status == "delivered" and count.currency and count.revenue is not None:
            self.revenue[count.currency] += count.revenue


@dataclass(slots=True)
class Kind:
    """One kind of event on one day."""

    app_token: str
    environment: str
    event_token: str
    totals: Totals = field(default_factory=Totals)


@dataclass(slots=True)
class Day:
    """The events of one day, in UTC."""

    day: date
    totals: Totals = field(default_factory=Totals)
    kinds: list[Kind] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """The days, the latest first, and their total."""

    days: list[Day]
    totals: Totals


def summarise(counts: Iterable[Count]) -> Summary:
    """Sum up the counts."""
    days: dict[date, Day] = {}
    kinds: dict[tuple[date, str, str, str], Kind] = {}
    totals = Totals()
    for count in counts:
        day = days.setdefault(count.day, Day(count.day))
        key = (count.day, count.app_token, count.environment, count.event_token)
        if key not in kinds:
            kinds[key] = Kind(*key[1:])
            day.kinds.append(kinds[key])
        for part in (totals, day.totals, kinds[key].totals):
            part.add(count)
    for day in days.values():
        day.kinds.sort(key=lambda kind: (kind.app_token, kind.environment, kind.event_token))
    return Summary(sorted(days.values(), key=lambda day: day.day, reverse=True), totals)
