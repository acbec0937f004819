"""The page's headers are on the answer of any application, however it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_adjust.deliveries_page.headers import HEADERS, with_headers

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"Cache-Control", b"no-cache"), (b"x-frame-options", b"ALLOW")],
}
BODY = {"type": "http.response.body", "body": b"a"}


def answer(*steps: Any, kind: str = "http") -> list[Any]:
    """What is sent by an application that sends these messages and raises these errors."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            await send(dict(step))

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    try:
        asyncio.run(with_headers(app, {"type": kind}, receive, send))
    except RuntimeError as error:
        sent.append(error)
    return sent


def test_each_header_is_there_once_and_the_applications_own_rule_of_caching_stays() -> None:
    start, body = answer(START, BODY)
    assert start["status"] == 200
    assert dict(start["headers"]) == {
        **{name.lower().encode(): value.encode() for name, value in HEADERS.items()},
        b"Cache-Control": b"no-cache",
    }
    assert len(start["headers"]) == len(HEADERS) + 1
    assert body == BODY


def test_a_failure_before_the_answer_is_a_500_with_the_headers(caplog: pytest.LogCaptureFixture) -> None:
    start, body = answer(RuntimeError("unexpected"))
    assert start["status"] == 500
    assert (b"cache-control", b"no-store") in start["headers"]
    assert {name.lower().encode() for name in HEADERS} < {name for name, _ in start["headers"]}
    assert body["body"] == b"Internal Server Error"
    assert "unexpected" in caplog.text


def test_a_failure_after_the_answer_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert len(answer(START, BODY, RuntimeError("unexpected"))) == 2
    assert "unexpected" in caplog.text


def test_a_failure_within_the_answer_is_the_servers_to_end() -> None:
    for steps in ((START,), (START, BODY | {"more_body": True})):
        assert isinstance(answer(*steps, RuntimeError("unexpected"))[-1], RuntimeError)


def test_other_than_http_requests_are_passed_on() -> None:
    assert answer({"type": "websocket.close"}, kind="websocket") == [{"type": "websocket.close"}]
    assert isinstance(answer(RuntimeError("unexpected"), kind="websocket")[0], RuntimeError)
