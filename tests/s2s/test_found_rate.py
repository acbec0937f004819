"""A server that refuses above a limit: the delivery finds what it takes, and stays there."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest
from fake_transport import BUSY, OK, Answer, FakeTransport
from s2s_case import job
from test_delivery import _delivery

from airflow_provider_adjust.s2s.delivery.found_rate import FoundRate
from airflow_provider_adjust.s2s.events.job import Job

#: Says of a moment whether the server takes one more request.
Takes = Callable[[float], bool]


def fixed_windows(limit: int) -> Takes:
    """So many in each second of the clock."""
    seconds: Counter[int] = Counter()

    def takes(now: float) -> bool:
        seconds[int(now)] += 1
        return seconds[int(now)] <= limit

    return takes


def sliding_window(limit: int) -> Takes:
    """So many in the second before each request."""
    latest: deque[float] = deque()

    def takes(now: float) -> bool:
        while latest and latest[0] <= now - 1:
            latest.popleft()
        is_taken = len(latest) < limit
        if is_taken:
            latest.append(now)
        return is_taken

    return takes


def token_bucket(limit: int, holds: float = 0.2) -> Takes:
    """So many a second, and as many at once as it holds, in seconds."""
    tokens, filled = limit * holds, 0.0

    def takes(now: float) -> bool:
        nonlocal tokens, filled
        tokens, filled = min(limit * holds, tokens + (now - filled) * limit), now
        is_taken = tokens >= 1
        tokens -= is_taken
        return is_taken

    return takes


class LimitedTransport(FakeTransport):
    """Refuses with 429 what the server does not take; counts by the second since the start."""

    def __init__(self, takes: Takes, refusal: Answer, seconds: float = 0.02) -> None:
        super().__init__()
        self._takes = takes
        self._refusal = refusal
        self._answer = Answer(OK.status, OK.body, seconds=seconds)
        self.taken: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()

    def submit(self, key: Job, target: object, body: str) -> None:
        is_taken = self._takes(self.clock())
        (self.taken if is_taken else self.refused)[int(self.clock() - 1000)] += 1
        self._otherwise = self._answer if is_taken else self._refusal
        super().submit(key, target, body)  # type: ignore[arg-type]


def _send_for(transport: LimitedTransport, seconds: int, max_in_flight: int = 64) -> str | None:
    """Deliver for so long; return what the delivery says of its speed."""
    delivery = _delivery(transport, max_in_flight=max_in_flight)

    def jobs() -> Iterator[Job]:
        position = 0
        while transport.clock() < 1000 + seconds:
            position += 1
            yield job(position, f"d{position}")

    for _ in delivery.run(jobs()):
        pass
    return delivery.slowed_to


@pytest.mark.parametrize("kind", [fixed_windows, sliding_window, token_bucket])
@pytest.mark.parametrize("retry_after", [None, "1"])
@pytest.mark.parametrize("limit", [40, 200])
def test_the_limit_of_the_server_is_found_and_kept(
    kind: Callable[[int], Takes], retry_after: str | None, limit: int
) -> None:
    random.seed(1)
    transport = LimitedTransport(kind(limit), Answer(429, retry_after=retry_after, seconds=0.02))
    said = _send_for(transport, 50)
    by_second = [transport.taken[second] for second in range(20, 50)]
    assert 0.9 * limit <= min(by_second)
    assert sum(by_second) >= 0.95 * 30 * limit
    refused = sum(transport.refused[second] for second in range(20, 50))
    assert refused <= 0.02 * 30 * limit
    assert said is not None
    assert said.endswith(" events a second")


def test_a_limit_that_falls_and_is_lifted_is_followed() -> None:
    limits = {0: 200, 30: 50, 60: 100_000}
    seconds: Counter[int] = Counter()

    def takes(now: float) -> bool:
        seconds[int(now)] += 1
        return seconds[int(now)] <= limits[max(begin for begin in limits if begin <= now - 1000)]

    transport = LimitedTransport(takes, BUSY)
    _send_for(transport, 120, max_in_flight=8)
    taken = transport.taken
    assert min(taken[second] for second in range(20, 30)) >= 180
    assert sum(taken[second] for second in range(40, 60)) >= 0.95 * 20 * 50
    assert taken[118] > 300, "a limit that is no more is soon forgotten"


@pytest.mark.parametrize(
    "answer",
    [Answer(429, retry_after="1", seconds=0.02), Answer(503, retry_after="1", seconds=0.02)],
    ids=["429", "503"],
)
def test_one_refusal_in_a_hundred_by_chance_costs_little(answer: Answer) -> None:
    """They come in clusters, as chance has it, and still concern their own events only."""
    chance = random.Random(7)
    transport = LimitedTransport(lambda _: chance.random() >= 0.01, answer)
    said = _send_for(transport, 20, max_in_flight=16)
    assert said is None
    by_second = [transport.taken[second] for second in range(20)]
    assert sum(by_second) >= 0.95 * 20 * 16 / 0.02


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_many_refusals_that_no_rate_prevents_do_not_bring_it_to_a_halt(share: float) -> None:
    chance = random.Random(7)
    transport = LimitedTransport(lambda _: chance.random() >= share, Answer(429, seconds=0.02))
    _send_for(transport, 30, max_in_flight=8)
    assert transport.taken[29] >= 0.4 * 8 / 0.02


def test_a_server_that_refuses_all_for_a_while_is_left_alone_for_as_long_as_it_says() -> None:
    def takes(now: float) -> bool:
        return not 1010 <= now < 1025

    transport = LimitedTransport(takes, Answer(429, retry_after="5"))
    _send_for(transport, 60, max_in_flight=4)
    assert sum(transport.refused.values()) <= 40
    assert min(transport.taken[second] for second in range(50, 60)) > 150


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    """So that it is still known when there is more to send."""
    found = FoundRate()
    now = 0.0
    for number in range(108):
        now += 0.001
        found.answered(now, number >= 100, in_flight=0)
    known = found.rate
    assert known == 98
    for _ in range(300):
        now += 0.1
        found.answered(now, False, 0)
    assert found.rate == known


def test_a_rate_never_falls_to_nothing() -> None:
    found, now = FoundRate(), 0.0
    for _ in range(1000):
        now += 1.0
        found.answered(now, True, 0)
    assert found.rate == pytest.approx(0.1)
