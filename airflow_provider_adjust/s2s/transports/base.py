"""The interface between the delivery loop and a transport.

The loop is one thread: it submits requests and collects completions. A transport may use threads or an event loop internally.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from airflow_provider_adjust.s2s.redaction import shows

#: ``curl`` needs pycurl, which is installed on platforms with wheels; ``auto`` is curl if pycurl can be imported.
TransportName = Literal["auto", "curl", "requests"]


@dataclass(frozen=True, slots=True)
class Target:
    """The destination of a request, and its secret. ``query`` is a part of the URL that is never shown."""

    url: str
    s2s_token: str | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The complete URL of the request."""
        return f"{self.url}?{self.query}" if self.query else self.url

    @property
    def host(self) -> str:
        """The host, which separates destinations: events of a rehearsal are not in Adjust."""
        return urlsplit(self.url).hostname or ""


class Failure(Enum):
    """Why there is no complete answer, distinguished by what the server may have done."""

    NOT_SENT = "the connection failed before the request was written"
    NO_ANSWER = "no complete answer arrived after the request was written"
    TLS = "the server's certificate or TLS settings were refused"


@shows("key", "status", "failure", "failure_name")
class Completion(NamedTuple):
    """The end of one request: an answer, or a failure. ``key`` is that of ``submit``.

    A truncated answer is a failure with a status. ``content_type`` may be None if the status is 200 and the body is a JSON
    object, as in Adjust's own answers.
    """

    key: Any
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    failure: Failure | None = None
    failure_name: str = ""
    content_type: str | None = None
    #: The ``Date`` header. It may be missing except in the first answer of a connection.
    date: str | None = None


class Transport(Protocol):
    """Sends form bodies by POST. Follows no redirects, verifies TLS, keeps no cookies."""

    def submit(self, key: Any, target: Target, body: str) -> None:
        """Start a request, without waiting for the answer. Network errors are not raised here."""

    def poll(self, timeout: float | None) -> list[Completion]:
        """Return the completions since the last call, after at most ``timeout`` seconds; None waits for the first."""

    def close(self) -> None:
        """Close the connections. No request may be in flight."""


#: The longest answer. Adjust's are small; longer ones are cut, so that a hostile or broken endpoint cannot fill the memory.
MAX_ANSWER_BYTES = 1_000_000
