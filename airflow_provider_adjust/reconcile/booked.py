"""What the Report Service tells of one app: reports on it, its events' names, and totals as they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from airflow_provider_adjust.adjust_api.conversation import Conversation
from airflow_provider_adjust.adjust_api.reports import Report, ReportQuery, ReportService
from airflow_provider_adjust.reconcile.totals import EventTotals, read_day
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


@dataclass(frozen=True, slots=True)
class ReadingAccount:
    """One app in one environment, as one user's API token may see it."""

    service: ReportService
    app_token: str = field(repr=False)
    environment: str

    def report(
        self, dimensions: Sequence[str], metrics: Sequence[str], date_period: str, filters: Mapping[str, str]
    ) -> Conversation[Report]:
        """Ask for a report on the app in its environment; ``filters`` come on top, or in the place, of these two."""
        own = {"app_token__in": self.app_token, "sandbox": "true" if self.environment == "sandbox" else "false"}
        return self.service.report(ReportQuery(dimensions, metrics, date_period, own | dict(filters)))

    def event_slugs(self) -> Conversation[dict[str, str]]:
        """Ask how the app's events are named in metrics: slug by event token."""
        return self.service.event_slugs(self.app_token)

    def booked(self, wanted: Sequence[EventTotals], zone: tzinfo) -> Conversation[list[EventTotals]]:
        """Ask what Adjust has booked of each wanted total: same event tokens, days and currencies, in the same order.

        The report's days are those of a fixed offset from UTC. Each day gets the offset that ``zone`` has as it begins.

        :raises AdjustConfigurationError: the app has no such event, or two of them share a name.
        """
        if not wanted:
            return []
        slugs = _slugs_of({total.event_token for total in wanted}, (yield from self.event_slugs()))
        counts: dict[tuple[str, date], int] = {}
        amounts: dict[tuple[str, date, str], Decimal] = {}
        for question in _questions(wanted, zone):
            metrics = [f"{slugs[token]}_events" for token in question.event_tokens]
            filters = {"utc_offset": question.utc_offset, "attribution_type": "all"}
            if question.currency:
                metrics += [f"{slugs[token]}_revenue" for token in question.event_tokens]
                filters["currency"] = question.currency
            report = yield from self.report(["day"], metrics, f"{min(question.days)}:{max(question.days)}", filters)
            for row in report.rows:
                day = read_day(row.dimensions["day"], "a day in Adjust's report")
                if day not in question.days:
                    continue
                for token in question.event_tokens:
                    counts[token, day] = int(row.metrics[f"{slugs[token]}_events"])
                    if question.currency:
                        amounts[token, day, question.currency] = row.metrics[f"{slugs[token]}_revenue"]
        return [
            replace(
                total,
                events=sum(counts.get((total.event_token, day), 0) for day in total.days),
                revenue=sum(
                    (amounts.get((total.event_token, day, total.currency), Decimal(0)) for day in total.days),
                    Decimal(0),
                )
                if total.currency
                else None,
            )
            for total in wanted
        ]


class _Question(NamedTuple):
    """One report: an empty currency asks for no revenue."""

    currency: str
    utc_offset: str
    days: set[date]
    event_tokens: list[str]


def utc_offset(day: date, zone: tzinfo) -> timedelta:
    """The zone's distance from UTC as the day begins there."""
    return datetime.combine(day, time(), zone).utcoffset() or timedelta()


def _slugs_of(tokens: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    slugs = {token: known[token] for token in sorted(tokens) if token in known}
    if missing := sorted(set(tokens) - slugs.keys()):
        raise AdjustConfigurationError(
            f"Adjust's report knows no event {', '.join(missing)} in the connection's app; check the event token, the app "
            "token, and that the API token's user may see the app"
        )
    shared = [token for token, slug in slugs.items() if list(slugs.values()).count(slug) > 1]
    if shared:
        raise AdjustConfigurationError(
            f"event tokens {', '.join(shared)} share one name in Adjust's reports, which therefore cannot tell them apart; "
            "compare one of them, or rename the other event in Adjust"
        )
    return slugs


def _questions(wanted: Sequence[EventTotals], zone: tzinfo) -> list[_Question]:
    """As few reports as will do: one for each currency and offset."""
    asked = sorted(
        {
            (total.currency or "", _offset_text(utc_offset(day, zone)), day, total.event_token)
            for total in wanted
            for day in total.days
        }
    )
    questions = []
    for (currency, offset), group in groupby(asked, key=lambda each: each[:2]):
        items = list(group)
        days, tokens = {day for *_, day, _ in items}, sorted({token for *_, token in items})
        questions.append(_Question(currency, offset, days, tokens))
    return questions


def _offset_text(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
