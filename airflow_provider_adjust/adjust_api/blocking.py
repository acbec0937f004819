"""Run a coroutine to its end, for workers and hooks that read from Adjust."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine and return its result.

    A thread that already runs an event loop cannot run a second one, so the coroutine then runs in a new thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(coroutine)
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result.set_result(context.run(_run, coroutine))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, name="adjust-read", daemon=True).start()
    return result.result()


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(coroutine)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_UnjoinedExecutor(thread_name_prefix="adjust-read"))
    return loop


class _UnjoinedExecutor(ThreadPoolExecutor):
    """An executor that the event loop does not wait for as it closes.

    Host names are resolved in its threads, which cannot be stopped. The loop would wait for such a thread beyond the deadline
    of the call.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)
