"""The counters and events of a sandbox, in Python and over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sandbox_event import NOW, Send

from airflow_provider_adjust.sandbox import SandboxServer

KEYS = {
    "requests", "recorded", "by_status", "by_error", "revenue", "revenue_by_token", "order_violations", "repeated",
    "repeated_event_ids", "faults", "abandoned", "redirects_followed", "max_concurrent", "max_concurrent_per_lane",
    "ad_revenue", "by_endpoint",
    "erasure_requests", "erased",
}  # fmt: skip


def test_revenue_is_summed_exactly(sandbox: SandboxServer, send: Send) -> None:
    for revenue, currency, token in [("0.1", "USD", "a"), ("0.2", "usd", "a"), ("5", "EUR", "a"), ("7.5", "USD", "b")]:
        send(revenue=revenue, currency=currency, event_token=token)
    stats = sandbox.stats()
    assert stats.keys() == KEYS
    assert stats["revenue"] == {"EUR": "5", "USD": "7.8"}
    assert stats["revenue_by_token"] == {"4w565xzmb54d": {"a": {"EUR": "5", "USD": "0.3"}, "b": {"USD": "7.5"}}}


def test_repetitions_are_counted_by_content_and_by_event_id(sandbox: SandboxServer, send: Send) -> None:
    send(callback_params='{"event_id": "1"}')
    send(callback_params='{"event_id": "1"}')
    send(callback_params='{"event_id": "1", "attempt": "2"}')
    send(callback_params='{"event_id": "2"}')
    stats = sandbox.stats()
    assert (stats["recorded"], stats["repeated"], stats["repeated_event_ids"]) == (4, 1, 2)


@pytest.mark.parametrize(("devices", "deepest"), [(["a", "b", "c"], 1), (["a", "a", "c"], 2), (["a", "a", "a"], 3)])
def test_concurrent_requests_are_counted_per_lane(
    sandbox: SandboxServer, send: Send, devices: list[str], deepest: int
) -> None:
    sandbox.configure(latency=0.2)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda device: send(gps_adid=device), devices))
    stats = sandbox.stats()
    assert (stats["max_concurrent"], stats["max_concurrent_per_lane"]) == (3, deepest)


def test_a_retry_after_a_timeout_is_not_concurrent(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(fault_plan=["stall_after"])
    with pytest.raises(requests.exceptions.ReadTimeout):
        send(timeout=0.05)
    send()
    stats = sandbox.stats()
    assert (stats["recorded"], stats["repeated"], stats["max_concurrent_per_lane"]) == (2, 1, 1)


def test_events_are_returned_in_pages(sandbox: SandboxServer, send: Send) -> None:
    for number in range(5):
        send(gps_adid=f"device-{number}")

    def ids(events: list[dict[str, Any]]) -> list[str]:
        return [event["params"]["gps_adid"].removeprefix("device-") for event in events]

    def page(query: str) -> list[dict[str, Any]]:
        return list(requests.get(f"{sandbox.url}/_sandbox/events{query}", timeout=5).json())

    assert page("")[0]["received_at"] == NOW
    for offset, limit, expected in [(0, None, "01234"), (3, None, "34"), (1, 2, "12"), (4, 9, "4"), (9, 1, "")]:
        query = f"?offset={offset}" + ("" if limit is None else f"&limit={limit}")
        assert ids(sandbox.events(offset, limit)) == ids(page(query)) == list(expected)
    assert requests.get(f"{sandbox.url}/_sandbox/events?limit=all", timeout=5).status_code == 400


def test_without_kept_events_the_counters_still_count(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(keep_events=False)
    send()
    send(created_at_unix=str(NOW - 61))
    stats = sandbox.stats()
    assert (stats["recorded"], stats["order_violations"], sandbox.events()) == (1, 1, [])


def test_delete_removes_the_records_and_keeps_the_settings(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(unknown_devices=["device-9"])
    send()
    assert requests.delete(f"{sandbox.url}/_sandbox/events", timeout=5).json() == {"status": "OK"}
    assert (sandbox.events(), sandbox.stats()["requests"]) == ([], 0)
    assert send(created_at_unix=str(NOW - 99)).status_code == 200, "last times are forgotten too"
    assert send(gps_adid="device-9").status_code == 404
    assert requests.get(f"{sandbox.url}/_sandbox/stats", timeout=5).json() == sandbox.stats()


def test_settings_can_be_changed_over_http(sandbox: SandboxServer, send: Send) -> None:
    answer = requests.post(f"{sandbox.url}/_sandbox/config", json={"tokens": ["T"], "retry_after": 2}, timeout=5)
    assert answer.json() == {"status": "OK"}
    assert send().status_code == 401
    assert sandbox.config.retry_after == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"token": ["T"]}', "unknown setting token"),
        (b'{"tokens": "T"}', "tokens must be a list of texts"),
        (b'{"latency": -1}', "latency must be between"),
        (b'{"latency": true}', "latency must be a number"),
        (b'{"enforce": 1}', "enforce must be true or false"),
        (b'{"fault_plan": "503"}', "fault_plan must be a list"),
        (b'{"clock": 0}', "clock"),
        (b"[]", "one JSON object"),
        (b"{", "Expecting"),
    ],
)
def test_an_invalid_setting_is_refused_and_changes_nothing(sandbox: SandboxServer, body: bytes, message: str) -> None:
    before = sandbox.config
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    answer = requests.post(f"{sandbox.url}/_sandbox/config", data=body, headers=json_type, timeout=5)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert sandbox.config == before
