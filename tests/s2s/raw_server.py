"""A server of plain sockets on this machine, for ends that no well-behaved server gives a connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

#: What a client gets that waits for nothing.
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status": "OK"}'


@dataclass
class RawRequest:
    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""

    def read(self) -> RawRequest | None:
        """The next request; None when the client has closed the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return RawRequest(line, headers, body)

    def _more(self) -> bool:
        received = self._socket.recv(65_536)
        self._buffer += received
        return bool(received)

    def send(self, answer: bytes) -> None:
        self._socket.sendall(answer)

    def wait_for_the_client(self) -> None:
        """Say nothing until the client gives up."""
        while self._more():
            pass

    def reset(self) -> None:
        """Close so that the client gets a reset, not an end."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


@dataclass
class RawServer:
    """Runs a script on each connection, each in a thread of its own."""

    script: Callable[[Connection], None]
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[RawRequest] = field(default_factory=list)
    #: Released once for each connection that has ended.
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __enter__(self) -> RawServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Waking accept() by a connection works everywhere, closing the listener under it does not.
        self._closing = True
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(5)
        self._listener.close()

    _closing = False

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/event"

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            if self._closing:
                accepted.close()
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            sock = self.tls.wrap_socket(accepted, server_side=True) if self.tls else accepted
        except (ssl.SSLError, OSError):
            accepted.close()
            return
        with sock:
            connection = Connection(sock)
            read = connection.read

            def recorded() -> RawRequest | None:
                request = read()
                if request is not None:
                    self.requests.append(request)
                return request

            connection.read = recorded  # type: ignore[method-assign]
            with contextlib.suppress(OSError):  # the client has gone, which is what some scripts wait for
                self.script(connection)
        self.closed.release()
