"""The sandbox answers programs on its machine, and no web page that is open in a browser there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import requests
from sandbox_event import EVENT
from table import table

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sandbox.gate import refusal

PATHS = (
    "/_sandbox/events",
    "/_sandbox/stats",
    "/reports-service/filters_data",
    "/device_service/api/v2/inspect_device",
)


@table(
    "host",
    [
        "evil.example",
        "evil.example:8099",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "evil.localhost",
        "localhost.",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::]",
        "[::1",
        "10.0.0.1",
        "127.0.0.1/",
        "127.0.0.1:port",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "localhost#evil.example",
        "l\u00f6calhost",
        "",
    ],
)
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    assert refusal([(b"host", host.encode())]) is not None


@table("host", ["127.0.0.1", "127.0.0.1:8099", "127.9.9.9", "localhost", "LOCALHOST:8099", "[::1]", "[::1]:8099"])
def test_this_machine_may_be_called_by_each_of_its_names(host: str) -> None:
    assert refusal([(b"host", host.encode())]) is None
    assert refusal([(b"host", host.encode()), (b"origin", b"http://" + host.encode())]) is None


def test_a_request_has_one_host() -> None:
    assert refusal([]) is not None
    assert refusal([(b"host", b"127.0.0.1"), (b"host", b"evil.example")]) is not None


def test_a_page_with_a_rebound_name_reads_and_changes_nothing(sandbox: SandboxServer) -> None:
    requests.post(f"{sandbox.url}/event", data=EVENT, timeout=5)
    rebound = {"Host": "evil.example"}
    for path in PATHS:
        answer = requests.get(f"{sandbox.url}{path}", headers=rebound, timeout=5)
        assert (answer.status_code, "Host header" in answer.text) == (403, True), path
        assert EVENT["gps_adid"] not in answer.text
    assert requests.delete(f"{sandbox.url}/_sandbox/events", headers=rebound, timeout=5).status_code == 403
    assert requests.post(f"{sandbox.url}/event", data=EVENT, headers=rebound, timeout=5).status_code == 403
    changed = requests.post(f"{sandbox.url}/_sandbox/config", json={"latency": 3600}, headers=rebound, timeout=5)
    assert changed.status_code == 403
    assert (sandbox.config.latency, sandbox.stats()["requests"], len(sandbox.events())) == (0, 1, 1)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_changes_nothing_blindly(sandbox: SandboxServer, headers: dict[str, str]) -> None:
    settings = json.dumps({"latency": 3600, "tokens": []})
    for kind in ("application/json", "text/plain"):
        answer = requests.post(
            f"{sandbox.url}/_sandbox/config", data=settings, headers={**headers, "Content-Type": kind}, timeout=5
        )
        assert answer.status_code == 403
    assert requests.delete(f"{sandbox.url}/_sandbox/events", headers=headers, timeout=5).status_code == 403
    assert requests.post(f"{sandbox.url}/event", data=EVENT, headers=headers, timeout=5).status_code == 403
    assert (sandbox.config.latency, sandbox.stats()["requests"]) == (0, 0)


@table("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"])
def test_settings_come_as_json_which_no_form_can_send(kind: str) -> None:
    with SandboxServer() as sandbox:
        answer = requests.post(
            f"{sandbox.url}/_sandbox/config", data=b'{"latency": 3600}', headers={"Content-Type": kind}, timeout=5
        )
        assert answer.status_code == 415
        assert sandbox.config.latency == 0


def test_a_browser_gets_no_cors_permission_for_another_site(sandbox: SandboxServer) -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = requests.options(f"{sandbox.url}/_sandbox/events", headers=preflight, timeout=5)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_the_sandbox_s_own_page_and_the_user_may_ask(sandbox: SandboxServer) -> None:
    own = {"Origin": sandbox.url, "Sec-Fetch-Site": "same-origin"}
    answer = requests.post(f"{sandbox.url}/_sandbox/config", json={"latency": 0.01}, headers=own, timeout=5)
    assert answer.status_code == 200
    assert requests.get(f"{sandbox.url}/_sandbox/stats", headers={"Sec-Fetch-Site": "none"}, timeout=5).ok


def test_two_hosts_in_one_request_are_not_taken_for_the_better_one(sandbox: SandboxServer) -> None:
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=5) as client:
        client.sendall(b"GET /_sandbox/events HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")
        assert client.recv(12) in {b"HTTP/1.1 403", b"HTTP/1.1 400"}


def test_tokens_of_the_environment_are_accepted_and_in_no_process_list() -> None:
    environment = {"ADJUST_SANDBOX_TOKEN": "T1, T2,", "ADJUST_SANDBOX_API_TOKEN": "A"}
    command = [sys.executable, "-m", "airflow_provider_adjust.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().split()[-1]

            def ask(path: str, token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                return requests.get(f"{url}{path}", headers=headers, timeout=5).status_code

            assert [ask("/event", token) for token in ("T1", "T2", "T3", "A")] == [400, 400, 401, 401]
            assert [ask("/reports-service/events", token) for token in ("A", "T1")] == [200, 401]
        finally:
            process.terminate()
