"""Which event is sent next."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from s2s_case import pending

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.admission import Dispatcher, TokenCanary
from airflow_provider_adjust.s2s.delivery.lanes import Schedule
from airflow_provider_adjust.s2s.events.job import Claim, Job


class Claims:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.batch_size = 4
        self._asked: tuple[int, Future[list[Claim | Receipt]]] | None = None

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        assert self._asked is None
        self._asked = len(jobs), Future()
        return self._asked[1]

    def answer(self) -> int:
        """Answer the claim; return how many events it has."""
        assert self._asked is not None
        (claimed, future), self._asked = self._asked, None
        future.set_result([Claim()] * claimed)
        return claimed

    def may_send(self) -> bool:
        return True

    def rate_share(self) -> float:
        return 1.0


class Case:
    """A dispatcher with this many events of devices of their own."""

    def __init__(self, events: int, *, is_proven: bool = True) -> None:
        self.schedule, self.canary = Schedule(), TokenCanary()
        for position in range(1, events + 1):
            self.schedule.add(pending(position, f"d{position}"))
        if is_proven:
            self.canary.confirm(pending(1, "d1"))
        self.claims = Claims()
        self.dispatcher = Dispatcher(self.schedule, self.canary, self.claims)

    def send(self, events: int) -> None:
        for _ in range(events):
            assert self.dispatcher.next() is not None

    def claimed(self) -> int:
        """Ask for claims, and take the answer."""
        self.dispatcher.ask()
        claimed = self.claims.answer()
        for each, _ in self.dispatcher.collect():
            self.dispatcher.admit(each)
        return claimed


@pytest.mark.parametrize("asks_first", [False, True])
def test_what_is_sent_again_goes_before_what_is_claimed_ahead(asks_first: bool) -> None:
    case = Case(12)
    case.claimed()
    failed = case.dispatcher.next()
    assert failed is not None
    case.send(1)
    case.schedule.make_ready(failed)
    if asks_first:
        case.claimed()
    assert case.dispatcher.next() is failed
    following = case.dispatcher.next()
    assert following is not None
    assert following.position == 3


def test_what_is_sent_again_waits_for_the_canary_of_its_tokens() -> None:
    case = Case(4, is_proven=False)
    assert case.claimed() == 1
    first = case.dispatcher.next()
    assert first is not None
    for unblocked in case.canary.release(first):
        case.schedule.make_ready(unblocked)
    assert case.claimed() == 1
    case.schedule.make_ready(first)
    canary = case.dispatcher.next()
    assert canary is not None
    assert canary.position == 2
    assert first in case.dispatcher.drain()
