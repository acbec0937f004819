"""How many events are claimed at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

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

    def enlarge(self) -> None:
        self.batch_size *= 2

    def may_send(self) -> bool:
        return True

    def rate_share(self) -> float:
        return 1.0


class Case:
    """A dispatcher with this many events of devices of their own, whose tokens are proven."""

    def __init__(self, events: int) -> None:
        schedule, canary = Schedule(), TokenCanary()
        for position in range(1, events + 1):
            schedule.add(pending(position, f"d{position}"))
        canary.confirm(pending(1, "d1"))
        self.claims = Claims()
        self.dispatcher = Dispatcher(schedule, canary, self.claims)

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
