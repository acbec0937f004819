"""The Report Service for one app: its reports, the names of its events, and totals that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from airflow_provider_adjust.adjust_api.reports import Report, ReportQuery, ReportService
from airflow_provider_adjust.reconcile.totals import AD_REVENUE_TOKEN, EventTotals, read_day
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


@dataclass(frozen=True, slots=True)
class ReportClient:
    """Adjust's reports on one app in one environment, as visible to the user of the API token."""

    service: ReportService
    app_token: str = field(repr=False)
    environment: str

    async def report(
        self, dimensions: Sequence[str], metrics: Sequence[str], date_period: str, filters: Mapping[str, str]
    ) -> Report:
        """Return a report on the app in its environment; ``filters`` may add to these two or override them."""
        own = {"app_token__in": self.app_token, "sandbox": "true" if self.environment == "sandbox" else "false"}
        return await self.service.report(ReportQuery(dimensions, metrics, date_period, own | dict(filters)))

    async def event_slugs(self, app_token: str | None = None) -> dict[str, str]:
        """Return the names of an app's events in metrics, slug by event token; None is this client's app."""
        return await self.service.event_slugs(app_token or self.app_token)

    async def reported_totals(self, wanted: Sequence[EventTotals], zone: tzinfo) -> list[EventTotals]:
        """Return Adjust's total for each wanted one: same event token, days and currency, same order.

        The days of a report have one fixed offset from UTC. Each day is requested with the offset of ``zone`` at its
        beginning.

        :raises AdjustConfigurationError: the app does not have the event, or two of the events share a name.
        """
        if not wanted:
            return []
        tokens = {total.event_token for total in wanted} - {AD_REVENUE_TOKEN}
        slugs = _slugs_of(tokens, await self.event_slugs()) if tokens else {}
        counts: dict[tuple[str, date], int] = {}
        amounts: dict[tuple[str, date, str], Decimal] = {}
        for request in _requests(wanted, zone):
            if not (metrics := request.metrics(slugs)):
                continue  # ad revenue in several currencies, which no report can show
            report = await self.report(
                ["day"],
                metrics,
                f"{min(request.days)}:{max(request.days)}",
                {"utc_offset": request.utc_offset, "attribution_type": "all"}
                | ({"currency": request.currency} if request.currency else {}),
            )
            for row in report.rows:
                day = read_day(row.dimensions["day"], "a day in Adjust's report")
                if day not in request.days:
                    continue
                for token in request.event_tokens:
                    if token in slugs:
                        counts[token, day] = int(row.metrics[f"{slugs[token]}_events"])
                    if request.currency:
                        amounts[token, day, request.currency] = row.metrics[_revenue_metric(token, slugs)]
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
                by_currency={},
                is_counted=total.event_token != AD_REVENUE_TOKEN,
            )
            for total in wanted
        ]


class ReportRequest(NamedTuple):
    """One report: the events of some days at one offset from UTC, with revenue in one currency, or none if it is empty."""

    currency: str
    utc_offset: str
    days: set[date]
    event_tokens: list[str]

    def metrics(self, slugs: Mapping[str, str]) -> list[str]:
        counts = [f"{slugs[token]}_events" for token in self.event_tokens if token in slugs]
        return counts + [_revenue_metric(token, slugs) for token in self.event_tokens if self.currency]


def _revenue_metric(token: str, slugs: Mapping[str, str]) -> str:
    return AD_REVENUE_TOKEN if token == AD_REVENUE_TOKEN else f"{slugs[token]}_revenue"


def utc_offset(day: date, zone: tzinfo) -> timedelta:
    """The zone's offset from UTC at the beginning of the day."""
    return datetime.combine(day, time(), zone).utcoffset() or timedelta()


def _slugs_of(tokens: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    slugs = {token: known[token] for token in sorted(tokens) if token in known}
    if missing := sorted(set(tokens) - slugs.keys()):
        raise AdjustConfigurationError(
            f"Adjust's report knows no event {', '.join(missing)} in the connection's app; check the event token, the app "
            "token, and that the API token's user may see the app"
        )
    counts = Counter(slugs.values())
    shared = [token for token, slug in slugs.items() if counts[slug] > 1]
    if shared:
        raise AdjustConfigurationError(
            f"event tokens {', '.join(shared)} share one name in Adjust's reports, so their totals cannot be separated; "
            "compare one of them, or rename the other event in Adjust"
        )
    return slugs


def _requests(wanted: Sequence[EventTotals], zone: tzinfo) -> list[ReportRequest]:
    """The fewest reports that suffice: one for each currency and offset."""
    items = sorted(
        {
            (total.currency or "", _offset_text(utc_offset(day, zone)), day, total.event_token)
            for total in wanted
            for day in total.days
        }
    )
    requests = []
    for (currency, offset), group in groupby(items, key=lambda each: each[:2]):
        of_one = list(group)
        days, tokens = {day for *_, day, _ in of_one}, sorted({token for *_, token in of_one})
        requests.append(ReportRequest(currency, offset, days, tokens))
    return requests


def _offset_text(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
