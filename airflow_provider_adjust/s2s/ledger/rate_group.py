"""A limit that running tasks share: each takes an equal part of it, as their heartbeats in the ledger show.

The parts never add up to more than the limit, since a try knows of every other one before that begins to send:

- A try sends only while what it knows of the group is younger than ``KNOWN_FOR``.
- A try that comes to the group begins ``KNOWN_FOR`` after it can be seen there. The others make room at that moment and
  not before, so that nothing of the limit is left unused meanwhile.
- A try that was not seen for that long counts no more, and sends no more. When it is back, it begins as a new one does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import tries

#: Seconds between two heartbeats of a try that is in a group.
BEAT = 2.0
#: Seconds for which a try relies on what it knows of its group: three heartbeats, so that one may be missed.
KNOWN_FOR = 6.0
_columns = tries.c


def members(connection: sa.Connection, group: str, now: datetime) -> list[float]:
    """When the tries of the group begin to send, in seconds from now; those that do already are below 0.

    :param now: the database's.
    """
    query = sa.select(_columns.started_at).where(
        _columns.rate_group == group,
        _columns.ended_at.is_(None),
        _columns.heartbeat_at > now - timedelta(seconds=KNOWN_FOR),
    )
    return [(started_at - now).total_seconds() + KNOWN_FOR for started_at in connection.scalars(query)]


class RateShare:
    """The part of the limit that one try may use. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._begins_at = math.inf
        self._others_begin_at: Sequence[float] = ()

    def see(self, begin_in: Sequence[float], *, asked_at: float, now: float) -> None:
        """Take over what the ledger says of the group.

        :param begin_in: when each try of the group begins, this one among them, in seconds from the answer.
        :param asked_at: before the question was sent.
        """
        if asked_at - self._asked_at >= KNOWN_FOR:
            self._begins_at = now + KNOWN_FOR
        # From the time of the question, which was earlier: the others make room in any case before the new one begins.
        self._others_begin_at = [asked_at + seconds for seconds in begin_in]
        self._asked_at = asked_at

    def at(self, now: float) -> float:
        """The part, from 0 to 1."""
        if now < self._begins_at or now >= self._asked_at + KNOWN_FOR:
            return 0.0
        return 1 / max(1, sum(begins_at <= now for begins_at in self._others_begin_at))
