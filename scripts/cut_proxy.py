"""A proxy on this machine between a driver and its database, with connections that can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_CHUNK = 65_536


def _as_it_is(first: bytes) -> bytes:
    return first


class Proxy:
    """Listens on 127.0.0.1 and forwards every byte to the server's Unix socket, until it is cut."""

    def __init__(self, server: str, rewrite: Callable[[bytes], bytes] = _as_it_is) -> None:
        self._server = server
        self._rewrite = rewrite
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """Break every connection like a lost network, without an orderly end."""
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for line in self._lines:
            line.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                for line in (near, far):
                    # Little is on the way, so that a reader soon meets what happens to the server.
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
                far.connect(self._server)
                self._lines += [near, far]
                self._start(self._pump, near, far, self._rewrite)
                self._start(self._pump, far, near, _as_it_is)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, rewrite: Callable[[bytes], bytes]) -> None:
        """Forward one side's bytes; when it ends, end the other."""
        with suppress(OSError):
            if first := source.recv(_CHUNK):
                target.sendall(rewrite(first))
            while data := source.recv(_CHUNK):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(server: str, rewrite: Callable[[bytes], bytes] = _as_it_is) -> Iterator[Proxy]:
    """A proxy to the Unix socket."""
    proxy = Proxy(server, rewrite)
    try:
        yield proxy
    finally:
        proxy.close()
