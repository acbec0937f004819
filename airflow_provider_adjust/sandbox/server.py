"""The sandbox as a server on a port of this machine, in a thread of the calling process."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from airflow_provider_adjust.sandbox.app import SandboxApp
from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.exports import ExportPlan

_T = TypeVar("_T")
_START_SECONDS = 10.0
_CALL_SECONDS = 30.0
_STOP_SECONDS = 5.0


class SandboxServer:
    """A running sandbox; use it in a `with` statement.

    .. code-block:: python

        import time

        import requests

        from airflow_provider_adjust.sandbox import SandboxServer

        event = {
            "s2s": 1,
            "app_token": "4w565xzmb54d",
            "event_token": "f0ob4r",
            "environment": "sandbox",
            "gps_adid": "38400000-8cf0-11bd-b23e-10b96e40000d",
            "created_at_unix": int(time.time()),
        }
        with SandboxServer(tokens=["T"], latency=0.05) as sandbox:
            requests.post(f"{sandbox.url}/event", data=event, headers={"Authorization": "Bearer T"})
            assert sandbox.stats()["recorded"] == 1

    It has no transport security and trusts every client, so it listens on loopback addresses only.

    :param config: the settings to start with.
    :param host: a loopback address.
    :param port: 0 lets the system choose a free one.
    :param settings: single settings of `SandboxConfig`, which override those of `config`.
    :raises ValueError: the host is not a loopback address, or a value is out of its range.
    :raises TypeError: there is no such setting.
    """

    def __init__(
        self, config: SandboxConfig | None = None, *, host: str = "127.0.0.1", port: int = 0, **settings: Any
    ) -> None:
        self._host = _loopback(host)
        self._port = port
        self._sandbox = Sandbox((config or SandboxConfig()).changed(settings))
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at the end."""
        if self._url is None:
            raise RuntimeError("the sandbox is not started; use it in a with statement")
        return self._url

    @property
    def config(self) -> SandboxConfig:
        """Return the settings in force."""
        return self._sandbox.config

    def start(self) -> Self:
        """Start the server. Return once it answers requests.

        :raises OSError: if the port is in use.
        """
        if self._thread is not None:
            raise RuntimeError("the sandbox is already started")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family, backlog=1024)
        self._server = _Server(SandboxApp(self._sandbox))
        thread = threading.Thread(target=self._server.serve_on, args=(listener,), name="adjust-sandbox", daemon=True)
        thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            raise RuntimeError("the sandbox did not start")
        self._thread = thread
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._url = f"http://{host}:{listener.getsockname()[1]}"
        return self

    def stop(self) -> None:
        """Abort requests in flight and wait for the thread to end. Counters and events can still be read."""
        if self._thread is not None and self._server is not None:
            self._server.stop()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stats(self) -> dict[str, Any]:
        """Return the counters, as `GET /_sandbox/stats` does."""
        return self._call(self._sandbox.stats)

    def events(self, offset: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the recorded events in the order of receipt, each `{"received_at": seconds, "params": {name: value}}`."""
        return self._call(lambda: self._sandbox.state.events(offset, limit))

    def write_exports(self, folder: str | Path, **plan: Any) -> list[str]:
        """Write raw data exports of what was recorded since the last call with the same folder; return the files' names.

        :param folder: stands for the bucket.
        :param plan: settings of `ExportPlan`.
        """
        chosen = ExportPlan(**plan)
        return self._call(lambda: self._sandbox.write_exports(Path(folder), chosen))

    def erasures(self) -> list[dict[str, str]]:
        """Return the parameters of each requested erasure, in the order of receipt."""
        return self._call(lambda: [params for _, params in self._sandbox.state.erasure_requests])

    def reset(self) -> None:
        """Forget every event and counter, drop the rest of the fault plan, and restart the random faults."""
        self._call(self._sandbox.reset)

    def configure(self, **changes: Any) -> None:
        """Change settings of `SandboxConfig` while the server runs. They apply to requests that arrive from now on."""
        self._call(lambda: self._sandbox.configure(changes))

    def _call(self, function: Callable[[], _T]) -> _T:
        if self._thread is None or self._server is None:
            return function()

        async def call() -> _T:
            return function()

        # The event loop owns the state, so the call runs there, between two requests.
        return asyncio.run_coroutine_threadsafe(call(), self._server.loop).result(_CALL_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn without its polling, which would add up to 0.2 seconds to the end of every test."""

    def __init__(self, app: SandboxApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                timeout_keep_alive=75,  # a sender with a connection pool may pause without a reset
                log_config=None,
                log_level="warning",
                access_log=False,
                date_header=False,
            )
        )
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until `stop`. The thread runs this."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._serve([listener]))

    def stop(self) -> None:
        """Request the end. Other threads may call this."""
        self.loop.call_soon_threadsafe(self._stop.set)

    async def main_loop(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.ready.set()
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        # A request that waits for its latency or a stall ends with its connection.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)


def _loopback(host: str) -> str:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"the sandbox listens on loopback addresses only, such as 127.0.0.1; got {host!r}")
    return address
