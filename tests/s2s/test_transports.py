"""How the end of a request is described: by a sandbox, and by plain sockets that break off at every point."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from certificates import DAY, make_certificate, shown_by_a_server
from raw_server import OK, Connection, RawServer
from s2s_case import SECOND, parse
from table import table

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target, Transport
from airflow_provider_adjust.s2s.transports import requests as requests_transport
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES
from airflow_provider_adjust.s2s.transports.curl import CurlTransport
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.s2s.transports.settings import is_loopback, new_session
from airflow_provider_adjust.sandbox import SandboxServer

TIMEOUT = (5.0, 5.0)
#: For answers that never come.
SHORT = (0.2, 0.3)
Script = Callable[[Connection], None]


Kind = type[RequestsTransport] | type[CurlTransport]


class Client:
    """A transport of each timeout that a test asks for, kept open until the test ends."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._open: dict[tuple[float, float], Transport] = {}

    def post(
        self,
        url: str,
        timeout: tuple[float, float] = TIMEOUT,
        token: str | None = "T",
        body: str = "a=1&b=%C3%A4",
    ) -> Completion:
        if timeout not in self._open:
            self._open[timeout] = self._kind(max_in_flight=1, timeout=timeout)
        transport = self._open[timeout]
        transport.submit("key", Target(url, token), body)
        (completion,) = _collect(transport, 1)
        return completion

    def close(self) -> None:
        for transport in self._open.values():
            transport.close()


def _collect(transport: Transport, count: int) -> list[Completion]:
    completions: list[Completion] = []
    while len(completions) < count:
        found = transport.poll(10)
        assert found, "an answer did not come in time"
        completions.extend(found)
    return completions


@pytest.fixture(params=[RequestsTransport, CurlTransport])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def client(kind: Kind) -> Iterator[Client]:
    client = Client(kind)
    yield client
    client.close()


def _answering(*answers: bytes) -> Script:
    """Give one answer after the other on each connection, then wait."""

    def script(connection: Connection) -> None:
        for answer in answers:
            if connection.read() is None:
                return
            connection.send(answer)
        connection.wait_for_the_client()

    return script


