"""What the delivery loop asks of a transport, and what it gets back.

The loop is one thread: it submits requests and collects completions. A transport may use threads or an event loop
inside; none of that shows.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

#: ``curl`` needs the extra of that name; ``auto`` is curl where it is installed.
TransportName = Literal["auto", "curl", "requests"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and the secret that goes with it."""

    url: str
    s2s_token: str | None = field(default=None, repr=False)


class Failure(Enum):
    """Why there is no whole answer, in terms of what may have happened at the other end."""

    NOT_SENT = "the connection failed before the request was written"
    NO_ANSWER = "no whole answer came after the request was written"
    TLS = "the server's certificate or TLS settings were refused"


class Completion(NamedTuple):
    """The end of one request: an answer, or a failure. ``key`` is what was submitted.

    A truncated answer is a failure that still has its status.
    """

    key: Any
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    failure: Failure | None = None
    failure_name: str = ""


class Transport(Protocol):
    """Sends form bodies by POST. Follows no redirects, verifies TLS, keeps no cookies."""

    def submit(self, key: Any, target: Target, body: str) -> None:
        """Start a request. Never blocks for the answer and never raises for the network's sake."""

    def poll(self, timeout: float | None) -> list[Completion]:
        """Return what has ended since the last call, after at most ``timeout`` seconds; None waits for the first."""

    def close(self) -> None:
        """Free the connections. Nothing may be in flight."""


#: Adjust's answers are small; what is longer is cut, so that a hostile or broken endpoint cannot fill the memory.
MAX_ANSWER_BYTES = 1_000_000
_T = TypeVar("_T")


def call_with_deadline(seconds: float, call: Callable[[], _T]) -> _T:
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
