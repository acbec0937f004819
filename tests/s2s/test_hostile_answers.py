"""An answer may be anything: it is cut, it ends in time, it forges no line, and it never passes for a delivery unread."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import Connection, RawServer
from s2s_case import parse
from table import table

from airflow_provider_adjust.adjust_api.device import DeviceApi, DeviceApiError
from airflow_provider_adjust.s2s import EventParser, Retries, Route, SendOptions
from airflow_provider_adjust.s2s.account.rejected import response_line
from airflow_provider_adjust.s2s.answers.classify import classify, judge, read_answer
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target, Transport
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES
from airflow_provider_adjust.s2s.transports.curl import CurlTransport
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport

Script = Callable[[Connection], None]
#: Seconds until a request is given up: to connect and to answer, as a connection says them.
TIMEOUT = (0.1, 0.2)
#: What a loaded machine may add. What hangs would hang for ever.
SLACK = 60.0
S2S_TOKEN = "s2sTokenThatNobodyMaySee"


@pytest.fixture(params=[RequestsTransport, CurlTransport])
def kind(request: pytest.FixtureRequest) -> type[RequestsTransport] | type[CurlTransport]:
    return request.param


@pytest.fixture
def transport(kind: type[RequestsTransport] | type[CurlTransport]) -> Iterator[Transport]:
    transport = kind(max_in_flight=1, timeout=TIMEOUT)
    yield transport
    transport.close()


@pytest.fixture
def patient(kind: type[RequestsTransport] | type[CurlTransport]) -> Iterator[Transport]:
    """Gives nothing up, so that what ends was cut."""
    transport = kind(max_in_flight=1, timeout=(5.0, SLACK))
    yield transport
    transport.close()


def post(transport: Transport, url: str) -> Completion:
    transport.submit("key", Target(url, "T"), "a=1")
    started = time.monotonic()
    while not (found := transport.poll(1)):
        assert time.monotonic() - started < 2 * SLACK, "the request hangs"
    return found[0]


@cache
def gzip_bomb(megabytes: int, layers: int = 1) -> bytes:
    """This many zeros, compressed. The checksum at the end is wrong, since no reader should ever get there."""
    whole = zlib.compressobj(9, zlib.DEFLATED, 31)
    begin = whole.compress(b"") + whole.flush(zlib.Z_FULL_FLUSH)
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    megabyte = block.compress(bytes(1_000_000)) + block.flush(zlib.Z_FULL_FLUSH)
    bomb = begin + megabyte * megabytes + whole.flush()
    for _ in range(layers - 1):
        bomb = gzip.compress(bomb)
    return bomb


def answering(*head: bytes, body: bytes = b"", again: bytes = b"", pause: float = 0.0) -> Script:
    """Answer, then repeat a piece until the client has gone."""

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(b"".join(head) + body)
        while again:
            time.sleep(pause)
            connection.send(again)
        connection.wait_for_the_client()

    return script


OK_LINE = b"HTTP/1.1 200 OK\r\n"
GZIP = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
NO_ANSWER: dict[str, Script] = {
    "5,000 headers": answering(OK_LINE, *(b"X-%d: y\r\n" % n for n in range(5000)), b"Content-Length: 2\r\n\r\nOK"),
    "headers for ever": answering(OK_LINE, again=b"X-A: " + b"y" * 1000 + b"\r\n"),
    "headers that drip": answering(OK_LINE, again=b"X: y\r\n", pause=0.02),
    "a header for ever": answering(OK_LINE, b"X: ", again=b"y" * 10_000),
    "100 for ever": answering(again=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 that drips": answering(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02),
    "a chunk's extension for ever": answering(OK_LINE, b"Transfer-Encoding: chunked\r\n\r\n1;", again=b"y" * 10_000),
    "trailers for ever": answering(OK_LINE, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", again=b"X: y\r\n" * 1000),
    "a chunk that drips": answering(OK_LINE, b"Transfer-Encoding: chunked\r\n\r\nff\r\n", again=b"x", pause=0.02),
    "two lengths": answering(OK_LINE, b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nOK"),
    "no status": answering(b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/0.9": answering(b"OK"),
    "a protocol that nobody asked for": answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "10,000 packings": answering(
        OK_LINE,
        b"Content-Encoding: ",
        b", ".join([b"gzip"] * 10_000),
        b"\r\nContent-Length: 4\r\n\r\nabcd",
    ),
    "packed, and empty": answering(OK_LINE, GZIP % 0),
    "packed to nothing": answering(OK_LINE, GZIP % len(gzip_bomb(0)), body=gzip_bomb(0)),
}


@pytest.mark.parametrize("script", NO_ANSWER.values(), ids=NO_ANSWER)
def test_an_endless_answer_is_given_up_in_time_and_leaves_the_event_in_doubt(
    transport: Transport, script: Script
) -> None:
    with RawServer(script) as server:
        started = time.monotonic()
        completion = post(transport, server.url)
        assert time.monotonic() - started < sum(TIMEOUT) + SLACK
    assert completion.failure is Failure.NO_ANSWER
    assert judge(completion).outcome is Outcome.IN_DOUBT


@pytest.mark.parametrize("layers", [1, 2])
def test_a_packed_gigabyte_is_cut(patient: Transport, layers: int) -> None:
    bomb = gzip_bomb(1000, layers)
    assert len(bomb) < 1_000_000
    head = OK_LINE + GZIP.replace(b"gzip", b", ".join([b"gzip"] * layers)) % len(bomb)
    with RawServer(answering(head, body=bomb)) as server:
        completion = post(patient, server.url)
    assert (completion.status, completion.failure) == (200, None)
    assert MAX_ANSWER_BYTES < len(completion.body) <= MAX_ANSWER_BYTES + 65_536
    assert judge(completion).reason == "answer_too_long"


def test_an_endless_body_is_cut(patient: Transport) -> None:
    with RawServer(answering(OK_LINE, b"\r\n", again=b"x" * 65_536)) as server:
        completion = post(patient, server.url)
    assert (completion.status, completion.failure) == (200, None)
    assert MAX_ANSWER_BYTES < len(completion.body) <= MAX_ANSWER_BYTES + 65_536


@table("kind", [RequestsTransport, CurlTransport])
@table(
    ("scheme", "read_timeout", "failure"),
    # What cannot be reached must not wait for the time that an answer may take.
    [("http", 0.2, Failure.NO_ANSWER), ("https", 60.0, Failure.NOT_SENT)],
)
def test_a_server_that_never_says_a_word_is_given_up_in_time(
    kind: Callable[..., Transport], scheme: str, read_timeout: float, failure: Failure
) -> None:
    transport = kind(max_in_flight=1, timeout=(0.1, read_timeout))
    with RawServer(lambda connection: connection.wait_for_the_client()) as server:
        completion = post(transport, server.url.replace("http", scheme, 1))
        transport.close()
    assert completion.failure is failure


def test_closing_does_not_wait_for_what_never_ends() -> None:
    """A task that fails in the middle closes the transport while requests are in flight."""
    with RawServer(answering(OK_LINE, again=b"X: y\r\n", pause=0.02)) as server:
        for kind in (RequestsTransport, CurlTransport):
            transport = kind(max_in_flight=2, timeout=TIMEOUT)
            for number in range(2):
                transport.submit(number, Target(server.url), "")
            transport.poll(0.1)
            closing = threading.Thread(target=transport.close, daemon=True)
            closing.start()
            closing.join(sum(TIMEOUT) + SLACK)
            assert not closing.is_alive()


# -- the Device API ----------------------------------------------------------------------------------------------------

DEVICE = "de71ce00-0000-4000-8000-000000000001"


@table(
    "script",
    [
        NO_ANSWER["headers that drip"],
        NO_ANSWER["100 for ever"],
        answering(OK_LINE, b"Content-Length: 100\r\n\r\n", again=b" ", pause=0.02),
        answering(OK_LINE, b"\r\n", again=b"[" * 65_536),
        answering(OK_LINE, GZIP % len(gzip_bomb(1000)), body=gzip_bomb(1000)),
        answering(OK_LINE, b"Content-Length: 100000\r\n\r\n", body=b"[" * 100_000),
        answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["headers that drip", "100 for ever", "body that drips", "endless body", "bomb", "nesting", "redirect"],
)
def test_the_device_api_ends_in_time_and_names_no_device(script: Script) -> None:
    with RawServer(script) as server:
        device_api = DeviceApi(server.url.removesuffix("/event"), S2S_TOKEN, timeout=TIMEOUT)
        started = time.monotonic()
        with pytest.raises(DeviceApiError) as failed:
            device_api.inspect_device(DEVICE, "4w565xzmb54d")
    assert time.monotonic() - started < sum(TIMEOUT) + SLACK
    assert DEVICE not in str(failed.value)


# -- what is said of an answer -----------------------------------------------------------------------------------------

STEERING = "\x00\x07\x1b[31m\x7f\x9b\u202e\u2066\u2028\ud800"


@table("prefix", ["", "Event request failed (Device not found) "])
def test_an_answer_forges_no_line(prefix: str) -> None:
    text = f"{prefix}x\r\n[2026-05-01] ERROR all is lost {STEERING}"
    verdict = classify(404, json.dumps({"error": text}))
    assert verdict.message.isprintable()


@table("depth", [10, 350, 500, 900, 990, 100_000])
@table("shape", ['{"error": %s}', '{"status": %s}', "%s"])
def test_an_answer_of_any_depth_is_judged_and_kept(depth: int, shape: str) -> None:
    body = (shape % ("[" * depth + "]" * depth)).encode()
    assert classify(200, body).outcome in {Outcome.IN_DOUBT, Outcome.HALT}
    assert response_line(Receipt(Outcome.DELIVERED, "", "o-1", 1, answer=body)).isprintable()


@table("status", [400, 404, 401, 200, 500])
def test_a_delivery_repeats_no_echo(status: int) -> None:
    event = parse(user_agent="Agent of one/1.0 (person)", callback_params={"customer": "Ms. Person"})
    secrets = [S2S_TOKEN, event.params["gps_adid"], "Agent of one/1.0 (person)", "Ms. Person"]
    body = json.dumps({"error": " and ".join(secrets)}).encode()
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    with RawServer(answering(head, body=body)) as server:
        transport = RequestsTransport(max_in_flight=1, timeout=(5, 5))
        routes = {None: Route(EventParser(), Target(server.url, S2S_TOKEN))}
        delivery = Delivery(transport, routes, SendOptions(retries=Retries(attempts=1)), sink=Sink())
        said: list[Any] = []
        try:
            said.extend(delivery.run([Job(event, 1)]))
        except Exception as error:
            said.append(error)
        transport.close()
    shown = repr(said) + "".join(str(each) for each in said)
    assert "characters not shown" in shown
    assert [secret for secret in secrets if secret.lower() in shown.lower()] == []


# -- fuzzed ------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
HEADERS = st.none() | st.text(max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+.*\Z")


@given(st.integers(0, 999), st.binary(max_size=400) | st.text(max_size=400), HEADERS)
def test_any_answer_has_a_verdict(status: int, body: bytes | str, retry_after: str | None) -> None:
    verdict = classify(status, body, retry_after=retry_after)
    assert verdict.message.isprintable()
    assert verdict.retry_after is None or verdict.retry_after >= 0
    assert verdict.outcome is not Outcome.DELIVERED or status == 200
    read_answer(body)


@given(st.integers(0, 999), st.dictionaries(st.sampled_from(["error", "message", "status", "retry_in"]), JSON))
def test_any_json_has_a_verdict(status: int, answer: dict[str, Any]) -> None:
    body = json.dumps(answer)
    verdict = classify(status, body)
    assert verdict.message.isprintable()
    assert verdict.retry_after is None or 0 <= verdict.retry_after < 10**9
    assert verdict.outcome is not Outcome.DELIVERED or not answer.get("error")
