"""How often an event is sent, how long it waits in between, and what is done with one that got no answer."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_adjust.s2s.schedule import Job

#: What is done with an event in doubt: sent again, left to a person, or looked up in the Device API first.
OnInDoubt = Literal["resend", "hold", "verify"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an event is sent, and how long it waits in between: exponential, with full jitter, in seconds.

    Adjust's own wish (``Retry-After``, ``retry_in``) replaces the wait. A wish longer than ``longest_wish`` ends the
    delivery, so that the task does not hold a worker for it.
    """

    attempts: int = 7
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_wish: float = 120.0
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, attempts: int) -> float:
        return self.jitter() * min(self.longest_wait, self.first_wait * 2.0 ** (attempts - 1))


class WaitingRoom:
    """Events that wait for a moment on the delivery's clock."""

    def __init__(self) -> None:
        self._jobs: list[tuple[float, int, Job]] = []
        self._added = 0

    def __iter__(self) -> Iterator[Job]:
        return (job for _, _, job in self._jobs)

    @property
    def next_due(self) -> float | None:
        """When the first of them is due; None while nobody waits."""
        return self._jobs[0][0] if self._jobs else None

    def add(self, job: Job, due: float) -> None:
        self._added += 1
        heapq.heappush(self._jobs, (due, self._added, job))

    def take_due(self, now: float) -> Iterator[Job]:
        """Those whose wait is over, the earliest first."""
        while self._jobs and self._jobs[0][0] <= now:
            yield heapq.heappop(self._jobs)[2]
