"""The difference between the worker's clock and the server's.

Adjust judges an event's time by its own clock, the provider by the worker's. If they differ by minutes, fresh events are
wrongly refused, or sent too early.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from airflow_provider_adjust.s2s.delivery.intake import utc_now

#: A smaller difference may come from a slow answer, and does not matter: Adjust accepts times some minutes ahead.
NOTABLE = timedelta(minutes=2)


class ServerClock:
    """Compares the ``Date`` of the first answer that has a readable one with the worker's clock."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._behind: timedelta | None = None

    def see(self, date: str | None) -> None:
        """Read the ``Date`` header of an answer (RFC 9110, section 5.6.7); an unreadable one is ignored."""
        if self._behind is not None or not date:
            return
        try:
            moment = parsedate_to_datetime(date)
        except ValueError:
            return
        self._behind = moment.replace(tzinfo=moment.tzinfo or UTC) - self._now()

    @property
    def difference(self) -> timedelta | None:
        """How far the worker's clock is behind the server's, negative if it is ahead; None if the difference is small."""
        return self._behind if self._behind is not None and abs(self._behind) >= NOTABLE else None
