"""Looks up an event in doubt in Adjust's Device API before it is sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.event import Lane
from airflow_provider_adjust.s2s.events.job import Job

#: How long the Device API is asked before an event counts as absent: practice says that it lags some 30 seconds.
_VERIFY_FOR = 60.0
_VERIFY_EVERY = 5.0
#: Lanes whose last delivered second is remembered, to tell an event in doubt from its predecessor of the same second.
_REMEMBERED_LANES = 100_000


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What became known of an event; ``look_again_in`` is set while the answer may still change, in seconds."""

    recorded: Recorded
    detail: str = "the Device API cannot tell whether Adjust has it"
    look_again_in: float | None = None


class DeviceLookup:
    """Asks how an event stands. Times are monotonic seconds, given by the caller."""

    def __init__(self, lookup: Callable[[Job], Recorded]) -> None:
        self._lookup = lookup
        self._last_seconds: dict[Lane, str] = {}

    def begin(self, job: Job, now: float) -> None:
        job.verify_until = now + _VERIFY_FOR

    def look(self, job: Job, now: float) -> LookupResult:
        """Ask once. The Device API may lag, so absence is believed only at the end of the time given."""
        left = (job.verify_until or 0.0) - now
        try:
            recorded = self._ask(job)
        except AdjustError as error:
            return LookupResult(Recorded.UNKNOWN, str(error), _VERIFY_EVERY if left > 0 else None)
        if recorded is Recorded.NO and left > 0:
            return LookupResult(recorded, look_again_in=min(_VERIFY_EVERY, left))
        return LookupResult(recorded)

    def _ask(self, job: Job) -> Recorded:
        second = job.event.params["created_at_unix"]
        if any(self._last_seconds.get(lane) == second for lane in job.event.lanes):
            return Recorded.UNKNOWN  # the last event that the Device API shows may be the one before
        return self._lookup(job)

    def remember(self, job: Job) -> None:
        """The event was delivered."""
        for lane in job.event.lanes:
            self._last_seconds.pop(lane, None)
            self._last_seconds[lane] = job.event.params["created_at_unix"]
        while len(self._last_seconds) > _REMEMBERED_LANES:
            del self._last_seconds[next(iter(self._last_seconds))]
