"""Stop a command in order on Ctrl-C and SIGTERM: it finishes what it has begun, and begins nothing new."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_by_signals(stop: Callable[[str], object]) -> Iterator[None]:
    """Call ``stop`` with a message that names the signal, instead of ending the process, within the context."""

    def handle(number: int, frame: Any) -> None:
        stop(f"received {signal.Signals(number).name}")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
