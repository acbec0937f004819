"""Decide which event is sent next.

Until Adjust has accepted a pair of app and event token, only one of its ready events is sent, the canary, so that a wrong
token costs one request. With a ledger, events are claimed in batches ahead of need, so that the database works while requests
are in flight.
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
    """The ledger: it must record an event before it is sent, and may refuse it."""

    batch_size: int

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        """A claim for each event, or the receipt of one that must not be sent now; done once that is written."""

    def may_send(self) -> bool:
        """Whether the claims still belong to this try, so that their events may be sent.

        :raises LedgerUnavailable: the claims are lost for good.
        """

    def rate_share(self) -> float:
        """The share of this try in a rate limit of several tasks, from 0 to 1."""


class Dispatcher:
    """Takes events from the schedule, and offers them one at a time.

    With a claim store: ``ask`` claims events ahead of need, ``collect`` returns the answers, and the loop hands each
    claimed event back with ``admit``. Without one, every ready event is offered, unless its tokens wait for their canary.
    """

    def __init__(self, schedule: Schedule, canary: TokenCanary, claims: ClaimStore | None) -> None:
        self._schedule = schedule
        self._canary = canary
        self._claims = claims
        #: Whether events are claimed before they are sent.
        self.asks = claims is not None
        self._admitted: deque[Pending] = deque()
        #: Positions of events that were read and not yet claimed, by identity. The claim store knows the id of claimed events.
        self._unclaimed: dict[tuple[str, ...], int] = {}
        self._asked: tuple[list[Pending], Future[list[Claim | Receipt]]] | None = None

    def next(self) -> Pending | None:
        """The next event to send; None if there is none, or while its claim is pending.

        What is sent again goes before the events that are claimed ahead: the sooner it is settled or given up, the fewer others
        an outage of Adjust affects.
        """
        while (pending := self._schedule.next_claimed()) is not None:
            if self._canary.try_acquire(pending):
                return pending
        if self._claims is None:
            while not self._admitted and (pending := self._schedule.next_ready()) is not None:
                if self._canary.try_acquire(pending):
                    return pending
        return self._admitted.popleft() if self._admitted else None

    def first_of(self, job: Job) -> int:
        """The position of the first unclaimed event with this identity; the job's own position if there is none.

        Without a claim store, the intake compares the rows of one second instead.
        """
        if self._claims is None or job.event.endpoint.state is not None:
            return job.position
        return self._unclaimed.setdefault(job.event.identity, job.position)

    def admit(self, pending: Pending) -> None:
        """Offer a claimed event."""
        self._admitted.append(pending)

    def may_send(self) -> bool:
        """Whether an event may be sent now.

        :raises LedgerUnavailable: this try may not send any more.
        """
        return self._claims is None or self._claims.may_send()

    def rate_share(self) -> float:
        """The share of the rate limit that this delivery may use now, from 0 to 1."""
        return self._claims.rate_share() if self._claims else 1.0

    def ask(self) -> bool:
        """Claim more events while few are available; return whether claims were asked for."""
        if self._claims is None or self._asked:
            return False
        at_hand = len(self._admitted)
        if at_hand > self._claims.batch_size // 2 or (at_hand and self._schedule.ready < at_hand):
            return False
        batch: list[Pending] = []
        while len(batch) < self._claims.batch_size and (pending := self._schedule.next_ready()) is not None:
            if not self._canary.try_acquire(pending):
                continue
            if pending.claimed:
                self._admitted.appendleft(pending)
            else:
                batch.append(pending)
        if batch:
            self._asked = batch, self._claims.begin_claim([pending.job for pending in batch])
        return bool(batch)

    @property
    def asking(self) -> bool:
        """Whether claims are pending."""
        return self._asked is not None

    @property
    def answered(self) -> bool:
        """Whether ``collect`` would return immediately."""
        return self._asked is not None and self._asked[1].done()

    def wait_for_answer(self, seconds: float) -> bool:
        """Wait for the pending claims, or until the time is over; return False immediately if there are none."""
        if self._asked is None:
            return False
        wait((self._asked[1],), seconds)
        return True

    def collect(self) -> list[tuple[Pending, Claim | Receipt]]:
        """Wait for the pending claims, and return their answers.

        :raises LedgerUnavailable: the claims could not be written; ``drain`` returns their events.
        :raises AdjustConfigurationError: the ledger cannot tell what was sent; ``drain`` returns their events.
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
        """All events that were about to be sent, and now will not be."""
        yield from self._admitted
        yield from self._canary.blocked
        while (pending := self._schedule.next_ready()) is not None:
            yield pending


class TokenCanary:
    """Lets one event per pair of app and event token through, and blocks the others until it is answered.

    A wrong token then costs one request, not one for each event in flight.
    """

    def __init__(self) -> None:
        self._confirmed: set[Tokens] = set()
        self._under_way: set[Tokens] = set()
        self._blocked: dict[Tokens, list[Pending]] = {}

    def try_acquire(self, pending: Pending) -> bool:
        """Whether the event may be sent. If not, it is kept until the canary of its pair is released."""
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
        """End the event's attempt, whatever its result. Return the events that waited for it."""
        if not self._under_way:
            return []
        pair = _tokens(pending)
        self._under_way.discard(pair)
        return self._blocked.pop(pair, [])

    @property
    def blocked(self) -> Iterator[Pending]:
        """Events that still wait for their canary."""
        return (pending for waiting in self._blocked.values() for pending in waiting)


def _tokens(pending: Pending) -> Tokens:
    if pending.tokens is None:
        event = pending.event
        pending.tokens = pending.job.route, event.params["app_token"], event.endpoint.name, event.key
    return pending.tokens
