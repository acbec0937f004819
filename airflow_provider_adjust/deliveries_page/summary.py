"""The sums on the page: in total, by day, and by kind of event within a day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import takewhile
from typing import NamedTuple

from airflow_provider_adjust.deliveries_page.comparisons import Key, Seen
from airflow_provider_adjust.deliveries_page.queries import Count
from airflow_provider_adjust.s2s.answers.reasons import Reason, reason_of

#: Statuses of events that Adjust has, or may soon have.
_NOT_MISSING = ("delivered", "duplicate", "sending")


#: By DAG, status and code of the reason.
StreakKey = tuple[str, str, str]


class Streak(NamedTuple):
    """The latest days in a row on which a DAG misses events for one reason. Days without events of the DAG are skipped."""

    first: date
    days: int


@dataclass(slots=True)
class Why:
    """Events that were not delivered for one reason, and their revenue by currency."""

    status: str
    reason: Reason
    events: int = 0
    revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


@dataclass(slots=True)
class Totals:
    """Events by status, what is missing by reason, and revenue by currency."""

    events: Counter[str] = field(default_factory=Counter)
    why: dict[tuple[str, str], Why] = field(default_factory=dict)
    revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    missing_revenue: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    @property
    def delivered(self) -> int:
        return self.events["delivered"]

    @property
    def missing(self) -> int:
        """Events that were not delivered."""
        return sum(count for status, count in self.events.items() if status not in _NOT_MISSING)

    @property
    def reasons(self) -> list[Why]:
        """Why events are missing, the largest revenue first."""
        return sorted(self.why.values(), key=lambda each: (max(each.revenue.values(), default=0), each.events))[::-1]

    def add(self, count: Count) -> None:
        """Add one count."""
        self.events[count.status] += count.events
        amount = count.revenue if count.currency else None
        if count.status == "delivered" and amount is not None:
            self.revenue[count.currency or ""] += amount
        if count.status in _NOT_MISSING:
            return
        code = count.reason or ("no_answer" if count.status == "in_doubt" else "")
        why = self.why.setdefault((count.status, code), Why(count.status, reason_of(code)))
        why.events += count.events
        if amount is not None:
            why.revenue[count.currency or ""] += amount
            self.missing_revenue[count.currency or ""] += amount


@dataclass(slots=True)
class Kind:
    """One kind of event on one day, and Adjust's figures for it."""

    app_token: str
    environment: str
    event_token: str
    event_name: str = ""
    conn_id: str = ""
    totals: Totals = field(default_factory=Totals)
    seen: Seen | None = None


@dataclass(slots=True)
class Day:
    """The events of one day, in UTC. A past day without events is missing, if earlier days had some."""

    day: date
    totals: Totals = field(default_factory=Totals)
    kinds: list[Kind] = field(default_factory=list)
    is_missing: bool = False


@dataclass(slots=True)
class Summary:
    """The days, the latest first, and their total."""

    days: list[Day]
    totals: Totals
    #: Whether there are more counts than one page sums up.
    is_cut: bool = False
    streaks: Mapping[StreakKey, Streak] = field(default_factory=dict)

    @property
    def currencies(self) -> list[str]:
        """The currencies, the largest revenue first."""
        found = self.totals.revenue.keys() | self.totals.missing_revenue.keys()
        return sorted(found, key=lambda code: (-self.totals.revenue.get(code, Decimal(0)), code))

    @property
    def is_compared(self) -> bool:
        """Whether anything was compared with Adjust."""
        return any(kind.seen for day in self.days for kind in day.kinds)


def summarise(counts: Iterable[Count], seen: Mapping[Key, Seen] | None = None, *, with_unsent: bool = False) -> Summary:
    """Sum up the counts.

    :param with_unsent: also show gaps on days without a delivery of the kind.
    """
    days: dict[date, Day] = {}
    kinds: dict[tuple[date, str, str, str], Kind] = {}
    totals = Totals()
    for count in counts:
        day = days.setdefault(count.day, Day(count.day))
        key = (count.day, count.app_token, count.environment, count.event_token)
        if key not in kinds:
            kinds[key] = Kind(*key[1:], event_name=count.event_name, conn_id=count.conn_id)
            day.kinds.append(kinds[key])
        for part in (totals, day.totals, kinds[key].totals):
            part.add(count)
    for (of_day, app_token, event_token, environment), each in (seen or {}).items():
        key = (of_day, app_token, environment, event_token)
        if key not in kinds and with_unsent and not each.is_well:
            kinds[key] = Kind(*key[1:], event_name=each.event_name, conn_id=each.conn_id)
            days.setdefault(of_day, Day(of_day)).kinds.append(kinds[key])
        if key in kinds:
            kinds[key].seen = each
    for day in days.values():
        day.kinds.sort(key=lambda kind: (kind.app_token, kind.environment, kind.event_token))
    return Summary(sorted(days.values(), key=lambda day: day.day, reverse=True), totals)


def with_empty_days(summary: Summary, first: date, last: date, known_since: date | None, today: date) -> Summary:
    """The same with each day from the first to the last.

    :param known_since: the first day that ever had events; before it, and from today on, no day is missing.
    """
    known = {day.day: day for day in summary.days}
    days = [known.get(day) or Day(day) for day in _days(first, last)]
    for day in days:
        day.is_missing = not day.totals.events and known_since is not None and known_since < day.day < today
    outside = [day for day in summary.days if not first <= day.day <= last]
    every = sorted([*days, *outside], key=lambda day: day.day, reverse=True)
    return replace(summary, days=every)


def streaks(counts: Iterable[Count]) -> dict[StreakKey, Streak]:
    """Since when each DAG misses events for each reason, without a day between on which it did not."""
    active: defaultdict[str, set[date]] = defaultdict(set)
    missing: defaultdict[StreakKey, set[date]] = defaultdict(set)
    for count in counts:
        active[count.dag_id].add(count.day)
        if count.status not in _NOT_MISSING:
            missing[count.dag_id, count.status, count.reason].add(count.day)
    found = {}
    for key, days in missing.items():
        upto_last = sorted((day for day in active[key[0]] if day <= max(days)), reverse=True)
        in_a_row = list(takewhile(days.__contains__, upto_last))
        found[key] = Streak(in_a_row[-1], len(in_a_row))
    return found


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))
