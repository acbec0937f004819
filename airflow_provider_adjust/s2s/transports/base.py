"""What the delivery loop asks of a transport, and what it gets back.

The loop is one thread: it submits requests and collects completions. A transport may use threads or an event loop
inside; none of that shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from airflow_provider_adjust.s2s.redaction import shows

#: ``curl`` needs pycurl, which is installed where it has wheels; ``auto`` is curl where that can be imported.
TransportName = Literal["auto", "curl", "requests"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and the secret that goes with it. ``query`` is a part of the address that is shown nowhere."""

    url: str
    s2s_token: str | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The whole URL of the request."""
        return f"{self.url}?{self.query}" if self.query else self.url

    @property
    def host(self) -> str:
        """What one host knows another does not: a rehearsal's events are not in Adjust."""
        return urlsplit(self.url).hostname or ""


class Failure(Enum):
    """Why there is no complete answer, by what the server may have done."""

    NOT_SENT = "the connection failed before the request was written"
    NO_ANSWER = "no whole answer came after the request was written"
    TLS = "the server's certificate or TLS settings were refused"


@shows("key", "status", "failure", "failure_name")
class Completion(NamedTuple):
    """The end of one request: an answer, or a failure. ``key`` is what was submitted.

    A truncated answer is a failure that still has its status. ``content_type`` may be missing where the status is 200 and
    the body a JSON object, which is what Adjust answers.
    """

    key: Any
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    failure: Failure | None = None
    failure_name: str = ""
    content_type: str | None = None
    #: The ``Date`` header. It may be missing in all answers but a connection's first.
    date: str | None = None


class Transport(Protocol):
    """Sends form bodies by POST. Follows no redirects, verifies TLS, keeps no cookies."""

    def submit(self, key: Any, target: Target, body: str) -> None:
        """Start a request. It does not wait for the answer, and a network error does not raise here."""

    def poll(self, timeout: float | None) -> list[Completion]:
        """Return what has ended since the last call, after at most ``timeout`` seconds; None waits for the first."""

    def close(self) -> None:
        """Free the connections. Nothing may be in flight."""


#: Adjust's answers are small; what is longer is cut, so that a hostile or broken endpoint cannot fill the memory.
MAX_ANSWER_BYTES = 1_000_000
