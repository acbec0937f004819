"""Each fault as a sender sees it, and whether the event is recorded."""

from __future__ import annotations

import socket

import pytest
import requests
from sandbox_event import EVENT, Send

from airflow_provider_adjust.sandbox import SandboxConfig, SandboxServer

Exceptions = requests.exceptions


@pytest.mark.parametrize(
    ("kind", "recorded", "error", "cause"),
    [
        ("reset_before", 0, Exceptions.ConnectionError, "ConnectionResetError"),
        ("reset_after", 1, Exceptions.ConnectionError, "ConnectionResetError"),
        ("stall_before", 0, Exceptions.ConnectionError, "RemoteDisconnected"),
        ("stall_after", 1, Exceptions.ConnectionError, "RemoteDisconnected"),
        ("stall", 1, Exceptions.ConnectionError, "RemoteDisconnected"),
        ("truncate", 1, Exceptions.ChunkedEncodingError, "IncompleteRead"),
        ("truncate_before", 0, Exceptions.ChunkedEncodingError, "IncompleteRead"),
        ("proxy_truncated", 1, Exceptions.ChunkedEncodingError, "IncompleteRead"),
    ],
)
def test_a_broken_connection(
    sandbox: SandboxServer, send: Send, kind: str, recorded: int, error: type[Exception], cause: str
) -> None:
    sandbox.configure(fault_plan=[kind], stall_seconds=0.05)
    with pytest.raises(error, match=cause):
        send()
    stats = sandbox.stats()
    assert (stats["requests"], stats["recorded"]) == (1, recorded)
    assert stats["faults"] == {"stall_after" if kind == "stall" else kind: 1}
    assert stats["by_status"] == {}, "only a whole answer has a status"
    assert send().status_code == 200, "the server survives"


@pytest.mark.parametrize("kind", ["reset_before", "stall_before", "truncate"])
def test_a_broken_connection_is_not_logged_as_an_error(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with SandboxServer(fault_plan=[kind], stall_seconds=0.05) as server, pytest.raises(Exceptions.RequestException):
        requests.get(f"{server.url}/event", params=EVENT, timeout=5)
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("uvicorn", "asyncio"))] == []


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("429", 429, '{"error": "Event request failed (Too many requests)"}'),
        ("500", 500, '{"error": "Event request failed (Internal error, contact support@adjust.com)"}'),
        ("503", 503, '{"error": "Event request failed (Service unavailable)"}'),
        ("418", 418, '{"error": "Event request failed (Injected fault)"}'),
        ("599", 599, '{"error": "Event request failed (Injected fault)"}'),
    ],
)
def test_a_status_records_nothing(sandbox: SandboxServer, send: Send, kind: str, status: int, body: str) -> None:
    sandbox.configure(fault_plan=[kind])
    answer = send()
    assert (answer.status_code, answer.text, "Retry-After" in answer.headers) == (status, body, False)
    stats = sandbox.stats()
    assert (stats["recorded"], stats["by_status"], stats["faults"]) == (0, {kind: 1}, {kind: 1})


def test_only_429_and_503_have_a_retry_after_header(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(fault_plan=["429", "500", "503"], retry_after=7)
    assert [send().headers.get("Retry-After") for _ in range(3)] == ["7", None, "7"]


def test_a_slow_answer_is_late_and_complete(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(fault_plan=["slow"], slow_seconds=0.1)
    answer = send()
    assert (answer.json(), sandbox.stats()["recorded"]) == ({"status": "OK"}, 1)
    assert answer.elapsed.total_seconds() >= 0.1


def test_every_request_has_the_latency(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(latency=0.1)
    assert send().elapsed.total_seconds() >= 0.1


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "words", "recorded"),
    [
        ("html", 502, "text/html", "<h1>502 Bad Gateway</h1>", 0),
        ("firewall", 403, "text/html; charset=utf-8", "<h1>Access denied</h1>", 0),
        ("gateway_403", 403, "application/json", '{"message": "Forbidden"}', 0),
        ("gateway_404", 404, "application/json", '{"message": "no Route matched', 0),
        ("portal", 200, "text/html; charset=utf-8", "Sign in to use this network", 0),
        ("portal_redirect", 302, "text/html; charset=utf-8", "Sign in to use this network", 0),
        ("proxy_502", 502, "text/html", "<h1>502 Bad Gateway</h1>", 1),
        ("proxy_504", 504, "text/html; charset=utf-8", "<h1>504 Gateway Timeout</h1>", 1),
    ],
)
def test_what_answers_in_adjusts_place(
    sandbox: SandboxServer, send: Send, kind: str, status: int, content_type: str, words: str, recorded: int
) -> None:
    sandbox.configure(fault_plan=[kind])
    answer = send()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, content_type)
    assert words in answer.text
    stats = sandbox.stats()
    assert (stats["recorded"], stats["faults"]) == (recorded, {kind: 1})


