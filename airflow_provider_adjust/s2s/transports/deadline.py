"""A call that may never end, and that is given up in time: a timeout on each byte does not limit the whole."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return what the call returns, or raise what it raises.

    :raises TimeoutError: it has not ended in time. It goes on in a thread that keeps no process from ending.
    """
    ended: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=work, name="adjust-within", daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no end within {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
