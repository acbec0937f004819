"""A server that only answers. The sender is measured, so the server must not be the bottleneck.

It reads HTTP/1.1 requests with a Content-Length, counts them, and answers each with Adjust's success after a delay. It
checks nothing else; ``airflow_provider_adjust.sandbox`` is the one that knows Adjust's rules. It can refuse some requests by
chance, or all beyond so many a second, and says then how long to wait.

    python -m benchmark.answering_server --delay 0.05     # prints its URL
    python -m benchmark.answering_server --status 503 --share 0.01 --retry-after 1
    python -m benchmark.answering_server --status 429 --limit 500
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import resource
import time
from typing import Any

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status": "OK"}'
_REFUSAL = "HTTP/1.1 {} Refused\r\nContent-Type: application/json\r\n{}Content-Length: 2\r\n\r\n{{}}"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Refusing:
    """The choice of refused requests, and their answer."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        header = f"Retry-After: {arguments.retry_after}\r\n" if arguments.retry_after else ""
        self._refusal = _REFUSAL.format(arguments.status, header).encode()
        self._share = arguments.share
        self._limit = arguments.limit
        self._second = self._taken = 0

    def answer(self) -> bytes:
        if self._share and random.random() < self._share:
            return self._refusal
        if self._limit:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._taken = second, 0
            self._taken += 1
            if self._taken > self._limit:
                return self._refusal
        return _ANSWER


class AnsweringProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay: float, refusing: Refusing) -> None:
        self._delay = delay
        self._next_answer = refusing.answer
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            answer = self._next_answer()
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._answer, answer)
            else:
                self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(delay: float, refusing: Refusing) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: AnsweringProtocol(delay, refusing), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--status", type=int, default=503, help="of what is refused")
    parser.add_argument("--share", type=float, default=0.0, help="of the requests is refused by chance")
    parser.add_argument("--limit", type=int, default=0, help="requests a second that are taken; 0 is all")
    parser.add_argument("--retry-after", type=int, default=0, help="seconds that a refusal asks to wait")
    arguments = parser.parse_args()
    refusing = Refusing(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is an open file
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(arguments.delay, refusing))
    else:
        uvloop.run(_serve(arguments.delay, refusing))


if __name__ == "__main__":
    main()
