"""The client that reads from Adjust: what it sends, what it trusts, and the limits of a call."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import itertools
import logging
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
from cryptography import x509
from s2s.raw_server import OK, Connection, RawServer
from serving import serving

from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.adjust_api.client import ApiClient, ApiResponse, ApiUnreachable, _trusted_authorities

TOKEN, DEVICE = "api-token-of-the-test", "660e1d86-6796-463a-be86-897993136018"
MAX_BYTES = 100_000


class _Echo(BaseHTTPRequestHandler):
    """Answers with the credential and the path that it was sent."""

    def do_GET(self) -> None:
        body = f"{self.headers['Authorization']} {self.headers['User-Agent'].partition('/')[0]} {self.path}".encode()
        self.send_response(302 if self.path.startswith("/moved") else 200)
        self.send_header("Location", f"/elsewhere?{self.path.partition('?')[2]}")
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(HTTPServer(("127.0.0.1", 0), _Echo)) as url:
        yield url


Get = Callable[..., ApiResponse]


async def _in_a_running_loop(request: Coroutine[Any, Any, ApiResponse]) -> ApiResponse:
    return run_blocking(request)


RUN: dict[str, Callable[[Coroutine[Any, Any, ApiResponse]], ApiResponse]] = {
    "on a worker": run_blocking,
    "on a worker that runs an event loop": lambda request: asyncio.run(_in_a_running_loop(request)),
    "in a trigger": asyncio.run,
}


@pytest.fixture(params=RUN)
def get(request: pytest.FixtureRequest) -> Get:
    """Send a GET request with the token."""

    def get(url: str, path: str = "/", *, timeout: tuple[float, float] = (5.0, 5.0), **params: str) -> ApiResponse:
        return RUN[request.param](ApiClient(url, TOKEN, timeout, MAX_BYTES).get(path, params))

    return get


def test_a_request_carries_the_token_and_the_encoded_parameters(url: str, get: Get) -> None:
    answer = get(url, "/reports", utc_offset="+01:00", a="b c")
    assert answer == ApiResponse(
        200, f"Bearer {TOKEN} airflow-provider-adjust /reports?utc_offset=%2B01%3A00&a=b+c".encode(), "7"
    )


def test_a_redirect_is_not_followed(url: str, get: Get) -> None:
    answer = get(url, "/moved")
    assert answer.status == 302
    assert "/moved" in answer.text


def test_a_credential_of_netrc_does_not_replace_the_token(
    url: str, get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert requests.utils.get_netrc_auth(url) == ("somebody", "else")
    assert get(url).text.startswith(f"Bearer {TOKEN} ")


def test_the_proxy_of_the_environment_is_used(url: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url)
    assert get("http://api.adjust.test", "/device").text.endswith("http://api.adjust.test/device")


def test_a_request_to_this_machine_goes_through_no_proxy(url: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody listens there
    assert get(url).status == 200


def test_a_proxy_that_cannot_be_used_is_a_failure_like_any_other(
    url: str, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("ftp://127.0.0.1:9", "socks9://127.0.0.1:9", "http://127.0.0.1:port"):
        monkeypatch.setenv("all_proxy", proxy)
        with pytest.raises(ApiUnreachable, match=r"^\w+$"):
            get("http://api.adjust.test")


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that the libraries say, also after an Airflow in this process has set levels of its own."""
    for logger in ("", "httpx", "httpcore"):
        caplog.set_level("DEBUG", logger)
    return caplog


def test_no_log_shows_the_device_id_or_the_token(url: str, get: Get, debug_log: pytest.LogCaptureFixture) -> None:
    assert DEVICE in get(url, "/moved", advertising_id=DEVICE, app_token="4w565xzmb54d").text
    assert "/moved?***" in debug_log.text, "httpx must have logged the request"
    # It would log the headers of the response, and a hostile server could repeat the token in them.
    assert [record.name for record in debug_log.records if record.name.startswith("httpcore")] == []
    assert DEVICE not in debug_log.text
    assert TOKEN not in debug_log.text


