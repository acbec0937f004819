"""The transport for every installation: connections of requests, and one thread for each request in flight.

requests configures the connections (proxies, certificates, pooling); urllib3 sends each request directly, at a quarter of the
cost of ``Session.post``.
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

#: Compressed bytes that are read at a time. Older releases of urllib3 decompress them at once, up to a thousandfold.
_CHUNK = 8192


@shows("pool")
class _Connections(NamedTuple):
    """A target's pool, and the settings of every request to it."""

    pool: Any
    url: str
    headers: dict[str, str]


class _Body:
    """Yields the body once and records that: until then, the server cannot have processed the request."""

    def __init__(self, body: str) -> None:
        self.content = body.encode()
        self.was_read = False

    def __iter__(self) -> Iterator[bytes]:
        self.was_read = True
        yield self.content


class RequestsTransport:
    """Runs each request in its own thread. Threads are started as needed, and kept.

    :param timeout: seconds to connect, and to wait for the answer. Their sum limits the complete request.
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
        #: Requests in flight, oldest first: each with its deadline and its key.
        self._open: dict[int, tuple[float, Any]] = {}
        self._keeping = Keeping()
        self._submitted = 0
        self._abandoned = 0

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._submitted += 1
        self._open[self._submitted] = (time.monotonic() + self._longest, key)
        if len(self._threads) < len(self._open) + self._abandoned:
            # A daemon, since a server that never ends its answer would otherwise keep the process alive.
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
            self._abandoned -= 1  # it was given up before; now its thread is free again
        else:
            completions.append(completion)

    def _patience(self, timeout: float | None) -> float | None:
        if not self._open:
            return timeout
        oldest, _ = next(iter(self._open.values()))
        left = max(0.0, oldest - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def _overdue(self) -> Iterator[Completion]:
        """Give up an answer that takes longer than both timeouts together, although each byte arrives in time."""
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
            # Those still running may take no longer than a request.
            deadline = time.monotonic() + self._longest
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._session.close()

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            number, key, target, body = task
            self._done.put((number, self.send(key, target, body)))

    def send(self, key: Any, target: Target, body: str) -> Completion:
        """Send one request and return its completion; only a defect raises."""
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
        """The response's socket, to be closed after the answer, if the connection must not be kept.

        A connection without a socket opens a new one for the next request. urllib3 itself detects a connection that was closed
        before it is reused.
        """
        connection: Any = response.connection
        if (
            self._keeping.is_proven or connection is None or connection.sock is None
        ):  # None: the server announced the close
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
    """The body, and whether it is complete."""
    answer = bytearray()
    for chunk in response.stream(_CHUNK, decode_content=True):
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            response.close()
            return bytes(answer), False
    response.release_conn()
    return bytes(answer), True


def _announces_its_end(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether an empty answer broke off in its headers, which the HTTP library treats as complete."""
    headers = response.headers
    if "Content-Encoding" in headers:
        return False  # a compressed body is never empty
    return (
        headers.get("Content-Length", "").isdigit() or "Transfer-Encoding" in headers or response.status in {204, 304}
    )


def _phase(error: Exception, body: _Body) -> Failure:
    """What the server may have done. Once the body may have been sent, any failure leaves the event in doubt."""
    if body.was_read:
        return Failure.NO_ANSWER
    cause = error.args[0] if error.args else None
    is_certificate = isinstance(error, urllib3.exceptions.SSLError) and isinstance(cause, ssl.SSLCertVerificationError)
    return Failure.TLS if is_certificate else Failure.NOT_SENT
