"""What libcurl would do otherwise than requests, held against requests: proxies, certificates, schemes, URLs, processes."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import make_certificate, shown_by_a_server
from raw_server import OK, Connection, RawServer

from airflow_provider_adjust.s2s.transports import Completion, Failure, Target
from airflow_provider_adjust.s2s.transports.curl import CurlTransport
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport

KINDS = (RequestsTransport, CurlTransport)
Post = Callable[[str], Completion]


def _post_with(kind: type[RequestsTransport] | type[CurlTransport], url: str) -> Completion:
    transport = kind(max_in_flight=1, timeout=(5.0, 5.0))
    transport.submit("key", Target(url, "token-of-s2s"), "a=1")
    [completion] = transport.poll(10)
    transport.close()
    return completion


@pytest.fixture(params=KINDS)
def post(request: pytest.FixtureRequest) -> Post:
    return lambda url: _post_with(request.param, url)


def _answer(connection: Connection) -> None:
    while connection.read():
        connection.send(OK)


@pytest.fixture
def to_any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("to_any_host")
def test_a_proxy_behind_tls_is_trusted_as_the_endpoint_is(
    post: Post, certificate: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(_answer, tls=tls) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/event"))
        assert post("http://s2s.adjust.test/event").failure is not None, "nobody trusts its certificate"
        assert proxy.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert post("http://s2s.adjust.test/event").status == 200
    assert proxy.requests[0].line == "POST http://s2s.adjust.test/event HTTP/1.1"


@pytest.mark.usefixtures("to_any_host")
def test_a_proxy_to_a_tls_endpoint_sees_no_token(post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_endpoint = make_certificate(tmp_path / "endpoint.pem", address="192.0.2.1")
    seen: list[str] = []

    def tunnel(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = shown_by_a_server(of_the_endpoint).wrap_socket(connection._socket, server_side=True)
        with inner:
            endpoint = Connection(inner)
            request = endpoint.read()
            assert request is not None
            seen.append(request.headers["authorization"])
            endpoint.send(OK)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(of_the_endpoint))
    with RawServer(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("http://", "http://somebody:else@").removesuffix("/event"))
        assert post("https://192.0.2.1/event").status == 200
    [connect] = proxy.requests
    assert connect.line.startswith("CONNECT 192.0.2.1:443 HTTP/1.")
    assert connect.headers["proxy-authorization"] == "Basic c29tZWJvZHk6ZWxzZQ=="
    assert "authorization" not in connect.headers
    assert seen == ["Bearer token-of-s2s"]


def test_a_folder_of_authorities_is_taken_as_a_file_of_them_is(
    post: Post, certificate: Path, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    number = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with RawServer(_answer, tls=tls) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
        assert post(server.url).failure is Failure.TLS
        (tmp_path / f"{number}.0").write_bytes(certificate.read_bytes())
        assert post(server.url).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_server_of_old_tls_is_refused(post: Post, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = shown_by_a_server(certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(_answer, tls=old) as server:
        assert post(server.url).failure is Failure.NOT_SENT
    assert server.requests == []


def test_nothing_but_http_is_spoken(post: Post, tmp_path: Path) -> None:
    (tmp_path / "event").write_text('{"status": "OK"}')
    with RawServer(_answer) as server:
        for url in (
            f"file://{tmp_path}/event",
            server.url.replace("http:", "ftp:"),
            server.url.replace("http:", "ws:"),
        ):
            completion = post(url)
            assert (completion.failure, completion.status, completion.body) == (Failure.NOT_SENT, None, b"")
    assert server.connections == 0


def test_both_ask_for_the_same_url() -> None:
    with RawServer(_answer) as server:
        for path in ("/event", "/a b/%7Ex?y=ü&z=%20", "/a/../event", "//event", "/event#part", "?only=query"):
            base = server.url.removesuffix("/event")
            assert [_post_with(kind, base + path).status for kind in KINDS] == [200, 200]
            first, second = server.requests[-2:]
            assert first.line == second.line
            assert first.headers == second.headers


#: Airflow forks a process for each task, and so may what a task calls.
IN_TWO_PROCESSES = """
import os, sys
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.choice import open_transport

target = Target(sys.argv[2], "token")

def opened():
    return open_transport(sys.argv[1], max_in_flight=2, timeout=(5.0, 5.0))

def send(transport, key):
    transport.submit(key, target, f"from={key}")
    [completion] = transport.poll(10)
    assert (completion.key, completion.status) == (key, 200), completion

before = opened()
send(before, "parent-1")
child = os.fork()
if not child:
    own = opened()
    for number in range(3):
        send(own, f"child-{number}")
    own.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
send(before, "parent-2")
before.close()
"""


@pytest.mark.parametrize("name", ["requests", "curl"])
def test_a_forked_process_sends_for_itself_and_disturbs_no_other(
    name: str, certificate: Path, tls: ssl.SSLContext
) -> None:
    with RawServer(_answer, tls=tls) as server:
        command = [sys.executable, "-c", IN_TWO_PROCESSES, name, server.url]
        env = {**os.environ, "REQUESTS_CA_BUNDLE": str(certificate)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    bodies = [request.body for request in server.requests]
    assert bodies == [b"from=parent-1", *(b"from=child-%d" % number for number in range(3)), b"from=parent-2"]
    assert server.connections == 2, "the parent's connection is still its own"


# --- libcurl alone ----------------------------------------------------------------------------------------------------


@contextmanager
def _answering_all_together(wanted: int) -> Iterator[str]:
    """A server that answers once so many requests are waiting; yields its URL."""
    loop, waiting = asyncio.new_event_loop(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):  # a small request comes in one piece
            waiting.append(writer)
            if len(waiting) == wanted:
                for each in waiting:
                    each.write(OK)
                waiting.clear()

    listener = socket.create_server(("127.0.0.1", 0), backlog=wanted)
    server = loop.run_until_complete(asyncio.start_server(serve, sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/event"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_where_few_files_may_be_open_half_of_them_are_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which allows 256."""
    for most in (256, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (most, resource.RLIM_INFINITY))
        with _answering_all_together(32) as url:
            transport = CurlTransport(max_in_flight=32, timeout=(5.0, 5.0))
            for number in range(32):
                transport.submit(number, Target(url), "a=1")
            statuses: list[int | None] = []
            while len(statuses) < 32:
                statuses += [completion.status for completion in transport.poll(None)]
            assert statuses == [200] * 32
            transport.close()


def test_more_requests_are_in_flight_than_select_can_see() -> None:
    many = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * many:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * many), hard))
    try:
        with _answering_all_together(many) as url:
            transport = CurlTransport(max_in_flight=many, timeout=(10.0, 20.0))
            target = Target(url)
            for _ in range(2):
                for number in range(many):
                    transport.submit(number, target, "a=1")
                statuses = []
                while len(statuses) < many:
                    found = transport.poll(20)
                    assert found, "an answer did not come in time"
                    statuses += [completion.status for completion in found]
                assert statuses == [200] * many
            transport.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_connections_are_opened_than_the_process_may_have_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
    with RawServer(_answer) as server:
        transport = CurlTransport(max_in_flight=16, timeout=(5.0, 5.0))
        for number in range(16):
            transport.submit(number, Target(server.url), "a=1")
        statuses = []
        while len(statuses) < 16:
            statuses += [completion.status for completion in transport.poll(10)]
        transport.close()
    assert statuses == [200] * 16
    assert server.connections <= 2, "the others wait for one of them"
