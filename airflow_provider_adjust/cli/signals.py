"""Ctrl-C and SIGTERM end a command in good order: what is under way comes to its end, and nothing more is begun."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_by_signals(stop: Callable[[str], object]) -> Iterator[None]:
    """Call ``stop`` with words on the signal instead of dying of it, for as long as the context lasts."""

    def handle(number: int, frame: Any) -> None:
        stop(f"{signal.Signals(number).name} came")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
