"""How the end of a request is described: by a sandbox, and by plain sockets that break off at every point."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from raw_server import OK, Connection, RawServer
from s2s_case import SECOND, parse

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target
from airflow_provider_adjust.s2s.transports.requests_transport import (
    MAX_ANSWER_BYTES,
    RequestsTransport,
    new_session,
    post_form,
)
from airflow_provider_adjust.s2s.verdicts import judge
from airflow_provider_adjust.sandbox import SandboxServer

TIMEOUT = (5.0, 5.0)
#: For answers that never come.
SHORT = (5.0, 0.5)
Script = Callable[[Connection], None]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with new_session() as session:
        yield session


def _post(
    session: requests.Session, url: str, timeout: tuple[float, float] = TIMEOUT, token: str | None = "T"
) -> Completion:
    return post_form(session, "key", Target(url, token), "a=1&b=%C3%A4", timeout)


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


def test_what_is_sent_and_what_comes_back(session: requests.Session) -> None:
    answer = b'HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 13\r\n\r\n{"error": "x"'
    with RawServer(_answering(answer)) as server:
        completion = _post(session, server.url)
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


@pytest.mark.parametrize("token", [None, ""], ids=repr)
def test_without_a_token_no_credential_is_sent(session: requests.Session, token: str | None) -> None:
    with RawServer(_answering(OK)) as server:
        assert _post(session, server.url, token=token).status == 200
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("token", ["T", None], ids=repr)
def test_no_netrc_puts_another_credential_in_the_tokens_place(
    session: requests.Session, token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(_answering(OK)) as server:
        _post(session, server.url, token=token)
        assert requests.utils.get_netrc_auth(server.url) == ("somebody", "else"), "the file must be one that is found"
    assert server.requests[0].headers.get("authorization") == (None if token is None else "Bearer T")


def test_no_cookie_is_sent_back(session: requests.Session) -> None:
    answer = OK.replace(b"Content-Type", b"Set-Cookie: seen=1; Path=/\r\nContent-Type")
    with RawServer(_answering(answer, answer)) as server:
        assert [_post(session, server.url).status for _ in range(2)] == [200, 200]
    assert len(server.requests) == 2
    assert all("cookie" not in request.headers for request in server.requests)
    assert not session.cookies


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(session: requests.Session, status: int) -> None:
    with RawServer(_answering(OK)) as elsewhere:
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        with RawServer(_answering(answer, OK)) as server:
            completion = _post(session, server.url)
    assert (completion.status, completion.failure) == (status, None)
    assert len(server.requests) == 1
    assert elsewhere.requests == []


@pytest.mark.parametrize("length", [MAX_ANSWER_BYTES, 3 * MAX_ANSWER_BYTES])
def test_an_endless_answer_is_cut(session: requests.Session, length: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    with RawServer(_answering(answer)) as server:
        completion = _post(session, server.url)
    assert (completion.status, completion.failure) == (200, None)
    assert min(length, MAX_ANSWER_BYTES) <= len(completion.body) <= min(length, MAX_ANSWER_BYTES + 65_536)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="no body"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="no chunks"),
    ],
)
def test_an_empty_answer_is_a_whole_one(session: requests.Session, answer: bytes) -> None:
    with RawServer(_answering(answer)) as server:
        completion = _post(session, server.url)
    assert (completion.body, completion.failure) == (b"", None)


def test_a_body_that_ends_with_the_connection_is_a_whole_one(session: requests.Session) -> None:
    with RawServer(_closing_after(b"HTTP/1.0 200 OK\r\n\r\nOK")) as server:
        assert _post(session, server.url) == Completion("key", 200, b"OK")


# --- no answer --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_refused_connection_sent_nothing(session: requests.Session, unused_port: int) -> None:
    completion = _post(session, f"http://127.0.0.1:{unused_port}/event")
    assert completion == Completion("key", failure=Failure.NOT_SENT, failure_name="NewConnectionError")
    assert judge(completion).outcome is Outcome.RETRY


PART = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status": '
CHUNK = b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<html>"


@pytest.mark.parametrize(
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
def test_no_whole_answer_leaves_the_event_in_doubt(
    session: requests.Session, script: Script, status: int | None
) -> None:
    with RawServer(script) as server:
        completion = _post(session, server.url)
    assert (completion.failure, completion.status, completion.body) == (Failure.NO_ANSWER, status, b"")
    assert completion.failure_name.isidentifier()
    expected = Outcome.RETRY if status == 502 else Outcome.IN_DOUBT
    assert judge(completion).outcome is expected


@pytest.mark.parametrize(("begun", "status"), [(b"", None), (PART, 200), (CHUNK, 502)], ids=["silent", "cut", "chunk"])
def test_an_answer_that_does_not_come_in_time_leaves_the_event_in_doubt(
    session: requests.Session, begun: bytes, status: int | None
) -> None:
    with RawServer(_answering(begun, b"")) as server:
        completion = _post(session, server.url, timeout=SHORT)
    assert (completion.failure, completion.status) == (Failure.NO_ANSWER, status)
    assert len(server.requests) == 1, "nothing below the delivery sends a second time"


def test_a_connection_that_ended_while_idle_is_no_doubt(session: requests.Session) -> None:
    # The server ends each connection after its answer without saying so; the next request takes a new one.
    with RawServer(_closing_after(OK)) as server:
        for _ in range(3):
            assert _post(session, server.url).status == 200
            assert server.closed.acquire(timeout=5)
    assert server.connections == 3


def test_a_connection_that_is_reset_at_once_delivers_nothing(session: requests.Session) -> None:
    with RawServer(lambda connection: connection.reset()) as server:
        completion = _post(session, server.url)
    # Whether the request was written by then is the system's to say.
    assert completion.failure in {Failure.NOT_SENT, Failure.NO_ANSWER}
    assert completion.status is None


class Raising(requests.adapters.BaseAdapter):
    """Fails as a network does that a test cannot have."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def send(self, *_: Any, **__: Any) -> requests.Response:
        raise self._error

    def close(self) -> None:
        pass


