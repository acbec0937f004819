"""The headers of every answer of the page: pages, redirects, files and unexpected errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Another site that opens the page in a window cannot access it.
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: The default, since the next user of the browser may have other permissions.
CACHE = ("Cache-Control", "no-store")


async def with_headers(app: App, scope: Any, receive: Receive, send: Send) -> None:
    """Answer with the application, or with a bare 500 if it fails before it has answered.

    An error after a complete answer is only logged, since Airflow's middlewares would cut off the answer.
    """
    started = complete = False

    async def send_with_headers(message: Message) -> None:
        nonlocal started, complete
        if message["type"] == "http.response.start":
            started = True
            message["headers"] = _with_ours(message.get("headers", ()))
        await send(message)
        complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    try:
        await app(scope, receive, send_with_headers)
    except Exception:
        if scope["type"] != "http" or (started and not complete):
            raise
        log.exception("The page of deliveries has failed")
        if not started:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send_with_headers({"type": "http.response.start", "status": 500, "headers": plain})
            await send_with_headers({"type": "http.response.body", "body": b"Internal Server Error"})


def _with_ours(headers: Any) -> list[tuple[bytes, bytes]]:
    ours = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    name, value = (part.lower().encode() for part in CACHE)
    if not any(given.lower() == name for given, _ in kept):
        ours[name] = value
    return [*kept, *ours.items()]
