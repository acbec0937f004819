"""Decides which event goes next.

Of the ready events, a pair of app and event token that Adjust has not accepted yet sends one event first, its canary, so
that a wrong token costs one request. With a ledger, events are claimed in batches ahead of need, so that the database
works while others are in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Protocol

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.lanes import Schedule
from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.events.job import Job


class ClaimStore(Protocol):
    """Who must know of an event before it goes out, and may say that it is not to be sent (the ledger)."""

    batch_size: int

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Receipt | None]]:
        """For each event None, or the receipt of one that is not to be sent now; known once that is written down."""


class Dispatcher:
    """Takes events from the schedule and lets them through, one at a time.

    :param refused: told of each event that the ledger does not want sent now, with its receipt.
    :param kept_back: asked about each event before it is let through; True: it was taken elsewhere.
    """

    def __init__(
        self,
        schedule: Schedule,
        probes: TokenCanary,
        claims: ClaimStore | None,
        *,
        refused: Callable[[Job, Receipt], None],
        kept_back: Callable[[Job], bool],
    ) -> None:
        self._schedule = schedule
        self._probes = probes
        self._claims = claims
        self._refused = refused
        self._kept_back = kept_back
        self._admitted: deque[Job] = deque()
        self._asked: tuple[list[Job], Future[list[Receipt | None]]] | None = None

    def next(self) -> Job | None:
        """The next event to send; None while there is none, or while the ledger has not answered.

        :raises LedgerUnavailable: the ledger could not be written; the events that it was asked about remain.
        """
        if self._claims is None:
            while not self._admitted and (job := self._schedule.next_ready()) is not None:
                if self._probes.try_acquire(job):
                    self._admit(job)
        elif not self._admitted:
            self.look_ahead()
        return self._admitted.popleft() if self._admitted else None

    def look_ahead(self) -> None:
        """Take note of what the ledger answered, and ask about more events while few are at hand."""
        if self._claims is None:
            return
        if self._asked and self._asked[1].done():
            self._take_answer()
        at_hand = len(self._admitted)
        few = at_hand <= self._claims.batch_size // 2 and not (at_hand and self._schedule.ready < at_hand)
        if self._asked or not few:
            return
        batch: list[Job] = []
        while len(batch) < self._claims.batch_size and (job := self._schedule.next_ready()) is not None:
            if not self._probes.try_acquire(job):
                continue
            if job.claimed:
                self._admit(job)
            else:
                batch.append(job)
        if batch:
            self._asked = batch, self._claims.begin_claim(batch)
            if self._asked[1].done():
                self._take_answer()

    @property
    def asking(self) -> bool:
        """Whether the ledger has yet to answer."""
        return self._asked is not None

    def wait_for_answer(self, seconds: float) -> bool:
        """Return when the ledger has answered, or after that time; False, at once, where it was not asked."""
        if self._asked is None:
            return False
        wait((self._asked[1],), seconds)
        return True

    def close(self) -> None:
        """Take note of the last answer, however long it takes.

        :raises LedgerUnavailable: as ``next``.
        """
        if self._asked:
            self._take_answer()

    def left_over(self) -> Iterator[Job]:
        """All that could have gone next, and now will not."""
        yield from self._admitted
        yield from self._probes.parked
        while (job := self._schedule.next_ready()) is not None:
            yield job

    def _take_answer(self) -> None:
        assert self._asked is not None  # noqa: S101 - the callers have looked
        batch, answer = self._asked
        self._asked = None
        try:
            receipts = answer.result()
        except Exception as error:
            self._admitted.extend(batch)
            raise LedgerUnavailable.because(error) from error
        for job, receipt in zip(batch, receipts, strict=True):
            if receipt is None:
                job.claimed = True
                self._admit(job)
            else:
                self._refused(job, receipt)

    def _admit(self, job: Job) -> None:
        if not self._kept_back(job):
            self._admitted.append(job)


_TokenPair = tuple[str, str]


class TokenCanary:
    """Which pairs Adjust has accepted, which one is being tried, and the events that wait to hear of it."""

    def __init__(self) -> None:
        self._proven: set[_TokenPair] = set()
        self._probing: set[_TokenPair] = set()
        self._parked: dict[_TokenPair, list[Job]] = {}

    def try_acquire(self, job: Job) -> bool:
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
