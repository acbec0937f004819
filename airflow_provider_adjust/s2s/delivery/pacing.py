"""When the next request may start: the window of requests in flight, the rate, retries and pauses.

A 429 means that the rate is too high; ``found_rate`` then finds the rate that the server accepts. A 503 means that the server
is in trouble: the window is cut by a quarter, and grows back by one for every eight good answers. An occasional 429 or 503
affects only its own event: the window shrinks, and all events wait, only if more than 5 % of the answers of the last second,
or of the last 64, are 429 or 503. Until the first answer that is not a halt, the window is one, so that a wrong token costs
one request.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from airflow_provider_adjust.s2s.answers.outcome import Verdict
from airflow_provider_adjust.s2s.delivery.found_rate import FoundRate
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
        """When the first event is due; None while none waits."""
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


_CUT = 0.75
_GROWTH = 1 / 8
#: The share of 429 and 503 among the latest answers that is treated as noise, and the least number of latest answers: those of
#: a second, if there are more. Even at one in a hundred, 64 answers quite often contain four.
_NOISE = 0.05
_LATEST = 64
#: The largest burst after the loop was late, in seconds of the configured rate.
_CATCH_UP = 0.05


class Pace:
    """Limits the speed of one delivery. Times are monotonic seconds from the caller."""

    def __init__(self, max_in_flight: int, max_events_per_second: float | None = None) -> None:
        self._most = max_in_flight
        self._window = float(max_in_flight)
        self._answers_to_next_cut = 0
        self._slow_share = 0.0
        #: The start of the current second, its answers so far, and the number of answers in the second before.
        self._second_began = float("-inf")
        self._answers = self._answers_before = 0
        self._found = FoundRate()
        self._limit = max_events_per_second
        self._interval = 1 / max_events_per_second if max_events_per_second else 0.0
        self._next_slot = 0.0
        self._paused_until = 0.0
        self._endpoint_ok = False

    @property
    def window(self) -> int:
        """The number of requests that may be in flight now."""
        return int(self._window) if self._endpoint_ok else 1

    @property
    def slowed_to(self) -> str | None:
        """The limits that Adjust's answers have reduced, as text: the window, the rate."""
        slowed = [f"{int(self._window):,} in flight"] if self._window < self._most else []
        if (rate := self._found.rate) is not None and rate * self._interval < 1:
            slowed.append(f"{rate:,.0f} events a second" if rate >= 10 else f"{rate:.1f} events a second")
        return " and ".join(slowed) or None

    def paused_for(self, now: float) -> float:
        """Seconds for which no request starts, since Adjust asked for a pause."""
        return max(0.0, self._paused_until - now)

    def wait(self, now: float) -> float:
        """Seconds until rate and pauses allow the next request; 0 is now."""
        if math.isinf(self._interval):
            return math.inf
        return max(0.0, self._next_slot - now, self._paused_until - now)

    def share(self, part: float) -> None:
        """Use this share of the limit from now on; 0 starts no requests."""
        if self._limit:
            self._interval = 1 / (self._limit * part) if part else math.inf

    def may_start(self, now: float) -> bool:
        """Whether rate and pauses allow a request now."""
        return self._interval != math.inf and self._next_slot <= now >= self._paused_until

    def sent(self, now: float) -> None:
        interval = self._interval
        if self._found.rate is not None:
            interval = max(interval, 1 / self._found.rate)
        if interval:
            self._next_slot = max(self._next_slot, now - max(_CATCH_UP, interval)) + interval

    def endpoint_ok(self) -> None:
        """Record that the endpoint and the token work."""
        self._endpoint_ok = True

    def pause(self, now: float, seconds: float) -> None:
        """Start no requests for this long."""
        paused_until = max(now, self._paused_until)
        self._paused_until = max(paused_until, now + seconds)
        self._found.paused(self._paused_until - paused_until)

    def concerns_one(self, verdict: Verdict) -> bool:
        """Whether a counted 429 or 503 is noise, so that only its own event waits."""
        if verdict.http_status == 429:
            return not self._found.is_refusing
        return verdict.http_status == 503 and self._slow_share <= _NOISE

    def answered(self, verdict: Verdict, now: float, in_flight: int) -> None:
        """Shrink or grow after an answer. A burst of refusals that were in flight together counts once.

        :param in_flight: requests that still wait for their answer.
        """
        if now - self._second_began >= 1.0:
            self._second_began, self._answers_before, self._answers = now, self._answers, 0
        self._answers += 1
        self._answers_to_next_cut -= 1
        self._slow_share += (verdict.slow_down - self._slow_share) / max(_LATEST, self._answers_before, self._answers)
        if not verdict.slow_down:
            self._found.answered(now, False, in_flight)
            self._window = min(float(self._most), self._window + _GROWTH)
        elif verdict.http_status == 429:
            self._found.answered(now, True, in_flight)
            self._next_slot = max(self._next_slot, self._found.not_before)
        elif self._answers_to_next_cut <= 0 and not self.concerns_one(verdict):
            self._window = max(1.0, self._window * _CUT)
            self._answers_to_next_cut = int(self._window) + 1
