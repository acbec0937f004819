"""When the next request may start: the window of requests in flight, the rate, retries and pauses.

The window shrinks when Adjust says that it is too much and grows back while it answers, as TCP's does: halved on 429, cut
by a quarter on 503, one more for every eight good answers. An occasional 503 concerns its own event: the window shrinks,
and all events wait, only when more than 5 % of the last 64 answers or so are 429 or 503. Until the first answer that is
not a halt the window is one, so that a wrong token costs one request.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from airflow_provider_adjust.s2s.answers.outcome import Verdict
from airflow_provider_adjust.s2s.delivery.lanes import Pending


class DelayQueue:
    """Events that wait until a time on the delivery's clock."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Pending]] = []
        self._added = 0

    def __iter__(self) -> Iterator[Pending]:
        return (pending for _, _, pending in self._waiting)

    @property
    def next_due(self) -> float | None:
        """When the first of them is due; None while none waits."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, pending: Pending, due: float) -> None:
        self._added += 1
        heapq.heappush(self._waiting, (due, self._added, pending))

    def take_route(self, route: str | None) -> list[Pending]:
        """The events of the route, due or not."""
        taken = [pending for pending in self if pending.job.route == route]
        self._waiting = [entry for entry in self._waiting if entry[2].job.route != route]
        heapq.heapify(self._waiting)
        return taken

    def take_due(self, now: float) -> Iterator[Pending]:
        """The events that are due, the earliest first."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]


_CUT = {429: 0.5, 503: 0.75}
_GROWTH = 1 / 8
#: The share of 503 among the latest answers that is taken as noise, and how many answers are the latest, about.
_NOISE = 0.05
_LATEST = 64
#: Maximum burst, in seconds of the configured rate, after the loop was late.
_CATCH_UP = 0.05


class Pace:
    """Limits how fast one delivery sends. Times are monotonic seconds, given by the caller."""

    def __init__(self, max_in_flight: int, max_events_per_second: float | None = None) -> None:
        self._most = max_in_flight
        self._window = float(max_in_flight)
        self._answers_to_next_cut = 0
        self._slow_share = 0.0
        self._limit = max_events_per_second
        self._interval = 1 / max_events_per_second if max_events_per_second else 0.0
        self._next_slot = 0.0
        self._paused_until = 0.0
        self._endpoint_ok = False

    @property
    def window(self) -> int:
        """Requests that may be in flight now."""
        return int(self._window) if self._endpoint_ok else 1

    @property
    def slowed_to(self) -> int | None:
        """The window, where Adjust's answers have made it smaller than the maximum."""
        return int(self._window) if self._window < self._most else None

    def paused_for(self, now: float) -> float:
        """Seconds for which nothing starts, because Adjust asked for that."""
        return max(0.0, self._paused_until - now)

    def wait(self, now: float) -> float:
        """Seconds until the next request may start, as far as rate and pauses go; 0 is now."""
        if math.isinf(self._interval):
            return math.inf
        return max(0.0, self._next_slot - now, self._paused_until - now)

    def share(self, part: float) -> None:
        """Keep to that part of the limit from now on; 0 is to start nothing."""
        if self._limit:
            self._interval = 1 / (self._limit * part) if part else math.inf

    def may_start(self, now: float) -> bool:
        """Whether a request may start now, as far as rate and pauses go."""
        return self._interval != math.inf and self._next_slot <= now >= self._paused_until

    def sent(self, now: float) -> None:
        if self._interval:
            self._next_slot = max(self._next_slot, now - max(_CATCH_UP, self._interval)) + self._interval

    def endpoint_ok(self) -> None:
        """An answer has shown that the endpoint and the token work."""
        self._endpoint_ok = True

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing for that long."""
        self._paused_until = max(self._paused_until, now + seconds)

    def concerns_one(self, verdict: Verdict) -> bool:
        """Whether the 503, which was counted, is noise: it asks its own event to wait, and not all of them."""
        return verdict.http_status == 503 and self._slow_share <= _NOISE

    def answered(self, verdict: Verdict) -> None:
        """Shrink or grow by the answer. A burst of refusals that were in flight together counts once."""
        self._answers_to_next_cut -= 1
        self._slow_share += (verdict.slow_down - self._slow_share) / _LATEST
        if not verdict.slow_down:
            self._window = min(float(self._most), self._window + _GROWTH)
        elif self._answers_to_next_cut <= 0 and not self.concerns_one(verdict):
            self._window = max(1.0, self._window * _CUT.get(verdict.http_status or 0, 1.0))
            self._answers_to_next_cut = int(self._window) + 1
