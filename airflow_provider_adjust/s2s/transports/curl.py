"""The faster transport: libcurl's multi interface in one thread, with HTTP/2 if the server supports it.

It needs pycurl. Proxies, certificates and headers are those that requests would use.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import pycurl
import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES, Completion, Failure, Target
from airflow_provider_adjust.s2s.transports.kept import Keeping, WatchedSockets
from airflow_provider_adjust.s2s.transports.settings import RequestSettings, new_session, request_settings

_LONGEST_WAIT = 0.5
#: libcurl waits with select(), which ignores file descriptors above 1023. If there may be any, libcurl is polled at this
#: interval, in seconds; that only matters while all other sockets are idle, which is rare.
_SEEN_BY_SELECT = 512
_LONGEST_BLIND_WAIT = 0.005
#: File descriptors reserved for everything else in the process, but at most half of them: macOS allows 256 in total. Requests
#: beyond the rest wait for a connection.
_OTHER_FILES = 256
_CERTIFICATE_ERRORS = frozenset(
    {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_INVALIDCERTSTATUS}
)
_FAILURE_NAMES = {
    getattr(pycurl, name): name.removeprefix("E_")
    for name in sorted(dir(pycurl))
    if name.startswith("E_") and not name.startswith("E_MULTI_")
}


class _WatchedClock:
    """A clock that stops while the loop is not polling, so that an answer that arrived meanwhile does not time out.

    The loop does not poll while it waits for its source or its ledger. libcurl's own timeout would then discard an answer that
    has already arrived, and the event would be sent twice.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._looked = time.monotonic()

    def now(self) -> float:
        before, self._looked = self._looked, time.monotonic()
        self._seconds += min(self._looked - before, _LONGEST_WAIT)
        return self._seconds