def _closing_after(answer: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(answer)

    return script


def _resetting_after(answer: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(answer)
        connection.reset()

    return script


# --- an answer --------------------------------------------------------------------------------------------------------


def test_what_is_sent_and_what_comes_back(client: Client) -> None:
    answer = b'HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 13\r\n\r\n{"error": "x"'
    with RawServer(_answering(answer)) as server:
        completion = client.post(server.url)
    assert completion == Completion("key", 429, b'{"error": "x"', "7")
    (request,) = server.requests
    assert request.line == "POST /event HTTP/1.1"
    assert request.body == b"a=1&b=%C3%A4"
    sent = {name: request.headers[name] for name in ("content-type", "authorization", "accept", "user-agent")}
    assert sent == {
        "content-type": "application/x-www-form-urlencoded",
        "authorization": "Bearer T",
        "accept": "*/*",
        "user-agent": f"airflow-provider-adjust/{__version__}",
    }


def test_the_first_answer_has_the_servers_date(client: Client) -> None:
    date = "Fri, 27 Nov 2026 12:10:00 GMT"
    answer = OK.replace(b"\r\n\r\n", f"\r\ndate:{date}\r\n\r\n".encode())
    with RawServer(_answering(answer, answer)) as server:
        assert client.post(server.url).date == date
        assert client.post(server.url).date in {date, None}


def test_a_proxy_of_the_environment_is_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(_answering(OK)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://somebody:else@"))
        assert client.post("http://s2s.adjust.test/event").status == 200
    (request,) = proxy.requests
    assert request.line == "POST http://s2s.adjust.test/event HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic c29tZWJvZHk6ZWxzZQ=="
    assert request.headers["authorization"] == "Bearer T"


def test_a_proxy_is_not_used_where_the_environment_excludes_the_host(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(_answering(OK)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "s2s.adjust.test")
        assert client.post("http://s2s.adjust.test/event").failure is Failure.NOT_SENT  # there is no such host
    assert proxy.requests == []


def test_a_request_to_this_machine_goes_through_no_proxy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy would get the token in clear text, and its answer would count as Adjust's."""
    with RawServer(_answering(OK)) as proxy, RawServer(_answering(OK)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for url in (server.url, server.url.replace("127.0.0.1", "localhost"), server.url.replace("127.0.0.1", "127.1")):
            assert client.post(url).status == 200
        session = new_session()
        assert session.post(server.url, timeout=5).status_code == 200
        session.close()
    assert (len(proxy.requests), len(server.requests)) == (0, 4)


@table(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f.1", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("adjust.localhost", True),
        ("localhost.adjust.test", False),
        ("127.0.0.1.adjust.test", False),
        ("128.0.0.1", False),
        ("[2001:db8::1]", False),
        ("[::ffff:192.0.2.1]", False),
        ("s2s.adjust.com", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(f"http://{host}/event") is expected


def test_a_proxy_that_cannot_be_reached_means_that_nothing_was_sent(
    client: Client, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://somebody:else@127.0.0.1:{unused_port}")
    completion = client.post("http://s2s.adjust.test/event")
    assert (completion.failure, completion.status) == (Failure.NOT_SENT, None)
    assert "else" not in completion.failure_name


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"], ids=["head", "body"])
def test_an_answer_that_drips_for_ever_is_given_up(client: Client, begun: bytes) -> None:
    """Each byte comes within the timeout, the whole never does."""
    over = threading.Event()

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(begun)
        while not over.wait(0.05):
            connection.send(b"x")

    with RawServer(script) as server:
        completion = client.post(server.url, timeout=(0.2, 0.3))
        over.set()
    assert (completion.failure, completion.body) == (Failure.NO_ANSWER, b"")


def test_a_request_that_was_given_up_is_not_reported_again_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its thread lost: it takes the next request."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(requests_transport, "time", clock)
    over = threading.Event()

    def script(connection: Connection) -> None:
        while connection.read() is not None:
            over.wait(60)
            connection.send(OK)

    before = set(threading.enumerate())
    transport = RequestsTransport(max_in_flight=1, timeout=(60.0, 60.0))
    with RawServer(script) as server:
        transport.submit("first", Target(server.url), "")
        clock.now = 119.0
        assert transport.poll(0) == []
        clock.now = 120.0
        assert transport.poll(0) == [Completion("first", failure=Failure.NO_ANSWER, failure_name="TotalTimeout")]
        over.set()
        assert transport.poll(60) == [], "its answer comes too late"
        transport.submit("second", Target(server.url), "")
        assert [completion.key for completion in transport.poll(60)] == ["second"]
        threads = [each for each in set(threading.enumerate()) - before if each.name.startswith("adjust-s2s")]
        assert len(threads) == 1
        transport.close()
    assert not threads[0].is_alive()


def test_an_answer_that_ends_after_it_was_given_up_disturbs_no_other(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connection is one more than may be in flight, and no place is short of it."""
    over, ended = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        is_slow = server.connections == 1
        while connection.read():
            if is_slow:
                over.wait(10)
            connection.send(OK)
            if is_slow:
                ended.set()

    transport = kind(max_in_flight=1, timeout=SHORT)
    with RawServer(script) as server, caplog.at_level("WARNING"):
        transport.submit("slow", Target(server.url), "")
        assert [each.failure for each in _collect(transport, 1)] == [Failure.NO_ANSWER]
        for number in range(3):
            transport.submit(number, Target(server.url), "")
            assert [(each.key, each.status) for each in _collect(transport, 1)] == [(number, 200)]
            if number == 0:
                over.set()
                assert ended.wait(10)
                assert transport.poll(0.2) == [], "its answer comes too late"
        transport.close()
    assert caplog.messages == []


@table("token", [None, ""], ids=repr)
def test_without_a_token_no_credential_is_sent(client: Client, token: str | None) -> None:
    with RawServer(_answering(OK)) as server:
        assert client.post(server.url, token=token).status == 200
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("token", ["T", None], ids=repr)
def test_no_netrc_puts_another_credential_in_the_tokens_place(
    client: Client, token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(_answering(OK)) as server:
        client.post(server.url, token=token)
        assert requests.utils.get_netrc_auth(server.url) == ("somebody", "else"), "the file must be one that is found"
    assert server.requests[0].headers.get("authorization") == (None if token is None else "Bearer T")


def test_no_cookie_is_sent_back(client: Client) -> None:
    answer = OK.replace(b"Content-Type", b"Set-Cookie: seen=1; Path=/\r\nContent-Type")
    with RawServer(_answering(answer, answer)) as server:
        assert [client.post(server.url).status for _ in range(2)] == [200, 200]
    assert len(server.requests) == 2
    assert all("cookie" not in request.headers for request in server.requests)


@table("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(client: Client, status: int) -> None:
    with RawServer(_answering(OK)) as elsewhere:
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        with RawServer(_answering(answer, OK)) as server:
            completion = client.post(server.url)
    assert (completion.status, completion.failure) == (status, None)
    assert len(server.requests) == 1
    assert elsewhere.requests == []


@table("length", [MAX_ANSWER_BYTES, 3 * MAX_ANSWER_BYTES])
def test_an_endless_answer_is_cut(client: Client, length: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    with RawServer(_answering(answer)) as server:
        completion = client.post(server.url)
    assert (completion.status, completion.failure) == (200, None)
    assert min(length, MAX_ANSWER_BYTES) <= len(completion.body) <= min(length, MAX_ANSWER_BYTES + 65_536)
    verdict = judge(completion)
    too_long = (Outcome.IN_DOUBT, "answer_too_long")
    expected = too_long if length > MAX_ANSWER_BYTES else (Outcome.HALT, "not_adjust")
    assert (verdict.outcome, verdict.reason) == expected


@table(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="no body"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="no chunks"),
    ],
)
def test_an_empty_answer_is_a_whole_one(client: Client, answer: bytes) -> None:
    with RawServer(_answering(answer)) as server:
        completion = client.post(server.url)
    assert (completion.body, completion.failure) == (b"", None)


def test_a_body_that_ends_with_the_connection_is_a_whole_one(client: Client) -> None:
    with RawServer(_closing_after(b"HTTP/1.0 200 OK\r\n\r\nOK")) as server:
        assert client.post(server.url) == Completion("key", 200, b"OK")


@pytest.mark.parametrize(
    ("head", "body", "content_type"),
    [
        pytest.param(
            b"403 Forbidden\r\nContent-Type: text/html; charset=x\r\n", b"<p>", "text/html; charset=x", id="403"
        ),
        pytest.param(b"200 OK\r\ncontent-type:text/html\r\n", b"<p>", "text/html", id="200 web page"),
        pytest.param(b"403 Forbidden\r\n", b"<p>", None, id="none"),
        pytest.param(b"403 Forbidden\r\nContent-Type: application/json\r\n", b"{}", "application/json", id="403 JSON"),
    ],
)
def test_the_type_of_an_answer_that_may_not_be_adjusts_is_known(
    client: Client, head: bytes, body: bytes, content_type: str | None
) -> None:
    with RawServer(_answering(b"HTTP/1.1 %sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))) as server:
        completion = client.post(server.url)
    assert (completion.body, completion.content_type) == (body, content_type)


# --- no answer --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_refused_connection_sent_nothing(client: Client, unused_port: int) -> None:
    completion = client.post(f"http://127.0.0.1:{unused_port}/event")
    assert (completion.failure, completion.status) == (Failure.NOT_SENT, None)
    assert judge(completion).outcome is Outcome.RETRY


PART = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status": '
CHUNK = b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<html>"


@table(
    ("script", "status"),
    [
        pytest.param(_resetting_after(b""), None, id="reset before an answer"),
        pytest.param(_closing_after(b""), None, id="closed before an answer"),
        pytest.param(_closing_after(b"HTTP/1.1 200"), 200, id="closed in the status line"),
        pytest.param(_closing_after(b"HTTP/1.1 200 OK\r\nContent-Ty"), 200, id="closed in the headers"),
        pytest.param(_closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: "), 200, id="closed before the length"),
        pytest.param(_closing_after(b"what is this?\r\n\r\n"), None, id="an answer that is no HTTP"),
        pytest.param(_closing_after(PART), 200, id="truncated"),
        pytest.param(_closing_after(CHUNK), 502, id="truncated chunk"),
        pytest.param(_closing_after(CHUNK.replace(b"ff\r", b"what\r")), 502, id="broken chunk"),
        pytest.param(
            _closing_after(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnot!"),
            200,
            id="broken gzip",
        ),
        pytest.param(_resetting_after(PART), 200, id="reset in the answer"),
    ],
)
def test_no_whole_answer_leaves_the_event_in_doubt(client: Client, script: Script, status: int | None) -> None:
    with RawServer(script) as server:
        completion = client.post(server.url)
    assert (completion.failure, completion.body) == (Failure.NO_ANSWER, b"")
    assert completion.status in {status, None if status == 200 else status}
    assert completion.failure_name.isidentifier()
    assert judge(completion).outcome is Outcome.IN_DOUBT


@table(("begun", "status"), [(b"", None), (PART, 200), (CHUNK, 502)], ids=["silent", "cut", "chunk"])
def test_an_answer_that_does_not_come_in_time_leaves_the_event_in_doubt(
    client: Client, begun: bytes, status: int | None
) -> None:
    with RawServer(_answering(begun, b"")) as server:
        completion = client.post(server.url, timeout=SHORT)
    assert (completion.failure, completion.status) == (Failure.NO_ANSWER, status)
    assert len(server.requests) == 1, "nothing below the delivery sends a second time"


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("waits", [True, False], ids=["at leisure", "at once"])
def test_a_server_that_closes_after_each_answer_leaves_no_doubt(
    client: Client,
    secure: bool,
    waits: bool,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not announce it, so the end of a connection comes before the next request, or just behind it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(_closing_after(OK), tls=tls if secure else None) as server:
        for _ in range(20):
            assert client.post(server.url).status == 200
            assert not waits or server.closed.acquire(timeout=5)
    assert server.connections == len(server.requests) == 20


def test_a_server_that_closes_after_each_answer_leaves_no_doubt_with_many_in_flight(kind: Kind) -> None:
    transport, completions = kind(max_in_flight=8, timeout=TIMEOUT), []
    with RawServer(_closing_after(OK)) as server:
        transport.submit(0, Target(server.url), "n=0")  # alone, as a delivery's first one is
        completions += _collect(transport, 1)
        for number in range(1, 200):
            transport.submit(number, Target(server.url), f"n={number}")
            if number >= 8:
                completions += _collect(transport, 1)
        completions += _collect(transport, 200 - len(completions))
        transport.close()
    assert {completion.status for completion in completions} == {200}
    assert len(server.requests) == 200


def test_a_kept_connection_that_has_ended_is_not_used(client: Client) -> None:
    """The server keeps connections until, for example, it is restarted."""
    leaves = threading.Event()

    def script(connection: Connection) -> None:
        for _ in range(3):
            connection.read()
            connection.send(OK)
        leaves.wait(5)

    with RawServer(script) as server:
        for number in range(9):
            if number % 3 == 0:
                leaves.clear()
            assert client.post(server.url).status == 200
            if number % 3 == 2:
                leaves.set()
                assert server.closed.acquire(timeout=5)
    assert len(server.requests) == 9


def test_a_server_that_breaks_its_connections_is_offered_none_twice(client: Client) -> None:
    """One request gets no answer on a kept connection; the next ones get their own."""

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(OK)
        connection.read()

    with RawServer(script) as server:
        statuses = [client.post(server.url).status for _ in range(6)]
    assert statuses == [200, None, 200, 200, 200, 200]
    assert server.connections == 5


def test_what_a_broken_connection_may_have_carried_is_not_sent_again(client: Client) -> None:
    """libcurl would do that by itself, below the delivery, when a kept connection breaks without a byte of answer."""

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(OK)
        connection.read()
        connection.reset()

    with RawServer(script) as server:
        assert client.post(server.url).status == 200
        completion = client.post(server.url)
    assert (completion.failure, completion.status) == (Failure.NO_ANSWER, None)
    assert len(server.requests) == 2


def test_a_connection_that_is_reset_at_once_delivers_nothing(client: Client) -> None:
    with RawServer(lambda connection: connection.reset()) as server:
        completion = client.post(server.url)
    # Whether the request was written by then is the system's to say.
    assert completion.failure in {Failure.NOT_SENT, Failure.NO_ANSWER}
    assert completion.status is None


SECRET = "http://user:secret@proxy.test:3128"


@pytest.mark.parametrize("was_read", [False, True], ids=["before the body", "after the body"])
@pytest.mark.parametrize(
    ("error", "before"),
    [
        (urllib3.exceptions.ConnectTimeoutError(SECRET), Failure.NOT_SENT),
        (urllib3.exceptions.NameResolutionError("host", None, socket.gaierror(SECRET)), Failure.NOT_SENT),  # type: ignore[arg-type]
        (urllib3.exceptions.ProxyError(SECRET, OSError()), Failure.NOT_SENT),
        (urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(SECRET)), Failure.TLS),
        (urllib3.exceptions.SSLError(ssl.SSLError(SECRET)), Failure.NOT_SENT),
        (urllib3.exceptions.ProtocolError(SECRET), Failure.NOT_SENT),
        (RuntimeError(SECRET), Failure.NOT_SENT),
        (MemoryError(), Failure.NOT_SENT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_cannot_be_rehearsed_is_described_by_what_may_have_happened(
    monkeypatch: pytest.MonkeyPatch, error: Exception, before: Failure, was_read: bool
) -> None:
    def fail(*_: Any, body: Iterable[bytes], **__: Any) -> None:
        if was_read:
            list(body)
        raise error

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", fail)
    completion = Client(RequestsTransport).post("http://s2s.adjust.test/event")
    name = type(error).__name__
    assert completion == Completion("key", failure=Failure.NO_ANSWER if was_read else before, failure_name=name)


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_an_unsigned_certificate_is_refused_before_anything_is_sent(client: Client, tls: ssl.SSLContext) -> None:
    with RawServer(_answering(OK), tls=tls) as server:
        completion = client.post(server.url)
    assert (completion.failure, completion.status) == (Failure.TLS, None)
    assert server.requests == []
    verdict = judge(completion)
    assert (verdict.outcome, verdict.reason) == (Outcome.HALT, "tls_refused")


def test_a_certificate_that_the_worker_trusts_is_taken(
    client: Client, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(_answering(OK), tls=tls) as server:
        assert client.post(server.url).status == 200


@pytest.mark.parametrize("wrong", [{"valid_for": -DAY}, {"address": "127.0.0.2"}], ids=["expired", "of another host"])
def test_a_certificate_from_a_trusted_hand_must_be_in_date_and_this_hosts(
    client: Client, wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "server.pem", **wrong)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(_answering(OK), tls=shown_by_a_server(certificate)) as server:
        completion = client.post(server.url)
    assert (completion.failure, completion.status) == (Failure.TLS, None)
    assert server.requests == []


# --- many requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_requests_are_in_flight_together(
    kind: Kind, secure: bool, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    together = threading.Barrier(4, timeout=5)

    def script(connection: Connection) -> None:
        while connection.read():
            together.wait()
            connection.send(OK)

    with RawServer(script, tls=tls if secure else None) as server:
        transport = kind(max_in_flight=4, timeout=TIMEOUT)
        completions = []
        for numbers in (range(4), range(4, 8)):
            for number in numbers:
                transport.submit(number, Target(server.url, "T"), f"n={number}")
            completions += _collect(transport, 4)
        assert transport.poll(0) == []
        transport.close()
    assert {completion.key for completion in completions} == set(range(8))
    assert {completion.status for completion in completions} == {200}
    assert server.connections == 4, "connections are kept and used again"


@pytest.mark.parametrize("is_sent_before", [True, False])
def test_time_without_polling_does_not_count_as_the_servers(kind: Kind, is_sent_before: bool) -> None:
    """A query that pauses, or a ledger that is slow, keeps the delivery from looking for longer than both timeouts."""
    asked, looks_away = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        while connection.read():
            asked.set()
            looks_away.wait(5)
            connection.send(OK)

    timeout = (1.0, 0.3)
    with RawServer(script) as server, RawServer(_answering(b"", b"")) as silent:
        transport, other = kind(max_in_flight=1, timeout=timeout), Client(kind)
        transport.submit("key", Target(server.url), "")
        while is_sent_before and not asked.is_set():
            assert transport.poll(0.01) == []
        looks_away.set()
        for _ in range(3):
            assert other.post(silent.url, timeout).failure is Failure.NO_ANSWER
        (completion,) = _collect(transport, 1)
        transport.close()
        other.close()
    assert (completion.status, completion.failure) == (200, None)
    assert len(server.requests) == 1


def test_poll_waits_no_longer_than_asked_when_nothing_is_in_flight(kind: Kind) -> None:
    transport = kind(max_in_flight=1, timeout=TIMEOUT)
    assert transport.poll(0) == []
    assert transport.poll(0.01) == []
    transport.close()


def test_a_request_that_cannot_even_be_made_was_not_sent(client: Client) -> None:
    completion = client.post("s2s.adjust.test/event", timeout=SHORT)
    assert (completion.failure, completion.status) == (Failure.NOT_SENT, None)


def test_a_given_session_is_used(kind: Kind) -> None:
    session = new_session()
    session.headers["X-Ours"] = "1"
    with RawServer(_answering(OK)) as server:
        transport = kind(max_in_flight=1, timeout=TIMEOUT, session=session)
        transport.submit("key", Target(server.url), "")
        _collect(transport, 1)
        transport.close()
    assert server.requests[0].headers["x-ours"] == "1"


def test_a_target_shows_no_token() -> None:
    assert "secret" not in repr(Target("https://s2s.adjust.test/event", "secret"))


# --- the sandbox ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "failure", "outcome", "recorded"),
    [
        (None, 200, None, Outcome.DELIVERED, 1),
        ("429", 429, None, Outcome.RETRY, 0),
        ("500", 500, None, Outcome.RETRY, 0),
        ("503", 503, None, Outcome.RETRY, 0),
        ("reset_before", None, Failure.NO_ANSWER, Outcome.IN_DOUBT, 0),
        ("reset_after", None, Failure.NO_ANSWER, Outcome.IN_DOUBT, 1),
        ("stall_before", None, Failure.NO_ANSWER, Outcome.IN_DOUBT, 0),
        ("stall_after", None, Failure.NO_ANSWER, Outcome.IN_DOUBT, 1),
        ("truncate", 200, Failure.NO_ANSWER, Outcome.IN_DOUBT, 1),
        ("truncate_before", 200, Failure.NO_ANSWER, Outcome.IN_DOUBT, 0),
        ("html", 502, None, Outcome.IN_DOUBT, 0),
        ("redirect", 307, None, Outcome.HALT, 0),
        ("firewall", 403, None, Outcome.HALT, 0),
        ("gateway_403", 403, None, Outcome.HALT, 0),
        ("gateway_404", 404, None, Outcome.HALT, 0),
        ("portal", 200, None, Outcome.HALT, 0),
        ("portal_redirect", 302, None, Outcome.HALT, 0),
        ("proxy_502", 502, None, Outcome.IN_DOUBT, 1),
        ("proxy_504", 504, None, Outcome.IN_DOUBT, 1),
        ("proxy_truncated", 502, Failure.NO_ANSWER, Outcome.IN_DOUBT, 1),
    ],
)
def test_each_fault_of_the_sandbox(
    adjust_sandbox: SandboxServer,
    client: Client,
    fault: str | None,
    status: int | None,
    failure: Failure | None,
    outcome: Outcome,
    recorded: int,
) -> None:
    adjust_sandbox.configure(clock=lambda: float(SECOND), fault_plan=[fault], stall_seconds=0.05, tokens=["T"])
    completion = client.post(f"{adjust_sandbox.url}/event", token="T", body=parse().body)
    assert (completion.status, completion.failure) == (status, failure)
    assert judge(completion).outcome is outcome
    stats = adjust_sandbox.stats()
    assert (stats["recorded"], stats["redirects_followed"]) == (recorded, 0)


@pytest.mark.parametrize(
    ("settings", "token", "status", "reason"),
    [
        ({"tokens": ["T"]}, "T", 200, ""),
        ({"tokens": ["T"]}, None, 401, "not_authorized"),
        ({"tokens": ["T"]}, "wrong", 401, "not_authorized"),
        ({"tokens": ["T"], "enforce": False}, None, 202, "missing_s2s_token"),
        ({"tokens": ["T"], "enforce": False}, "wrong", 202, "wrong_s2s_token"),
        ({}, "anything", 200, ""),
        ({"inactive_app_tokens": ["abc123abc123"]}, "T", 403, "app_inactive"),
        ({"app_tokens": ["other"]}, "T", 404, "app_token_not_found"),
        ({"event_tokens": ["other"]}, "T", 400, "invalid_event_token"),
        ({"unknown_share": 1.0}, "T", 404, "device_not_found"),
    ],
)
def test_what_the_sandbox_says_is_understood(
    adjust_sandbox: SandboxServer,
    client: Client,
    settings: dict[str, Any],
    token: str | None,
    status: int,
    reason: str,
) -> None:
    adjust_sandbox.configure(clock=lambda: float(SECOND), **settings)
    completion = client.post(f"{adjust_sandbox.url}/event", token=token, body=parse().body)
    assert (completion.status, judge(completion).reason) == (status, reason)


def test_every_parameter_that_is_sent_arrives_as_it_was(adjust_sandbox: SandboxServer, client: Client) -> None:
    adjust_sandbox.configure(clock=lambda: float(SECOND))
    events = [
        parse(
            gps_adid=f"device-{number}",
            revenue="149.90",
            currency="usd",
            callback_params={"ü": 'quote " & = + %', "list": [1, "x"]},
            user_agent=agent,
        )
        for number, agent in enumerate(["Mozilla/5.0 (X; +)", "ünï 👍", "a\nb\tc"])
    ]
    for event in events:
        assert client.post(f"{adjust_sandbox.url}/event", token=None, body=event.body).status == 200
    recorded = [each["params"] for each in adjust_sandbox.events()]
    assert recorded == [event.params for event in events]


def test_an_empty_answer_without_a_length_is_not_an_answer(client: Client) -> None:
    """A connection that broke right after the headers looks the same."""

    def answer_and_close(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")

    with RawServer(answer_and_close) as server:
        completion = client.post(server.url)
    assert judge(completion).outcome is Outcome.IN_DOUBT