class _Pool:
    host = "s2s.adjust.test"


def _retried(reason: Exception) -> requests.exceptions.ConnectionError:
    """As requests wraps what urllib3 gave up on."""
    return requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(_Pool(), "/event", reason))  # type: ignore[arg-type]


SECRET_URL = "http://user:secret@proxy.test:3128"


@pytest.mark.parametrize(
    ("error", "failure", "name"),
    [
        (requests.exceptions.ConnectTimeout(SECRET_URL), Failure.NOT_SENT, "ConnectTimeout"),
        (requests.exceptions.ProxyError(SECRET_URL), Failure.NOT_SENT, "ProxyError"),
        (
            _retried(urllib3.exceptions.NameResolutionError("host", None, socket.gaierror(SECRET_URL))),  # type: ignore[arg-type]
            Failure.NOT_SENT,
            "NameResolutionError",
        ),
        (_retried(urllib3.exceptions.ConnectTimeoutError(SECRET_URL)), Failure.NOT_SENT, "ConnectTimeoutError"),
        (_retried(urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(SECRET_URL))), Failure.TLS, "SSLError"),
        (_retried(urllib3.exceptions.SSLError(ssl.SSLError(SECRET_URL))), Failure.NO_ANSWER, "SSLError"),
        (_retried(urllib3.exceptions.ResponseError(SECRET_URL)), Failure.NO_ANSWER, "ResponseError"),
        (requests.exceptions.ConnectionError(SECRET_URL), Failure.NO_ANSWER, "ConnectionError"),
        (requests.exceptions.ConnectionError(), Failure.NO_ANSWER, "ConnectionError"),
        (requests.exceptions.ReadTimeout(SECRET_URL), Failure.NO_ANSWER, "ReadTimeout"),
        (RuntimeError(SECRET_URL), Failure.NO_ANSWER, "RuntimeError"),
        (MemoryError(), Failure.NO_ANSWER, "MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_cannot_be_rehearsed_is_described_by_what_may_have_happened(
    session: requests.Session, error: Exception, failure: Failure, name: str
) -> None:
    session.mount("http://", Raising(error))
    completion = _post(session, "http://s2s.adjust.test/event")
    assert completion == Completion("key", failure=failure, failure_name=name)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that nobody has signed, with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_signed_is_refused_before_anything_is_sent(
    session: requests.Session, tls: ssl.SSLContext
) -> None:
    with RawServer(_answering(OK), tls=tls) as server:
        completion = _post(session, server.url)
    assert completion == Completion("key", failure=Failure.TLS, failure_name="SSLError")
    assert server.requests == []
    verdict = judge(completion)
    assert (verdict.outcome, verdict.reason) == (Outcome.HALT, "tls_refused")


def test_a_certificate_that_the_worker_trusts_is_taken(
    session: requests.Session, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(_answering(OK), tls=tls) as server:
        assert _post(session, server.url).status == 200


# --- many requests ----------------------------------------------------------------------------------------------------


def _collect(transport: RequestsTransport, count: int) -> list[Completion]:
    completions: list[Completion] = []
    while len(completions) < count:
        found = transport.poll(5)
        assert found, "an answer did not come in time"
        completions.extend(found)
    return completions


def test_requests_are_in_flight_together() -> None:
    together = threading.Barrier(4, timeout=5)

    def script(connection: Connection) -> None:
        while connection.read():
            together.wait()
            connection.send(OK)

    with RawServer(script) as server:
        transport = RequestsTransport(max_in_flight=4, timeout=TIMEOUT)
        for number in range(8):
            transport.submit(number, Target(server.url, "T"), f"n={number}")
        completions = _collect(transport, 8)
        assert transport.poll(0) == []
        transport.close()
    assert {completion.key for completion in completions} == set(range(8))
    assert {completion.status for completion in completions} == {200}
    assert server.connections == 4, "connections are kept and used again"


def test_poll_waits_for_the_first_and_takes_all_that_have_ended() -> None:
    with RawServer(_answering(OK, OK, OK)) as server:
        transport = RequestsTransport(max_in_flight=1, timeout=TIMEOUT)
        assert transport.poll(0) == []
        for number in range(3):
            transport.submit(number, Target(server.url, "T"), "")
        transport._threads.shutdown(wait=True)
        assert [completion.key for completion in transport.poll(None)] == [0, 1, 2]
        transport.close()


def test_a_request_that_cannot_even_be_made_has_an_end_too() -> None:
    transport = RequestsTransport(max_in_flight=1, timeout=TIMEOUT)
    transport.submit("key", Target("s2s.adjust.test/event", "T"), "")
    (completion,) = _collect(transport, 1)
    assert completion == Completion("key", failure=Failure.NO_ANSWER, failure_name="MissingSchema")
    transport.close()


def test_a_given_session_is_used() -> None:
    session = new_session()
    session.headers["X-Ours"] = "1"
    with RawServer(_answering(OK)) as server:
        transport = RequestsTransport(max_in_flight=1, timeout=TIMEOUT, session=session)
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
        ("html", 502, None, Outcome.RETRY, 0),
        ("redirect", 307, None, Outcome.HALT, 0),
    ],
)
def test_each_fault_of_the_sandbox(
    adjust_sandbox: SandboxServer,
    session: requests.Session,
    fault: str | None,
    status: int | None,
    failure: Failure | None,
    outcome: Outcome,
    recorded: int,
) -> None:
    adjust_sandbox.configure(clock=lambda: float(SECOND), fault_plan=[fault], stall_seconds=0.05, tokens=["T"])
    completion = post_form(session, "key", Target(f"{adjust_sandbox.url}/event", "T"), parse().body, TIMEOUT)
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
    session: requests.Session,
    settings: dict[str, Any],
    token: str | None,
    status: int,
    reason: str,
) -> None:
    adjust_sandbox.configure(clock=lambda: float(SECOND), **settings)
    completion = post_form(session, "key", Target(f"{adjust_sandbox.url}/event", token), parse().body, TIMEOUT)
    assert (completion.status, judge(completion).reason) == (status, reason)


def test_every_parameter_that_is_sent_arrives_as_it_was(
    adjust_sandbox: SandboxServer, session: requests.Session
) -> None:
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
        assert post_form(session, 1, Target(f"{adjust_sandbox.url}/event"), event.body, TIMEOUT).status == 200
    recorded = [each["params"] for each in adjust_sandbox.events()]
    assert recorded == [event.params for event in events]