class _Exchange:
    """One request at a time: libcurl's handle, the body that is sent, and the answer that is received."""

    def __init__(self, connect_timeout: float) -> None:
        handle = self.handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)  # libcurl also supports files and mail
        for tls_version in (pycurl.SSLVERSION, pycurl.PROXY_SSLVERSION):
            handle.setopt(tls_version, pycurl.SSLVERSION_TLSv1_2)
        handle.setopt(pycurl.POST, 1)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, round(connect_timeout * 1000))
        handle.setopt(pycurl.ACCEPT_ENCODING, "gzip, deflate")
        # A body from a callback cannot be rewound, so libcurl does not resend it on its own when a kept connection breaks.
        handle.setopt(pycurl.READFUNCTION, self._read)
        handle.setopt(pycurl.WRITEFUNCTION, self._write)
        self._head: list[bytes] = []
        handle.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self._target: Target | None = None
        self._is_kept: bool | None = None
        self.key: Any = None
        self.deadline = 0.0
        self.body = b""
        self.was_read = False
        self.answer: list[bytes] = []
        self._received = 0
        self._has_date = False

    def begin(self, key: Any, body: bytes) -> None:
        self.key = key
        self.body = body
        self.was_read = not body  # libcurl does not read an empty body
        self.answer = []
        self._head.clear()
        self._received = 0
        self.handle.setopt(pycurl.POSTFIELDSIZE, len(body))

    def keep_connection(self, is_kept: bool) -> None:
        """Set whether the request may reuse a kept connection, and leave its own open."""
        if is_kept is not self._is_kept:
            self._is_kept = is_kept
            self.handle.setopt(pycurl.FRESH_CONNECT, not is_kept)
            self.handle.setopt(pycurl.FORBID_REUSE, not is_kept)

    def set_target(self, target: Target, way: RequestSettings) -> None:
        """Send to this target from now on."""
        if target is self._target:
            return
        handle = self.handle
        handle.setopt(pycurl.URL, str(way.request.url))
        # Without "Expect:", libcurl asks before it sends a large body, which costs a round trip.
        handle.setopt(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in way.headers.items()), "Expect:"])
        # The delivery sends its first event alone, so before the second it is known whether a connection can be multiplexed.
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        proxy = select_proxy(target.url, way.proxies)
        handle.setopt(pycurl.PROXY, proxy or "")
        handle.setopt(pycurl.NOPROXY, "" if proxy else "*")
        authorities = DEFAULT_CA_BUNDLE_PATH if way.verify is True else str(way.verify)
        # A proxy over TLS has a certificate, too. libcurl's built-in bundle is used for neither.
        is_folder = Path(authorities).is_dir()
        for file, folder in ((pycurl.CAINFO, pycurl.CAPATH), (pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH)):
            handle.unsetopt(file if is_folder else folder)
            handle.setopt(folder if is_folder else file, authorities)
        self._target = target

    def _read(self, size: int) -> bytes:
        self.was_read = True
        part, self.body = self.body[:size], self.body[size:]
        return part

    def _write(self, part: bytes) -> int:
        self.answer.append(part)
        self._received += len(part)
        return -1 if self.is_cut else len(part)

    @property
    def is_cut(self) -> bool:
        return self._received > MAX_ANSWER_BYTES

    def answered(self) -> Completion:
        status = self.handle.getinfo(pycurl.RESPONSE_CODE)
        if not self.answer and (self._head[-1:] != [b"\r\n"] or self._header(b"content-encoding")):
            # Broken off in the headers, or not decompressible.
            return Completion(self.key, status, failure=Failure.NO_ANSWER, failure_name="TruncatedHeaders")
        if not self.answer and status == 200 and self._ends_with_the_connection:
            # The end is not certain: a broken connection looks the same.
            return Completion(self.key, status, failure=Failure.NO_ANSWER, failure_name="NoLength")
        retry_after = self._header(b"retry-after") if status >= 400 else None
        body = b"".join(self.answer)
        # Each header costs a search, and the type is not needed if Adjust reports success.
        content_type = None if status == 200 and body[:1] == b"{" else self._header(b"content-type")
        date = None if self._has_date else self._header(b"date")
        self._has_date = True
        return Completion(self.key, status, body, retry_after, content_type=content_type, date=date)

    @property
    def _ends_with_the_connection(self) -> bool:
        """Whether the body has no length, which HTTP/1 allows."""
        of_http_1 = any(line.startswith(b"HTTP/1.") for line in self._head)
        return of_http_1 and not (self._header(b"content-length") or self._header(b"transfer-encoding"))

    def _header(self, wanted: bytes) -> str | None:
        for line in self._head:
            name, _, value = line.partition(b":")
            if name.lower() == wanted:
                return value.strip().decode("latin-1")
        return None

    def failed(self, code: int) -> Completion:
        if code == pycurl.E_WRITE_ERROR and self.is_cut:
            return self.answered()
        status = self.handle.getinfo(pycurl.RESPONSE_CODE) or None
        name = _FAILURE_NAMES.get(code, f"CURLE_{code}")
        before = Failure.TLS if code in _CERTIFICATE_ERRORS else Failure.NOT_SENT
        return Completion(self.key, status, failure=Failure.NO_ANSWER if self.was_read else before, failure_name=name)


