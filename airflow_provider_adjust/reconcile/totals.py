"""Events and revenue of one event token, or ad revenue, over some days: the values that are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.account.amounts import plain
from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT, endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import quote

_PERIOD = re.compile(r"(\d{4}-\d\d-\d\d):(\d{4}-\d\d-\d\d)", re.ASCII)
#: Stands for an event token of ad revenue, which has none. Event tokens have no underscore.
AD_REVENUE_TOKEN = AD_REVENUE.name
#: The keys of a row.
COLUMNS = frozenset({"day", "period", "event_token", "events", "revenue", "currency"})


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """Days in the report's time zone, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}:{self.last}"

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1))

    @classmethod
    def parse(cls, value: Any, name: str) -> Days:
        """Read ``2026-05-01``, ``2026-05-01:2026-05-03`` or a date.

        :raises AdjustConfigurationError: the value has none of these forms.
        """
        match = _PERIOD.fullmatch(value.strip()) if isinstance(value, str) else None
        first, last = match.groups() if match else (value, value)
        days = cls(read_day(first, name), read_day(last, name))
        if days.last < days.first:
            raise AdjustConfigurationError(f"{name} is {quote(value)}, which ends before it begins")
        return days


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Events and revenue. ``revenue`` is in ``currency``; None means that there is none to compare with a report.

    ``is_counted`` is False if the number of events is not known: a report sums ad revenue without counting it. Revenue in
    several currencies is in ``by_currency``, since a report converts all of an event's revenue into one currency.
    """

    event_token: str
    days: Days
    events: int
    revenue: Decimal | None = None
    currency: str | None = None
    by_currency: Mapping[str, Decimal] = field(default_factory=dict)
    is_counted: bool = True

    @property
    def amounts(self) -> dict[str, Decimal]:
        """The revenue in each currency; empty if none is compared."""
        if self.currency is None or self.revenue is None:
            return dict(self.by_currency)
        return {self.currency: self.revenue}

    @property
    def key(self) -> tuple[str, Days]:
        return self.event_token, self.days

    def __add__(self, other: EventTotals) -> EventTotals:
        """Add two totals of the same event token and days."""
        amounts = self.amounts
        for currency, amount in other.amounts.items():
            amounts[currency] = amounts.get(currency, Decimal(0)) + amount
        return _with_amounts(replace(self, events=self.events + other.events), amounts)

    def less(self, baseline: EventTotals | None) -> EventTotals:
        """The total without what ``baseline`` already had."""
        if baseline is None:
            return self
        revenue = None if self.revenue is None else self.revenue - (baseline.revenue or Decimal(0))
        return replace(self, events=self.events - baseline.events, revenue=revenue)

    def as_json(self) -> dict[str, Any]:
        """The total in JSON types, as ``read_totals`` reads it."""
        return {
            "period": str(self.days),
            "event_token": self.event_token,
            "events": self.events if self.is_counted else None,
            "revenue": {currency: plain(amount) for currency, amount in self.by_currency.items()}
            or (None if self.revenue is None else plain(self.revenue)),
            "currency": self.currency,
        }


def read_totals(
    row: Mapping[str, Any], name: str, *, period: Any = None, event_token: str | None = None
) -> EventTotals:
    """Read ``{"day": ..., "event_token": ..., "events": ..., "revenue": ..., "currency": ...}``.

    The key ``period`` may replace ``day``, and ``revenue`` may be a mapping of currencies to amounts. The arguments are
    defaults for keys that the row lacks. Ad revenue needs no ``events``.

    :raises AdjustConfigurationError: a value is missing or cannot be used.
    """
    token = row.get("event_token") or event_token
    if event_token == AD_REVENUE_TOKEN != token:
        raise AdjustConfigurationError(f"{name} has event_token, and ad revenue has none; leave the column out")
    if not token:
        raise AdjustConfigurationError(f"{name} has a row without event_token; name one")
    when = row.get("day") or row.get("period") or period
    if when is None:
        raise AdjustConfigurationError(f"{name} has a row without day; give one, or the period of all of them")
    is_counted = token != AD_REVENUE_TOKEN or row.get("events") is not None
    days = Days.parse(when, f"day in {name}")
    events = _count(row.get("events"), f"events in {name}") if is_counted else 0
    if isinstance(by_currency := row.get("revenue"), Mapping):
        amounts = {
            str(code).strip().upper(): _decimal(amount, f"revenue in {name}") for code, amount in by_currency.items()
        }
        nothing = EventTotals(str(token), days, events, is_counted=is_counted)
        return _with_amounts(nothing, {code: amount or Decimal(0) for code, amount in amounts.items()})
    currency = str(row["currency"]).strip().upper() if row.get("currency") else None
    revenue = _decimal(row.get("revenue"), f"revenue in {name}")
    if token == AD_REVENUE_TOKEN and not (currency and "revenue" in row):
        raise no_ad_revenue(name)
    if revenue and not currency:
        raise AdjustConfigurationError(f"{name} has revenue of {titled(str(token))} without a currency; add its code")
    return EventTotals(
        event_token=str(token),
        days=days,
        events=events,
        revenue=(revenue or Decimal(0)) if currency and "revenue" in row else None,
        currency=currency if "revenue" in row else None,
        is_counted=is_counted,
    )


def no_ad_revenue(name: str) -> AdjustConfigurationError:
    """The error that a row of ad revenue lacks revenue or currency."""
    return AdjustConfigurationError(
        f"{name} has no revenue or no currency, and ad revenue is compared by its revenue alone"
    )


def titled(token: str) -> str:
    """The name of an event token, or of ad revenue, in messages."""
    return AD_REVENUE.title if token == AD_REVENUE_TOKEN else f"event token {token}"


def endpoint_and_key(token: str) -> tuple[str, str]:
    """The endpoint and the key of an event token, or of ad revenue, in a ledger."""
    if token == AD_REVENUE_TOKEN:
        return AD_REVENUE.name, AD_REVENUE.constants[AD_REVENUE.key or ""]
    return EVENT.name, token


def token_of(endpoint: str, event_token: str | None) -> str | None:
    """The token of an endpoint in totals: for events the event token, if one is given.

    :raises AdjustConfigurationError: the endpoint is not known, has no report, or has no event tokens.
    """
    if endpoint == EVENT.name:
        return event_token
    if endpoint_named(endpoint) is not AD_REVENUE:
        raise AdjustConfigurationError(f"endpoint={endpoint!r}: Adjust reports on event and ad_revenue only")
    if event_token:
        raise AdjustConfigurationError(
            "event_token cannot be given with endpoint='ad_revenue', which has none; leave it out"
        )
    return AD_REVENUE_TOKEN


def _with_amounts(totals: EventTotals, amounts: Mapping[str, Decimal]) -> EventTotals:
    """The totals with this revenue. A currency without an amount does not count as another one."""
    paid = {currency: amount for currency, amount in sorted(amounts.items()) if amount}
    if len(paid) > 1:
        return replace(totals, revenue=None, currency=None, by_currency=paid)
    currency, amount = next(iter((paid or amounts).items()), (None, None))
    return replace(totals, revenue=amount, currency=currency, by_currency={})


class LedgerTotals(NamedTuple):
    """A ledger's totals of an event token: events that Adjust has, that it refused, and that are in doubt."""

    delivered: EventTotals
    refused: EventTotals
    in_doubt: EventTotals


def merged(totals: Iterable[EventTotals]) -> list[EventTotals]:
    """Add up the totals of the same event token and days; sort by days and token."""
    found: dict[tuple[str, Days], EventTotals] = {}
    for each in totals:
        found[each.key] = found[each.key] + each if each.key in found else each
    return sorted(found.values(), key=lambda each: (each.days.first, each.days.last, each.event_token))


def read_day(value: Any, name: str) -> date:
    """A day from a date, a timestamp, or the text of either."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        raise AdjustConfigurationError(f"{name} is {quote(value)}; give a day such as 2026-05-01") from None


def _count(value: Any, name: str) -> int:
    number = _decimal(value, name)
    if number is None or number != number.to_integral_value() or number < 0:
        raise AdjustConfigurationError(f"{name} is {quote(value)}; give a whole number, 0 or more")
    return int(number)


def _decimal(value: Any, name: str) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise AdjustConfigurationError(f"{name} is {quote(value)}; give a number")
    return number