@pytest.mark.parametrize("library", ["httpcore.http11", "httpx"])
def test_other_log_lines_of_the_libraries_are_unchanged(library: str, debug_log: pytest.LogCaptureFixture) -> None:
    logging.getLogger(library).info("%(count)d connections to /reports?%(query)s", {"count": 2, "query": "a=1"})
    assert debug_log.messages == ["2 connections to /reports?a=1"]


def test_a_long_answer_is_cut_packed_or_not(get: Get) -> None:
    packed = gzip.compress(bytes(100_000_000))
    assert len(packed) < MAX_BYTES
    heads = {
        b"": itertools.repeat(b"x" * 65_536),
        b"Content-Encoding: gzip\r\n": [packed],
        b"Content-Encoding: GZIP\r\nContent-Length: %d\r\n" % len(packed): [packed],
    }
    for head, body in heads.items():

        def script(connection: Connection, head: bytes = head, body: Iterable[bytes] = body) -> None:
            connection.read()
            connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
            for chunk in body:
                connection.send(chunk)

        with RawServer(script) as server:
            answer = get(server.url, "", timeout=(5.0, 60.0))
        assert answer.status == 200
        assert len(answer.body) == MAX_BYTES


def test_a_packed_answer_is_unpacked_once(get: Get) -> None:
    packed = gzip.compress(b"answer")
    damaged = b"\x1f\x8b\x08" + b"x" * 20
    answers = {b"gzip": (packed, b"answer"), b"gzip, gzip": (packed, packed), b"gzip ": (damaged, None)}
    for encoding, (sent, expected) in answers.items():

        def script(connection: Connection, encoding: bytes = encoding, sent: bytes = sent) -> None:
            connection.read()
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(sent))
            connection.send(head + sent)

        with RawServer(script) as server:
            if expected is None:
                with pytest.raises(ApiUnreachable, match=r"^DecodingError$"):
                    get(server.url, "")
            else:
                assert get(server.url, "").body == expected


def test_a_host_name_that_nobody_resolves_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stops the thread that resolves it, so nothing may wait for the thread."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(20) or [])
    started = time.monotonic()
    with pytest.raises(ApiUnreachable, match=r"^(ConnectTimeout|TimeoutError)$"):
        run_blocking(ApiClient("http://api.adjust.test", TOKEN, (0.1, 0.1)).get("/", {}))
    assert time.monotonic() - started < 10
    over.set()


def test_a_failure_names_its_type_alone(get: Get) -> None:
    with pytest.raises(ApiUnreachable, match=r"^Connect\w+$") as failure:
        get("http://127.0.0.1:9", "/device", advertising_id=DEVICE)
    assert failure.value.__cause__ is None
    assert TOKEN not in repr(ApiClient("http://127.0.0.1:9", TOKEN, (5.0, 5.0)))


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_that_requests_would_use_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    one = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    (tmp_path / "own.pem").write_text(one[0] + one[1] + "\n", encoding="utf-8")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert len(_trusted_authorities().get_ca_certs()) > 1
    monkeypatch.setenv(variable, str(tmp_path / "own.pem"))
    assert len(_trusted_authorities().get_ca_certs()) == 1


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_bundle_may_be_a_file_or_a_directory(
    kind: str, get: Get, tls: ssl.SSLContext, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(OK)

    bundle = {"file": certificate, "directory": tmp_path}[kind]
    shutil.copy(certificate, tmp_path / _name_in_a_directory(certificate))
    with RawServer(script, tls=tls) as server:
        with pytest.raises(ApiUnreachable):
            get(server.url, "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        assert get(server.url, "").status == 200


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "damaged"])
def test_a_bundle_that_cannot_be_read_is_a_failure_like_any_other(
    content: str | None, get: Get, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "own.pem"
    if content is not None:
        bundle.write_text(content, encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with RawServer(lambda connection: None, tls=tls) as server, pytest.raises(ApiUnreachable, match=r"^\w+Error$"):
        get(server.url, "")


def _name_in_a_directory(certificate: Path) -> str:
    """How OpenSSL finds it there: by the hash of its subject, without its outermost tag and length."""
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject.public_bytes()
    return f"{int.from_bytes(hashlib.sha1(subject[2:]).digest()[:4], 'little'):08x}.0"
