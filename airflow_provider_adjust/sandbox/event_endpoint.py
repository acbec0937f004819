"""`/event` and `/ad_revenue`: reads a request, judges it by the rules, and answers it or injects a fault.

It is plain ASGI and not a framework's route: this path must be fast, and the faults need the connection, which a
framework's middleware hides.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Mapping
from typing import cast

from starlette.types import Receive, Scope, Send

from airflow_provider_adjust.sandbox import faults
from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.connections import reset, send_truncated
from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.middleboxes import PAGES, Page
from airflow_provider_adjust.sandbox.rules import EVENT_RULES, Answer, EndpointRules, EventRequest, judge
from airflow_provider_adjust.sandbox.state import SandboxState

OK_BODY = b'{"status": "OK"}'

_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"
_JSON_HEADER = (b"content-type", _JSON)
_FAULT_MESSAGES = {
    "429": "Too many requests",
    "500": "Internal error, contact support@adjust.com",
    "503": "Service unavailable",
}
# A larger body is read to its end but not kept.
_MAX_KEPT_BYTES = 2_000_000


class EventEndpoint:
    """The ASGI application behind `/event`, or another endpoint of other rules."""

    def __init__(self, sandbox: Sandbox, rules: EndpointRules) -> None:
        self._sandbox = sandbox
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Settings and state may be replaced while this request waits. Those at its arrival apply.
        config, state, in_flight = self._sandbox.config, self._sandbox.state, self._sandbox.in_flight
        transport = _transport(send)
        body = await _read_body(receive)
        state.requests += 1
        if body is None:
            state.abandoned += 1
            return
        request = _event_request(scope, body, config.clock(), self._rules)
        in_flight.enter(request.lanes, transport)
        try:
            await self._answer(request, config, state, transport, receive, send)
        finally:
            in_flight.leave(request.lanes, transport)
        if transport.is_closing():
            # uvicorn treats a return without an answer as a crash, unless it knows that the client has left.
            await _until_client_left(receive)

    async def _answer(
        self,
        request: EventRequest,
        config: SandboxConfig,
        state: SandboxState,
        transport: asyncio.Transport,
        receive: Receive,
        send: Send,
    ) -> None:
        fault = self._sandbox.faults.next()
        answer = Answer(200)
        if fault is not None:
            state.faults[fault] += 1
        # Judged on arrival: the event counts even if the client gives up during the latency.
        if fault is None or fault in faults.RECORDING:
            answer = judge(request, config, state)
            if answer.message:
                # Without the detail after the colon, or each detail would have a counter.
                state.by_error[answer.message.partition(":")[0]] += 1
        seconds = config.latency + (config.slow_seconds if fault == faults.SLOW else 0)
        if not seconds:
            # Other requests that have arrived get to run, so that the count of concurrent requests is right.
            await asyncio.sleep(0)
        elif await _client_left_within(seconds, receive):
            state.abandoned += 1
            return
        if transport.is_closing():
            state.abandoned += 1
        elif fault is None or fault == faults.SLOW:
            await _send(send, state, answer.status, _body(request.rules, answer.message, request.params))
        elif fault in (faults.RESET_BEFORE, faults.RESET_AFTER):
            reset(transport)
        elif fault in (faults.STALL_BEFORE, faults.STALL_AFTER):
            if await _client_left_within(config.stall_seconds, receive):
                state.abandoned += 1
            transport.close()
        elif fault in (faults.TRUNCATE, faults.TRUNCATE_BEFORE):
            send_truncated(transport, answer.status, _body(request.rules, answer.message, request.params), _JSON)
        elif fault in PAGES:
            await _send_page(PAGES[fault], send, state, transport)
        else:
            message = _FAULT_MESSAGES.get(fault, "Injected fault")
            headers = [_JSON_HEADER]
            if fault in ("429", "503") and config.retry_after is not None:
                headers.append((b"retry-after", format(config.retry_after, "g").encode()))
            await _send(send, state, int(fault), _body(request.rules, message, request.params), *headers)


def _event_request(scope: Scope, body: bytes, now: float, rules: EndpointRules) -> EventRequest:
    authorization: str | None = None
    is_form = False
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-type":
            is_form = value.partition(b";")[0].strip().lower() == _FORM
    parts = [scope["query_string"]]
    if is_form and scope["method"] == "POST":
        parts.insert(0, body)
    return EventRequest(b"&".join(filter(None, parts)), authorization, now, rules)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body; None if the client left before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if len(body) <= _MAX_KEPT_BYTES:
            body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def _until_client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _client_left_within(seconds: float, receive: Receive) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await _until_client_left(receive)
    except TimeoutError:
        return False
    return True


async def _send(send: Send, state: SandboxState, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    state.by_status[str(status)] += 1
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*(headers or (_JSON_HEADER,)), length]})
    await send({"type": "http.response.body", "body": body})


async def _send_page(page: Page, send: Send, state: SandboxState, transport: asyncio.Transport) -> None:
    if page.is_cut:
        send_truncated(transport, page.status, page.body, page.content_type)
        return
    headers = [(b"content-type", page.content_type)]
    if page.location is not None:
        headers.append((b"location", page.location.encode()))
    await _send(send, state, page.status, page.body, *headers)


def _body(rules: EndpointRules, message: str | None, params: Mapping[str, str]) -> bytes:
    if message is None:
        return OK_BODY
    if rules is EVENT_RULES:
        return _error(f"{rules.failure} ({message})")
    # As the page on ad revenue has it: in lower case, with the app in a second pair of brackets.
    return _error(f"{rules.failure} ({message[0].lower()}{message[1:]}) (app_token:{params.get('app_token', '')})")


@functools.lru_cache(maxsize=256)
def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def _transport(send: Send) -> asyncio.Transport:
    """Return the connection behind uvicorn's `send`. ASGI itself gives no access to it."""
    return cast("asyncio.Transport", send.__self__.transport)  # type: ignore[attr-defined]
