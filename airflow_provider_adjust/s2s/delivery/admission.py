"""Decides which event goes next.

Of the ready events, a pair of app and event token that Adjust has not accepted yet sends one event first, its canary, so
that a wrong token costs one request. With a ledger, events are claimed in batches ahead of need, so that the database
works while others are in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Protocol

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.lanes import Pending, Schedule, Tokens
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, LedgerUnavailable
from airflow_provider_adjust.s2s.events.job import Claim, Job


class ClaimStore(Protocol):
    """Must know of an event before it goes out, and may refuse to have it sent (the ledger)."""

    batch_size: int

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        """For each event a claim, or the receipt of one that is not to be sent now; known once that is written."""

    def may_send(self) -> bool:
        """Whether the claims are still this try's own, so that their events may go out.

        :raises LedgerUnavailable: they are not, and will not be again.
        """

    def rate_share(self) -> float:
        """The part of the limit of events a second that is this try's, where tasks share one; from 0 to 1."""


class Dispatcher:
    """Takes events from the schedule and offers them one at a time.

    With a claim store: ``ask`` claims events ahead of need, ``collect`` returns the answers, and the loop hands each
    claimed event back with ``admit``. Without one, every ready event is offered, unless its tokens wait for their canary.
    """

    def __init__(self, schedule: Schedule, canary: TokenCanary, claims: ClaimStore | None) -> None:
        self._schedule = schedule
        self._canary = canary
        self._claims = claims
        #: Whether events are claimed before they go.
        self.asks = claims is not None
        self._admitted: deque[Pending] = deque()
        #: Positions of the events that were read and not yet claimed, by identity. Once an event is claimed, the
        #: claim store knows its id.
        self._unclaimed: dict[tuple[str, ...], int] = {}
        self._asked: tuple[list[Pending], Future[list[Claim | Receipt]]] | None = None

    def next(self) -> Pending | None:
        """The next event to send; None while there is none, or while its claim is not answered."""
        if self._claims is None:
            while not self._admitted and (pending := self._schedule.next_ready()) is not None:
                if self._canary.try_acquire(pending):
                    return pending
        return self._admitted.popleft() if self._admitted else None

    def first_of(self, job: Job) -> int:
        """The position of the first event with this one's identity that waits to be claimed: its own, if there is none.

        Without a claim store only the rows of one second are compared, where they are read.
        """
        if self._claims is None or job.event.endpoint.state is not None:
            return job.position
        return self._unclaimed.setdefault(job.event.identity, job.position)

    def admit(self, pending: Pending) -> None:
        """Offer an event that is claimed."""
        self._admitted.append(pending)

    def may_send(self) -> bool:
        """Whether an event may go out now.

        :raises LedgerUnavailable: none of this try may go any more.
        """
        return self._claims is None or self._claims.may_send()

    def rate_share(self) -> float:
        """The part of the limit of events a second that this delivery may use now, from 0 to 1."""
        return self._claims.rate_share() if self._claims else 1.0

    def ask(self) -> None:
        """Claim more events while few are at hand."""
        if self._claims is None or self._asked:
            return
        at_hand = len(self._admitted)
        if at_hand > self._claims.batch_size // 2 or (at_hand and self._schedule.ready < at_hand):
            return
        batch: list[Pending] = []
        while len(batch) < self._claims.batch_size and (pending := self._schedule.next_ready()) is not None:
            if not self._canary.try_acquire(pending):
                continue
            if pending.claimed:
                self._admitted.append(pending)
            else:
                batch.append(pending)
        if batch:
            self._asked = batch, self._claims.begin_claim([pending.job for pending in batch])

    @property
    def asking(self) -> bool:
        """Whether claims are under way."""
        return self._asked is not None

    @property
    def answered(self) -> bool:
        """Whether ``collect`` would return at once."""
        return self._asked is not None and self._asked[1].done()

    def wait_for_answer(self, seconds: float) -> bool:
        """Return when the claims are answered, or after that time; False, at once, where none are under way."""
        if self._asked is None:
            return False
        wait((self._asked[1],), seconds)
        return True

    def collect(self) -> list[tuple[Pending, Claim | Receipt]]:
        """The answers to the claims under way, however long they take; none where there are none.

        :raises LedgerUnavailable: the claims could not be written; their events are left over.
        :raises AdjustConfigurationError: the ledger cannot tell what was sent; their events are left over.
        """
        if self._asked is None:
            return []
        batch, answer = self._asked
        self._asked = None
        try:
            answers = answer.result()
        except AdjustConfigurationError:
            self._admitted.extend(batch)
            raise
        except Exception as error:
            self._admitted.extend(batch)
            raise LedgerUnavailable.because(error) from error
        for pending, each in zip(batch, answers, strict=True):
            pending.claimed = isinstance(each, Claim)
            self._unclaimed.pop(pending.event.identity, None)
        return list(zip(batch, answers, strict=True))

    def drain(self) -> Iterator[Pending]:
        """All that could have gone next, and now will not."""
        yield from self._admitted
        yield from self._canary.blocked
        while (pending := self._schedule.next_ready()) is not None:
            yield pending


class TokenCanary:
    """Sends one event per pair of app and event token first, and blocks the others until it is answered.

    A wrong token then costs one request, not one for each event in flight.
    """

    def __init__(self) -> None:
        self._confirmed: set[Tokens] = set()
        self._under_way: set[Tokens] = set()
        self._blocked: dict[Tokens, list[Pending]] = {}

    def try_acquire(self, pending: Pending) -> bool:
        """Tell whether the event may be sent. One that may not is kept until its pair's canary is released."""
        pair = _tokens(pending)
        if pair in self._confirmed:
            return True
        if pair in self._under_way:
            self._blocked.setdefault(pair, []).append(pending)
            return False
        self._under_way.add(pair)
        return True

    def confirm(self, pending: Pending) -> None:
        """Adjust accepts the event's tokens."""
        self._confirmed.add(_tokens(pending))

    def release(self, pending: Pending) -> list[Pending]:
        """The event's attempt has ended, one way or another. Return the events that waited for it."""
        if not self._under_way:
            return []
        pair = _tokens(pending)
        self._under_way.discard(pair)
        return self._blocked.pop(pair, [])

    @property
    def blocked(self) -> Iterator[Pending]:
        """Events that still wait for a canary."""
        return (pending for waiting in self._blocked.values() for pending in waiting)


def _tokens(pending: Pending) -> Tokens:
    if pending.tokens is None:
        event = pending.event
        pending.tokens = pending.job.route, event.params["app_token"], event.endpoint.name, event.key
    return pending.tokens
