"""A time window, which excludes its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from airflow_provider_adjust.reconcile.totals import Days
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import quote

HOUR = timedelta(hours=1)
_FORMS = "give a day (2026-05-01), days (2026-05-01:2026-05-03), or two times with a slash between them"


class Window(NamedTuple):
    """Both times are in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{_shown(self.start)} to {_shown(self.end)}"

    def hours(self) -> Iterator[datetime]:
        """The beginning of each hour that overlaps the window."""
        hour = hour_of(self.start)
        while hour < self.end:
            yield hour
            hour += HOUR

    @classmethod
    def parse(cls, value: Any, zone: tzinfo = UTC) -> Window:
        """Read a day, days, ``start/end``, or a pair of two times.

        :param zone: of the days, and of times without an offset.
        :raises AdjustConfigurationError: it has none of these forms, or ends before it begins.
        """
        pair = value.split("/") if isinstance(value, str) else value
        if isinstance(pair, Sequence) and len(pair) == 2:
            start, end = (_moment(each, value, zone) for each in pair)
        else:
            days = _days(value)
            start, end = (
                datetime.combine(day, time(), zone).astimezone(UTC)
                for day in (days.first, days.last + timedelta(days=1))
            )
        if end <= start:
            raise AdjustConfigurationError(f"window is {quote(str(value))}, which ends before it begins")
        return cls(start, end)


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _days(value: Any) -> Days:
    try:
        return Days.parse(value, "window")
    except AdjustConfigurationError:
        raise AdjustConfigurationError(f"window is {quote(str(value))}; {_FORMS}") from None


def _moment(part: Any, whole: Any, zone: tzinfo) -> datetime:
    try:
        moment = part if isinstance(part, datetime) else datetime.fromisoformat(str(part).strip())
    except ValueError:
        raise AdjustConfigurationError(f"window is {quote(str(whole))}; {_FORMS}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
