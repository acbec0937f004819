"""A rate limit that running tasks share in equal parts, according to their heartbeats in the ledger.

The parts never exceed the limit together, since each try knows every other one before that one begins to send:

- A try sends only while its last reading of the group is younger than ``KNOWN_FOR``.
- A new try begins to send ``KNOWN_FOR`` after it is visible in the group. The others make room at that moment and not before,
so that the limit is used fully meanwhile.
- A try that was not seen for that long no longer counts, and no longer sends. When it returns, it begins like a new one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import tries

#: Seconds between two heartbeats of a try in a group.
BEAT = 2.0
#: Seconds for which a reading of the group is valid: three heartbeats, so that one may be missed.
KNOWN_FOR = 6.0
_columns = tries.c


def members(connection: sa.Connection, group: str, now: datetime) -> list[float]:
    """When the tries of the group begin to send, in seconds from now; negative for those that already do.

    :param now: the database's time.
    """
    query = sa.select(_columns.started_at).where(
        _columns.rate_group == group,
        _columns.ended_at.is_(None),
        _columns.heartbeat_at > now - timedelta(seconds=KNOWN_FOR),
    )
    return [(started_at - now).total_seconds() + KNOWN_FOR for started_at in connection.scalars(query)]


class RateShare:
    """The share of the limit that one try may use. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._begins_at = math.inf
        self._others_begin_at: Sequence[float] = ()

    def see(self, begin_in: Sequence[float], *, asked_at: float, now: float) -> None:
        """Update the share from the ledger's record of the group.

        :param begin_in: when each try of the group begins, including this one, in seconds from the answer.
        :param asked_at: the time before the query was sent.
        """
        if asked_at - self._asked_at >= KNOWN_FOR:
            self._begins_at = now + KNOWN_FOR
        # Counted from the query, which was earlier, so that the others always make room before the new one begins.
        self._others_begin_at = [asked_at + seconds for seconds in begin_in]
        self._asked_at = asked_at

    def at(self, now: float) -> float:
        """The share, from 0 to 1."""
        if now < self._begins_at or now >= self._asked_at + KNOWN_FOR:
            return 0.0
        return 1 / max(1, sum(begins_at <= now for begins_at in self._others_begin_at))
