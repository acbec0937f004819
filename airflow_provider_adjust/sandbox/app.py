"""The sandbox as an ASGI application.

`/event` is plain ASGI, not a Starlette route: it is the one path that must be fast, and its faults need the connection
itself, which a framework's middleware hides.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from airflow_provider_adjust.sandbox import faults
from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.connections import reset, send_truncated
from airflow_provider_adjust.sandbox.device_api import inspect_device
from airflow_provider_adjust.sandbox.in_flight import InFlight
from airflow_provider_adjust.sandbox.rules import Answer, EventRequest, judge
from airflow_provider_adjust.sandbox.state import SandboxState

EVENT_PATH = "/event"
# Where the `redirect` fault points. Nothing is recorded there: a sender that follows it loses the event.
MOVED_PATH = "/event_moved"

_FORM = b"application/x-www-form-urlencoded"
_OK_BODY = b'{"status": "OK"}'
_JSON_HEADER = (b"content-type", b"application/json")
_HTML_BODY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
# A body is read to its end so that the rules can say what is wrong with it first; this bounds the memory that takes.
_MAX_READ_BYTES = 16_000_000
_FAULT_MESSAGES = {429: "Too many requests", 500: "Internal error, contact support@adjust.com", 503: "Service unavailable"}


class SandboxApp:
    """Routes, faults and their bookkeeping; all of it lives on one event loop, so nothing is locked."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self._stalled: set[asyncio.Transport] = set()
        self._pages = Starlette(
            routes=[
                Route("/_sandbox/stats", self._get_stats, methods=["GET"]),
                Route("/_sandbox/events", self._get_events, methods=["GET"]),
                Route("/_sandbox/events", self._delete_events, methods=["DELETE"]),
                Route("/_sandbox/config", self._post_config, methods=["POST"]),
                Route("/device_service/api/v2/inspect_device", self._inspect_device, methods=["GET"]),
                Route(MOVED_PATH, self._moved, methods=["GET", "POST"]),
            ]
        )
        self.reset()

    def reset(self) -> None:
        """Forget every event and counter, drop what is left of the fault plan, and start the seeded faults again."""
        # A request that is still under way keeps the old objects, so it cannot appear in what comes after.
        self.state = SandboxState(keep_events=self.config.keep_events)
        self.in_flight = InFlight()
        self._faults = faults.FaultSource(faults.parse_faults(self.config.faults), (), self.config.seed)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change settings; see `SandboxConfig`. New faults, a new plan or a new seed start their sequence again."""
        self.config = self.config.changed(changes)
        if changes.keys() & {"faults", "fault_plan", "seed"}:
            self.start_faults()
        self.state.keep_events = self.config.keep_events

    def stats(self) -> dict[str, object]:
        """Return the counters of `/_sandbox/stats`."""
        return {
            **self.state.stats(),
            "max_concurrent": self.in_flight.max_concurrent,
            "max_concurrent_per_lane": self.in_flight.max_concurrent_per_lane,
        }

    def end_stalls(self) -> None:
        """Close the connections that faults hold open, so that a server can stop."""
        for transport in self._stalled:
            transport.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == EVENT_PATH and scope["method"] in ("GET", "POST"):
            await self._event(scope, receive, send)
        else:
            await self._pages(scope, receive, send)
