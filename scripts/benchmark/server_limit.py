"""Measure how many answers a second the answering server gives, to plain sockets that read no answer."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit

_BODY = b"x" * 300
_REQUEST = b"POST /event HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


class Asking(asyncio.Protocol):
    """Asks again as soon as an answer arrives."""

    answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        Asking.answers += data.count(b"HTTP/1.1 200")
        self._transport.write(_REQUEST)


async def ask(host: str, port: int, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(Asking, host, port))[0] for _ in range(64)]
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = Asking.answers / (time.perf_counter() - started)
    for connection in connections:
        connection.abort()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    url = urlsplit(arguments.url)
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    rate = run(ask(url.hostname or "127.0.0.1", url.port or 80, arguments.seconds))
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