def _most_connections() -> int:
    """The number of file descriptors of this process that connections may use."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, most - min(_OTHER_FILES, most // 2))


class CurlTransport:
    """Runs all requests in the polling thread.

    :param timeout: seconds to connect, and to wait for the answer. Their sum limits the complete request.
    """

    def __init__(
        self, *, max_in_flight: int, timeout: tuple[float, float], session: requests.Session | None = None
    ) -> None:
        self._session = session or new_session()
        self._multi = pycurl.CurlMulti()
        connections = min(max_in_flight, _most_connections())
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._longest_wait = _LONGEST_WAIT if connections <= _SEEN_BY_SELECT else _LONGEST_BLIND_WAIT
        self._new_exchange = partial(_Exchange, timeout[0])
        self._longest = sum(timeout)
        self._clock = _WatchedClock()
        self._ways: dict[Target, RequestSettings] = {}
        self._idle: deque[_Exchange] = deque()
        #: Requests in flight, oldest first.
        self._open: dict[Any, _Exchange] = {}
        self._never_sent: list[Completion] = []
        #: Requests that were submitted, and not yet given to libcurl.
        self._new: list[_Exchange] = []
        self._keeping = Keeping()
        self._kept = WatchedSockets()

    def submit(self, key: Any, target: Target, body: str) -> None:
        exchange = self._idle.pop() if self._idle else self._new_exchange()
        try:
            exchange.set_target(target, self._ways.get(target) or self._way(target))
        except (requests.RequestException, pycurl.error, ValueError) as error:
            self._never_sent.append(Completion(key, failure=Failure.NOT_SENT, failure_name=type(error).__name__))
            return
        exchange.begin(key, body.encode())
        self._open[exchange.handle] = exchange
        self._new.append(exchange)

    def _way(self, target: Target) -> RequestSettings:
        way = self._ways[target] = request_settings(self._session, target)
        return way

    def poll(self, timeout: float | None) -> list[Completion]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            completions = self._collect()
            left = self._longest_wait
            if deadline is not None:
                left = min(left, deadline - time.monotonic())
            if completions or left <= 0:
                return completions
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        if not self._open:
            time.sleep(seconds)
            return
        due = self._multi.timeout()  # libcurl's own timers, in milliseconds; -1 is none
        if due >= 0:
            seconds = min(seconds, due / 1000)
        self._multi.select(max(0.0, min(seconds, self._oldest().deadline - self._clock.now())))

    def _oldest(self) -> _Exchange:
        return next(iter(self._open.values()))

    def _start(self) -> None:
        """Give the submitted requests to libcurl, which writes them immediately.

        libcurl reuses the first kept connection, and checks only once a second for closed ones. So it may use none while one
        of them is closed.
        """
        if not self._new:
            return
        is_kept = self._keeping.is_allowed(time.monotonic())
        if is_kept and len(self._kept):
            if self._kept.any_ended(self._keeping.watch_seconds):
                self._keeping.ended(time.monotonic())
                is_kept = False
            else:
                self._keeping.stood(time.monotonic())
        deadline = self._clock.now() + self._longest
        for exchange in self._new:
            exchange.deadline = deadline
            exchange.keep_connection(is_kept)
            self._multi.add_handle(exchange.handle)
        self._new.clear()

    def _collect(self) -> list[Completion]:
        completions, self._never_sent = self._never_sent, []
        if not self._open:
            return completions
        self._start()
        self._multi.perform()
        left = 1
        while left:
            left, answered, failed = self._multi.info_read()
            for handle in answered:
                completions.append(self._end(handle).answered())
            for handle, code, _ in failed:
                if code != pycurl.E_OPERATION_TIMEDOUT:
                    self._keeping.ended(time.monotonic())
                completions.append(self._end(handle).failed(code))
        # Only now, after answers that arrived between two polls were read.
        now = self._clock.now()
        while self._open and (late := self._oldest()).deadline <= now:
            completions.append(self._end(late.handle).failed(pycurl.E_OPERATION_TIMEDOUT))
        return completions

    def _end(self, handle: Any) -> _Exchange:
        # A reused connection is already watched; -1: libcurl has closed it.
        if handle.getinfo(pycurl.NUM_CONNECTS) and (kept := handle.getinfo(pycurl.ACTIVESOCKET)) >= 0:
            self._kept.add(kept)
        self._multi.remove_handle(handle)
        exchange = self._open.pop(handle)
        self._idle.append(exchange)
        return exchange

    def close(self) -> None:
        for exchange in (*self._open.values(), *self._idle):
            exchange.handle.close()
        self._multi.close()
        self._session.close()
