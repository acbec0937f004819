"""One event of each pair of app and event token goes first: a wrong token is refused once, not once for each in flight."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_adjust.s2s.schedule import Job

_TokenPair = tuple[str, str]


class Probes:
    """Which pairs Adjust has accepted, which one is being tried, and the events that wait to hear of it."""

    def __init__(self) -> None:
        self._proven: set[_TokenPair] = set()
        self._probing: set[_TokenPair] = set()
        self._parked: dict[_TokenPair, list[Job]] = {}

    def may_go(self, job: Job) -> bool:
        """Tell whether the event may be sent. One that may not is kept until its pair was tried."""
        pair = _tokens(job)
        if pair in self._proven:
            return True
        if pair in self._probing:
            self._parked.setdefault(pair, []).append(job)
            return False
        self._probing.add(pair)
        return True

    def prove(self, job: Job) -> None:
        """Adjust knows the event's tokens."""
        self._proven.add(_tokens(job))

    def release(self, job: Job) -> list[Job]:
        """The attempt of this event has ended, one way or another: return those that waited for it."""
        if not self._probing:
            return []
        pair = _tokens(job)
        self._probing.discard(pair)
        return self._parked.pop(pair, [])

    @property
    def parked(self) -> Iterator[Job]:
        """Events that still wait."""
        return (job for jobs in self._parked.values() for job in jobs)


def _tokens(job: Job) -> _TokenPair:
    params = job.event.params
    return params["app_token"], params["event_token"]
