"""A call to a reading API: what is sent either way, and what is trusted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests

from airflow_provider_adjust.s2s.api_call import ApiAnswer, ApiCall, ApiUnreachable, _trusted_authorities

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
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=["on a worker", "in a trigger"])
def send(request: pytest.FixtureRequest) -> Send:
    if request.param == "on a worker":
        return lambda call: call.send()
    return lambda call: asyncio.run(call.asend())


def call(url: str, **params: str) -> ApiCall:
    return ApiCall(url, params, TOKEN, (1.0, 1.0))


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
