"""Looks up an event in doubt in Adjust's Device API before it is sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.delivery.options import LookupPolicy
from airflow_provider_adjust.s2s.delivery.pacing import DelayQueue
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.event import Lane

#: Lanes for which the last delivered second is kept, to tell an event in doubt from its predecessor of the same second.
_REMEMBERED_LANES = 100_000


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What is known of an event; ``check_again_in`` is set while the answer may still change, in seconds."""

    recorded: Recorded
    detail: str = "the Device API cannot tell whether Adjust has it"
    check_again_in: float | None = None


class DeviceLookup:
    """The events that are being looked up. Times are monotonic seconds, given by the caller.

    :param routes: each has a lookup, which asks the Device API whether Adjust has recorded an event.
    """

    def __init__(self, routes: Mapping[str | None, Route], policy: LookupPolicy) -> None:
        self._routes = routes
        self._policy = policy
        self._waiting = DelayQueue()
        self._until: dict[Pending, float] = {}
        self._last_seconds: dict[Lane, str] = {}

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._waiting)

    @property
    def next_due(self) -> float | None:
        """When the next check is due; None while there is nothing to check."""
        return self._waiting.next_due

    def begin(self, pending: Pending, now: float) -> None:
        """Have the event checked from now on."""
        self._until[pending] = now + self._policy.wait
        self._waiting.add(pending, now)

    def results(self, clock: Callable[[], float]) -> Iterator[tuple[Pending, LookupResult]]:
        """Check the events that are due; the results that will not change any more.

        A check may take seconds, so the clock is read again for each: a slow Device API still gets its pause.
        """
        for pending in self._waiting.take_due(clock()):
            result = self.check(pending, clock())
            if result.check_again_in is not None:
                self._waiting.add(pending, clock() + result.check_again_in)
            else:
                del self._until[pending]
                yield pending, result

    def check(self, pending: Pending, now: float) -> LookupResult:
        """Look the event up once. "Not there" counts only at the end of the wait, because the Device API lags."""
        left = self._until[pending] - now
        try:
            recorded = self._ask(pending)
        except AdjustError as error:
            return LookupResult(Recorded.UNKNOWN, str(error), self._policy.every if left > 0 else None)
        if recorded is Recorded.NO and left > 0:
            return LookupResult(recorded, check_again_in=min(self._policy.every, left))
        return LookupResult(recorded)

    def _ask(self, pending: Pending) -> Recorded:
        second = pending.event.params["created_at_unix"]
        if any(self._last_seconds.get(lane) == second for lane in pending.event.lanes):
            return Recorded.UNKNOWN  # the last event that the Device API shows may be the one before
        lookup = self._routes[pending.job.route].lookup
        return lookup(pending.event) if lookup else Recorded.UNKNOWN

    def remember(self, pending: Pending) -> None:
        """Note that the event was delivered."""
        for lane in pending.event.lanes:
            self._last_seconds.pop(lane, None)
            self._last_seconds[lane] = pending.event.params["created_at_unix"]
        while len(self._last_seconds) > _REMEMBERED_LANES:
            del self._last_seconds[next(iter(self._last_seconds))]
