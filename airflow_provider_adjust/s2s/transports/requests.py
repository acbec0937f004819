"""The transport that every installation has: requests' connections, a thread for each request in flight.

requests decides how a connection is made (proxies, certificates, pooling); urllib3 below it carries each request, at a
quarter of what ``Session.post`` costs.
"""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, NamedTuple

import requests
import urllib3
from requests.adapters import HTTPAdapter

from airflow_provider_adjust.s2s.redaction import shows
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES, Completion, Failure, Target
from airflow_provider_adjust.s2s.transports.kept import Keeping, WatchedSockets
from airflow_provider_adjust.s2s.transports.settings import new_session, request_settings

#: Compressed bytes that are read at a time. Older releases of urllib3 unpack them whole, a thousandfold at worst.
_CHUNK = 8192


@shows("pool")
class _Connections(NamedTuple):
    """A target's pool, and what every request to it says."""

    pool: Any
    url: str
    headers: dict[str, str]


class _Body:
    """Yields the body once and remembers that it did: until then, nothing that matters was sent."""

    def __init__(self, body: str) -> None:
        self.content = body.encode()
        self.was_read = False

    def __iter__(self) -> Iterator[bytes]:
        self.was_read = True
        yield self.content


class RequestsTransport:
    """Hands each request to a thread of its own; threads are started as they are needed, and kept.

    :param timeout: seconds to connect, and to wait for the answer. Their sum caps the whole request.
    """

    def __init__(
        self, *, max_in_flight: int, timeout: tuple[float, float], session: requests.Session | None = None
    ) -> None:
        self._session = session or new_session()
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._longest = sum(timeout)
        self._ways: dict[Target, _Connections] = {}
        self._todo: queue.SimpleQueue[tuple[int, Any, Target, str] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, Completion]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: What is in flight, oldest first: by when it must have ended, and what was submitted.
        self._open: dict[int, tuple[float, Any]] = {}
        self._keeping = Keeping()
        self._submitted = 0
        self._abandoned = 0

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._submitted += 1
        self._open[self._submitted] = (time.monotonic() + self._longest, key)
        if len(self._threads) < len(self._open) + self._abandoned:
            # A daemon, since a server that never ends its answer would otherwise keep the process from ending.
            thread = threading.Thread(target=self._work, name=f"adjust-s2s-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._todo.put((self._submitted, key, target, body))

    def poll(self, timeout: float | None) -> list[Completion]:
        completions: list[Completion] = []
        try:
            self._accept(completions, *self._done.get(timeout=self._patience(timeout)))
            while True:
                self._accept(completions, *self._done.get_nowait())
        except queue.Empty:
            pass
        completions.extend(self._overdue())
        return completions

    def _accept(self, completions: list[Completion], number: int, completion: Completion) -> None:
        if self._open.pop(number, None) is None:
            self._abandoned -= 1  # it was given up, and its thread is free again
        else:
            completions.append(completion)

    def _patience(self, timeout: float | None) -> float | None:
        if not self._open:
            return timeout
        oldest, _ = next(iter(self._open.values()))
        left = max(0.0, oldest - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def _overdue(self) -> Iterator[Completion]:
        """Give up an answer that takes longer than both timeouts together, although each byte comes in time."""
        now = time.monotonic()
        while self._open:
            number, (deadline, key) = next(iter(self._open.items()))
            if deadline > now:
                return
            del self._open[number]
            self._abandoned += 1
            yield Completion(key, failure=Failure.NO_ANSWER, failure_name="TotalTimeout")

    def close(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        if not self._abandoned:
            # Of those that are still at work none may take longer than a request may.
            deadline = time.monotonic() + self._longest
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._session.close()

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            number, key, target, body = task
            self._done.put((number, self.send(key, target, body)))

    def send(self, key: Any, target: Target, body: str) -> Completion:
        """Send one request and describe its end; only a defect raises."""
        status = None
        content = _Body(body)
        try:
            way = self._ways.get(target) or self._connect(target)
            response = way.pool.urlopen(
                "POST",
                way.url,
                body=content,
                headers={**way.headers, "Content-Length": str(len(content.content))},
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
            )
            status = response.status
            with self._unkept(response):
                answer, is_whole = _read(response)
            if not answer and is_whole and not _announces_its_end(response):
                return Completion(key, status, failure=Failure.NO_ANSWER, failure_name="TruncatedHeaders")
            headers = response.headers
            return Completion(
                key,
                status,
                answer,
                headers.get("Retry-After"),
                content_type=headers.get("Content-Type"),
                date=headers.get("Date"),
            )
        except Exception as error:
            if isinstance(error, urllib3.exceptions.ProtocolError):
                self._keeping.ended(time.monotonic())
            return Completion(key, status, failure=_phase(error, content), failure_name=type(error).__name__)

    def _unkept(self, response: urllib3.BaseHTTPResponse) -> AbstractContextManager[Any]:
        """The response's socket, to be closed after the answer, where the connection must not be kept.

        A connection without its socket opens another one for the next request. urllib3 notices by itself a connection
        that has ended by the time it is used again.
        """
        connection: Any = response.connection
        if (
            self._keeping.is_proven or connection is None or connection.sock is None
        ):  # None: the server announced its end
            return nullcontext()
        if self._keeping.is_allowed(time.monotonic()):
            sockets = WatchedSockets()
            sockets.add(connection.sock.fileno())
            if not sockets.any_ended(self._keeping.watch_seconds):
                self._keeping.stood(time.monotonic())
                return nullcontext()
            self._keeping.ended(time.monotonic())
        sock, connection.sock = connection.sock, None
        return closing(sock)

    def _connect(self, target: Target) -> _Connections:
        way = request_settings(self._session, target)
        adapter = self._session.get_adapter(target.url)
        assert isinstance(adapter, HTTPAdapter)  # noqa: S101 - new_session mounts no other
        pool = adapter.get_connection_with_tls_context(way.request, way.verify, proxies=way.proxies, cert=way.cert)
        connections = _Connections(pool, adapter.request_url(way.request, way.proxies), way.headers)
        self._ways[target] = connections
        return connections


def _read(response: urllib3.BaseHTTPResponse) -> tuple[bytes, bool]:
    """The body, and whether that is all of it."""
    answer = bytearray()
    for chunk in response.stream(_CHUNK, decode_content=True):
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            response.close()
            return bytes(answer), False
    response.release_conn()
    return bytes(answer), True


def _announces_its_end(response: urllib3.BaseHTTPResponse) -> bool:
    """Tell an answer without a body from one that broke off in its headers, which the HTTP library takes for whole."""
    headers = response.headers
    if "Content-Encoding" in headers:
        return False  # what was packed unpacks to something
    return (
        headers.get("Content-Length", "").isdigit() or "Transfer-Encoding" in headers or response.status in {204, 304}
    )


def _phase(error: Exception, body: _Body) -> Failure:
    """What may have happened at the other end. Once the body may have left, whatever fails leaves the event in doubt."""
    if body.was_read:
        return Failure.NO_ANSWER
    cause = error.args[0] if error.args else None
    is_certificate = isinstance(error, urllib3.exceptions.SSLError) and isinstance(cause, ssl.SSLCertVerificationError)
    return Failure.TLS if is_certificate else Failure.NOT_SENT