@pytest.mark.parametrize(("kind", "status"), [("redirect", 307), ("portal_redirect", 302)])
def test_a_sender_that_follows_a_redirect_loses_its_event(
    sandbox: SandboxServer, send: Send, kind: str, status: int
) -> None:
    sandbox.configure(fault_plan=[kind, kind])
    assert send().status_code == status
    assert sandbox.stats()["redirects_followed"] == 0
    assert requests.post(f"{sandbox.url}/event", data=EVENT, timeout=5).json() == {"status": "OK"}
    stats = sandbox.stats()
    assert (stats["redirects_followed"], stats["recorded"], stats["by_status"]) == (1, 0, {str(status): 2})


@pytest.mark.parametrize(
    ("settings", "recorded"),
    [
        ({"latency": 30}, 1),
        ({"fault_plan": ["slow"], "slow_seconds": 30}, 1),
        ({"fault_plan": ["stall_after"]}, 1),
        ({"fault_plan": ["stall_before"]}, 0),
    ],
)
def test_a_client_that_gives_up_is_counted_and_its_event_may_be_recorded(
    sandbox: SandboxServer, send: Send, settings: dict[str, object], recorded: int
) -> None:
    sandbox.configure(**settings)
    with pytest.raises(Exceptions.ReadTimeout):
        send(timeout=0.05)
    wait_for(sandbox, "abandoned", 1)
    assert sandbox.stats()["recorded"] == recorded


def test_a_client_that_leaves_before_the_end_of_its_request(sandbox: SandboxServer) -> None:
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /event HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ns2s=1")
    stats = wait_for(sandbox, "abandoned", 1)
    assert (stats["requests"], stats["recorded"]) == (1, 0)


def test_a_seed_repeats_its_faults(sandbox: SandboxServer, send: Send) -> None:
    def statuses(seed: int) -> list[int]:
        sandbox.configure(faults="503=0.3,429=0.2", seed=seed)
        return [send().status_code for _ in range(60)]

    first = statuses(seed=1)
    assert first == statuses(seed=1)
    assert first != statuses(seed=2)
    assert 8 <= first.count(503) <= 30
    statuses(seed=1)
    sandbox.reset()
    assert [send().status_code for _ in range(60)] == first


def test_a_plan_comes_first_applies_once_and_is_dropped_by_reset(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(fault_plan=["503", None, "429"])
    assert [send().status_code for _ in range(2)] == [503, 200]
    sandbox.configure(faults={"500": 1.0})
    assert [send().status_code for _ in range(2)] == [429, 500], "other settings leave the plan"
    sandbox.configure(fault_plan=["503"])
    sandbox.reset()
    assert send().status_code == 500


def test_a_sandbox_starts_with_its_plan() -> None:
    with SandboxServer(fault_plan=["503"]) as server:
        assert requests.get(f"{server.url}/event", params=EVENT, timeout=5).status_code == 503


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("503", "kind=share"),
        ("200=0.1", "unknown fault '200'"),
        ("explode=0.1", "unknown fault 'explode'"),
        ("503=often", "must be a number"),
        ("503=1.5", "from 0 to 1"),
        ("503=0.6,429=0.6", "exceed 1"),
    ],
)
def test_invalid_faults_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SandboxConfig(faults=spec)


def wait_for(sandbox: SandboxServer, counter: str, value: int) -> dict[str, object]:
    """Return the counters once one has a value: the server learns with a delay that a client left."""
    for _ in range(10_000):
        if (stats := sandbox.stats())[counter] == value:
            return stats
    raise AssertionError(f"{counter} is {stats[counter]}, not {value}")
