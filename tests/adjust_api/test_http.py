"""A call to a reading API: what is sent either way, and what is trusted."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
from cryptography import x509
from s2s.raw_server import OK, Connection, RawServer
from serving import serving

from airflow_provider_adjust.adjust_api.http import ApiAnswer, ApiCall, ApiUnreachable, _trusted_authorities

TOKEN, DEVICE = "api-token-of-the-test", "660e1d86-6796-463a-be86-897993136018"
Send = Callable[[ApiCall], ApiAnswer]


class _Echo(BaseHTTPRequestHandler):
    """Answers with the credential and the path that it was sent."""

    def do_GET(self) -> None:
        body = f"{self.headers['Authorization']} {self.headers['User-Agent'].partition('/')[0]} {self.path}".encode()
        self.send_response(302 if self.path.startswith("/moved") else 200)
        self.send_header("Location", "/elsewhere")
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


@pytest.fixture(params=["on a worker", "in a trigger"])
def send(request: pytest.FixtureRequest) -> Send:
    if request.param == "on a worker":
        return lambda call: call.send()
    return lambda call: asyncio.run(call.asend())


def call(url: str, **params: str) -> ApiCall:
    return ApiCall(url, params, TOKEN, (5.0, 5.0))


def test_both_ways_send_the_same_request(url: str, send: Send) -> None:
    answer = send(call(f"{url}/reports", utc_offset="+01:00", a="b c"))
    assert answer == ApiAnswer(
        200, f"Bearer {TOKEN} airflow-provider-adjust /reports?utc_offset=%2B01%3A00&a=b+c".encode(), "7"
    )


def test_a_redirect_is_not_followed(url: str, send: Send) -> None:
    answer = send(call(f"{url}/moved"))
    assert answer.status == 302
    assert "/moved" in answer.text


def test_no_credential_of_netrc_takes_the_tokens_place(
    url: str, send: Send, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert requests.utils.get_netrc_auth(url) == ("somebody", "else")
    assert send(call(url)).text.startswith(f"Bearer {TOKEN} ")


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that the libraries say, also after an Airflow in this process has set levels of its own."""
    for logger in ("", "httpx", "urllib3"):
        caplog.set_level("DEBUG", logger)
    return caplog


def test_no_log_shows_the_device_that_is_asked_for(url: str, send: Send, debug_log: pytest.LogCaptureFixture) -> None:
    assert DEVICE in send(call(f"{url}/device", advertising_id=DEVICE, app_token="4w565xzmb54d")).text
    assert "/device?***" in debug_log.text, "the request must have been logged by what sends it"
    assert DEVICE not in debug_log.text
    assert TOKEN not in debug_log.text


@pytest.mark.parametrize("library", ["urllib3.connectionpool", "httpx"])
def test_what_else_the_libraries_log_is_left_as_it_is(library: str, debug_log: pytest.LogCaptureFixture) -> None:
    logging.getLogger(library).info("%(count)d connections to /reports?%(query)s", {"count": 2, "query": "a=1"})
    assert debug_log.messages == ["2 connections to /reports?a=1"]


def test_a_long_answer_is_cut(send: Send) -> None:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.send(b"x" * 65_536)

    with RawServer(script) as server:
        answer = send(ApiCall(server.url, {}, TOKEN, (5.0, 60.0), most_bytes=100_000))
    assert answer.status == 200
    assert 100_000 < len(answer.body) <= 100_000 + 65_536


def test_a_failure_names_its_kind_alone(send: Send) -> None:
    lost = call("http://127.0.0.1:9/device", advertising_id=DEVICE)
    with pytest.raises(ApiUnreachable, match=r"^Connect\w+$|^ConnectionError$") as failure:
        send(lost)
    assert failure.value.__cause__ is None
    assert DEVICE not in repr(lost)
    assert TOKEN not in repr(lost)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_triggers_trust_the_authorities_that_workers_trust(
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
def test_a_bundle_of_the_worker_is_trusted_either_way(
    kind: str, send: Send, tls: ssl.SSLContext, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(OK)

    bundle = {"file": certificate, "directory": tmp_path}[kind]
    shutil.copy(certificate, tmp_path / _name_in_a_directory(certificate))
    with RawServer(script, tls=tls) as server:
        with pytest.raises(ApiUnreachable):
            send(call(server.url))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        assert send(call(server.url)).status == 200


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "damaged"])
def test_a_bundle_that_cannot_be_read_is_a_failure_like_any_other(
    content: str | None, send: Send, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "own.pem"
    if content is not None:
        bundle.write_text(content, encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with RawServer(lambda connection: None, tls=tls) as server, pytest.raises(ApiUnreachable, match=r"^\w+Error$"):
        send(call(server.url))


def _name_in_a_directory(certificate: Path) -> str:
    """How OpenSSL finds it there: by the hash of its subject, whose outermost tag and length do not count."""
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject.public_bytes()
    return f"{int.from_bytes(hashlib.sha1(subject[2:]).digest()[:4], 'little'):08x}.0"
