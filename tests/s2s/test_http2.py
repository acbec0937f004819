"""Where the server speaks HTTP/2, libcurl sends many requests over one connection."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.s2s.transports.curl import CurlTransport

TOGETHER = 20


class Http2Server:
    """Answers once as many requests are under way as a test wants to see together."""

    def __init__(self, certificate: Path) -> None:
        # It listens from now on, whenever the server gets to it.
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._config = Config()
        self._config.bind = [f"fd://{self._listener.detach()}"]
        self._config.certfile = self._config.keyfile = str(certificate)
        self._config.errorlog = None
        self._started = threading.Event()
        self._under_way = 0
        self.wanted = 1
        self.clients: set[tuple[str, int]] = set()
        self.versions: set[str] = set()
        self.bodies: list[bytes] = []
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Http2Server:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop, self._all_here = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        await serve(self._app, self._config, shutdown_trigger=self._stop.wait)

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.clients.add(tuple(scope["client"]))
        self.versions.add(scope["http_version"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        self._under_way += 1
        if self._under_way >= self.wanted:
            self._all_here.set()
        await asyncio.wait_for(self._all_here.wait(), 10)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"OK"})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
            self._started.set()
        await send({"type": "lifespan.shutdown.complete"})

    def want(self, requests: int) -> None:
        self.wanted, self._under_way = requests, 0
        self._all_here.clear()


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Http2Server]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Http2Server(certificate) as server:
        yield server


def _collect(transport: CurlTransport, count: int) -> list[Completion]:
    found: list[Completion] = []
    while len(found) < count:
        some = transport.poll(10)
        assert some, "an answer did not come in time"
        found += some
    return found


def test_many_requests_share_one_connection(server: Http2Server) -> None:
    target = Target(f"https://127.0.0.1:{server.port}/event", "T")
    transport = CurlTransport(max_in_flight=TOGETHER, timeout=(5, 10))
    transport.submit("first", target, "n=first")
    assert _collect(transport, 1)[0].status == 200

    server.want(TOGETHER)
    for number in range(TOGETHER):
        transport.submit(number, target, f"n={number}")
    completions = _collect(transport, TOGETHER)
    transport.close()

    assert {(each.status, each.body) for each in completions} == {(200, b"OK")}
    assert {each.key for each in completions} == set(range(TOGETHER))
    assert sorted(server.bodies) == sorted([b"n=first", *(f"n={number}".encode() for number in range(TOGETHER))])
    assert server.versions == {"2"}
    assert len(server.clients) == 1
