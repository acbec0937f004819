"""How many events are claimed at once."""

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
        #: How many of the next events an earlier try left in doubt.
        self.in_doubt = 0
        self._asked: tuple[int, Future[list[Claim | Receipt]]] | None = None

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        assert self._asked is None
        self._asked = len(jobs), Future()
        return self._asked[1]

    def answer(self) -> int:
        """Answer the claim; return how many events it has."""
        assert self._asked is not None
        (claimed, future), self._asked = self._asked, None
        future.set_result([Claim(sent_before=place < self.in_doubt) for place in range(claimed)])
        self.in_doubt = max(0, self.in_doubt - claimed)
        return claimed

    def enlarge(self) -> None:
        self.batch_size *= 2

    def may_send(self) -> bool:
        return True

    def rate_share(self) -> float:
        return 1.0


class Case:
    """A dispatcher with this many events of devices of their own."""

    def __init__(self, events: int, in_doubt: int = 0, *, is_proven: bool = True) -> None:
        self.schedule, self.canary = Schedule(), TokenCanary()
        for position in range(1, events + 1):
            self.schedule.add(pending(position, f"d{position}"))
        if is_proven:
            self.canary.confirm(pending(1, "d1"))
        self.claims = Claims()
        self.claims.in_doubt = in_doubt
        self.dispatcher = Dispatcher(self.schedule, self.canary, self.claims)

    def send(self, most: int = 1000) -> None:
        while most and self.dispatcher.next():
            most -= 1

    def claimed(self, *, sent_meanwhile: int = 0) -> int:
        """Ask for claims, send, and take the answer."""
        self.dispatcher.ask()
        self.send(sent_meanwhile)
        claimed = self.claims.answer()
        for each, _ in self.dispatcher.collect():
            self.dispatcher.admit(each)
        return claimed


def test_a_batch_doubles_when_all_was_sent_before_the_next_was_claimed() -> None:
    case = Case(30)
    claimed = [case.claimed()]
    for _ in range(3):
        case.send(claimed[-1] // 2)
        claimed.append(case.claimed(sent_meanwhile=1000))
    assert claimed == [4, 4, 8, 14]


def test_a_batch_stays_while_there_is_something_to_send_meanwhile() -> None:
    case = Case(30)
    claimed = [case.claimed()]
    for _ in range(5):
        case.send(3)
        claimed.append(case.claimed())
        case.send(1)
    assert claimed == [4] * 6


def test_a_batch_stays_if_nothing_was_left_before_the_claim() -> None:
    """As after a wait for rows: then the database was not what sending waited for."""
    case = Case(30)
    claimed = []
    for _ in range(5):
        claimed.append(case.claimed())
        case.send()
    assert claimed == [4] * 5


def test_a_batch_stays_while_an_earlier_try_left_its_events_in_doubt() -> None:
    """Else another kill would use up the resends of more of them, and they would stay in doubt."""
    case = Case(40, in_doubt=9)
    claimed = [case.claimed()]
    for _ in range(4):
        case.send(claimed[-1] // 2)
        claimed.append(case.claimed(sent_meanwhile=1000))
    assert claimed == [4, 4, 4, 4, 8]


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
