"""The page takes its own few places and no more; a place is free again however its answer ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_adjust.deliveries_page.budget import Budget, PageFull


class Gate:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        self.done: list[str] = []

    def work(self, name: str) -> Callable[[], str]:
        def wait() -> str:
            self.begun.release()
            assert self.opened.wait(60)
            self.done.append(name)
            return name

        return wait

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=60)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


async def refusal(answer: Awaitable[Any]) -> str:
    with pytest.raises(PageFull) as refused:
        await answer
    return str(refused.value)


async def all_free(budget: Budget) -> None:
    """As many answers as there are places can be made again."""
    assert budget.taken() == 0
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(budget.run(who, lambda: 1) for who in ("x", "y", "z"))) == [1, 1, 1]
    assert budget.taken() == 0


def test_a_request_is_refused_immediately_when_all_places_are_taken(gate: Gate) -> None:
    async def scene() -> None:
        budget = Budget(at_once=2, waiting=1, per_user=2)
        taken = [asyncio.create_task(budget.run(who, gate.work(who))) for who in ("ada", "bob", "eve")]
        for _ in range(2):
            await gate.has_begun()
        assert (
            await refusal(budget.run("fay", gate.work("fay"))) == "Too many people are looking at deliveries just now"
        )
        assert budget.taken() == 3
        with pytest.raises(PageFull):
            budget.refuse_if_full()
        gate.opened.set()
        assert await asyncio.gather(*taken) == ["ada", "bob", "eve"]
        await all_free(budget)
        budget.refuse_if_full()

    asyncio.run(scene())
    assert sorted(gate.done) == ["ada", "bob", "eve"]


def test_one_user_takes_a_part_of_the_places_only(gate: Gate) -> None:
    async def scene() -> None:
        budget = Budget(at_once=2, waiting=5, per_user=2)
        taken = [asyncio.create_task(budget.run("ada", gate.work("ada"))) for _ in range(2)]
        await gate.has_begun()
        assert await refusal(budget.run("ada", gate.work("ada"))) == "You have 2 requests under way"
        taken.append(asyncio.create_task(budget.run("bob", gate.work("bob"))))
        await asyncio.to_thread(gate.opened.set)
        assert await asyncio.gather(*taken) == ["ada", "ada", "bob"]
        await all_free(budget)

    asyncio.run(scene())


def test_an_error_frees_its_place() -> None:
    async def scene() -> None:
        budget = Budget(at_once=1, waiting=2, per_user=1)
        for error in (ValueError("bad"), PageFull("full"), SystemExit(3)):

            def fail(error: BaseException = error) -> None:
                raise error

            with pytest.raises(type(error)):
                await budget.run("ada", fail)
            await all_free(budget)

    asyncio.run(scene())


def test_a_cancelled_request_that_waits_frees_its_place_at_once(gate: Gate) -> None:
    async def scene() -> None:
        budget = Budget(at_once=1, waiting=2, per_user=1)
        running = asyncio.create_task(budget.run("ada", gate.work("ada")))
        await gate.has_begun()
        waiting = asyncio.create_task(budget.run("bob", gate.work("bob")))
        await asyncio.sleep(0)
        assert budget.taken() == 2
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert budget.taken() == 1
        gate.opened.set()
        assert await running == "ada"
        await all_free(budget)

    asyncio.run(scene())
    assert gate.done == ["ada"], "the work of the cancelled request has never begun"


def test_a_cancelled_request_that_is_being_answered_keeps_its_place_until_its_query_ends(gate: Gate) -> None:
    async def scene() -> None:
        budget = Budget(at_once=1, waiting=0, per_user=1)
        running = asyncio.create_task(budget.run("ada", gate.work("ada")))
        await gate.has_begun()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert (
            await refusal(budget.run("bob", gate.work("bob"))) == "Too many people are looking at deliveries just now"
        )
        gate.opened.set()
        # One thread does one work after another: when this one has ended, so has the first.
        budget._threads.submit(int).result(60)
        assert await budget.run("bob", lambda: 1) == 1

    asyncio.run(scene())


def test_a_request_that_has_waited_for_too_long_is_refused_and_asks_nothing() -> None:
    async def scene() -> None:
        seconds = iter((0.0, 5.1, 10.0, 10.0))
        budget = Budget(at_once=1, waiting=2, per_user=1, patience=5.0, clock=seconds.__next__)
        asked: list[int] = []
        assert "Too many people" in await refusal(budget.run("ada", lambda: asked.append(1)))
        assert asked == []
        assert await budget.run("ada", lambda: 1) == 1

    asyncio.run(scene())


def test_the_work_sees_the_requests_context() -> None:
    async def scene() -> None:
        import contextvars

        variable = contextvars.ContextVar("variable", default="none")
        variable.set("of the request")
        assert await Budget().run("ada", variable.get) == "of the request"

    asyncio.run(scene())


def test_after_the_threads_have_ended_no_place_is_taken() -> None:
    """As at the end of the process."""

    async def scene() -> None:
        budget = Budget()
        budget._threads.shutdown()
        with pytest.raises(RuntimeError):
            await budget.run("ada", lambda: 1)
        assert budget.taken() == 0

    asyncio.run(scene())
