"""The sandbox's ``/ad_revenue``: its rules, its words, its place in the reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox_event import EVENT, NOW, Send

from airflow_provider_adjust.sandbox import SandboxConfig, SandboxServer

IMPRESSION = {name: value for name, value in EVENT.items() if name != "event_token"} | {
    "source": "publisher",
    "ad_impressions_count": "1",
    "revenue": "0.0000000042",
    "currency": "USD",
}
Answered = Callable[..., tuple[int, Any]]


@pytest.fixture
def answered(sandbox: SandboxServer) -> Answered:
    """What a correct impression with changes is answered."""

    def answered(token: str | None = None, **changes: Any) -> tuple[int, Any]:
        params = {name: value for name, value in {**IMPRESSION, **changes}.items() if value is not None}
        headers = {"Authorization": f"Bearer {token}"} if token else None
        answer = requests.post(f"{sandbox.url}/ad_revenue", data=params, headers=headers, timeout=5)
        return answer.status_code, answer.json()

    return answered


def _failed(message: str, app_token: str = EVENT["app_token"]) -> dict[str, str]:
    return {"error": f"Ad revenue request failed ({message}) (app_token:{app_token})"}


def test_what_is_accepted(answered: Answered, sandbox: SandboxServer) -> None:
    for changes in (
        {},
        {"revenue": "0"},
        {"revenue": None, "amount": "0.5"},
        {"created_at_unix": str(NOW - 28 * 86_400)},
        {"created_at_unix": str(NOW - 500)},  # earlier than the one before: there is no order
        {"ad_revenue_network": "applovin", "callback_params": '{"a": "b"}'},
    ):
        assert answered(**changes) == (200, {"status": "OK"})
    stats = sandbox.stats()
    assert (stats["by_endpoint"], stats["ad_revenue"], stats["revenue"]) == (
        {"ad_revenue": 6},
        {"USD": "0.5000000168"},
        {},
    )
    assert {each["endpoint"] for each in sandbox.events()} == {"ad_revenue"}
    assert stats["max_concurrent_per_lane"] == 0


def test_what_is_refused(answered: Answered) -> None:
    for changes, status, message in (
        ({"source": None}, 400, "bad event state: source is not publisher"),
        ({"source": "applovin"}, 400, "bad event state: source is not publisher"),
        ({"ad_impressions_count": None}, 400, "bad event state: ad_impressions_count is not a whole number"),
        ({"ad_impressions_count": "1.0"}, 400, "bad event state: ad_impressions_count is not a whole number"),
        ({"revenue": None}, 400, "invalid revenue"),
        ({"amount": "1"}, 400, "invalid revenue"),
        ({"currency": None}, 400, "invalid revenue"),
        ({"revenue": "4.2E-9"}, 400, "invalid revenue"),
        ({"created_at_unix": str(NOW - 28 * 86_400 - 1)}, 400, "bad event state: created_at older than 28 days"),
        ({"gps_adid": None}, 400, "bad event state: no device id"),
        ({"s2s": None}, 400, "bad event state: parameter s2s=1 is missing"),
    ):
        assert answered(**changes) == (status, _failed(message))


def test_tokens_are_enforced_by_endpoint_and_have_scopes(
    answered: Answered, sandbox: SandboxServer, send: Send
) -> None:
    sandbox.configure(tokens=["all", "events"], token_scopes={"events": ["event"]})
    assert answered("all")[0] == 200
    assert answered("events") == (401, _failed("session failed"))
    assert answered("wrong") == (401, _failed("failed to authorize request"))
    assert send(headers={"Authorization": "Bearer events"}).status_code == 200
    sandbox.configure(open_endpoints=["ad_revenue"])
    assert answered("wrong")[0] == 200
    assert send(headers={"Authorization": "Bearer wrong"}).status_code == 401
    for setting, wrong in (("token_scopes", ["events"]), ("token_scopes", {"a": "event"}), ("open_endpoints", "event")):
        with pytest.raises(TypeError, match=setting):
            SandboxConfig(**{setting: wrong})  # type: ignore[arg-type]


def test_reports_show_it_apart_from_events(answered: Answered, sandbox: SandboxServer, send: Send) -> None:
    answered(environment="sandbox")
    answered(environment="sandbox", revenue=None, amount="1.5")
    send(environment="sandbox", revenue="7", currency="USD")
    query = {
        "dimensions": "day",
        "metrics": "events,revenue,ad_revenue,all_revenue",
        "date_period": "2023-11-14:2023-11-14",
        "sandbox": "true",
    }
    [row] = requests.get(f"{sandbox.url}/reports-service/report", params=query, timeout=5).json()["rows"]
    assert (row["events"], row["revenue"], row["ad_revenue"], row["all_revenue"]) == (
        "1",
        "7",
        "1.5000000042",
        "8.5000000042",
    )
    known = requests.get(f"{sandbox.url}/reports-service/events", timeout=5).json()
    assert [each["tokens"] for each in known] == [["f0ob4r"]]
    device = {"advertising_id": "device-1", "app_token": EVENT["app_token"]}
    seen = requests.get(f"{sandbox.url}/device_service/api/v2/inspect_device", params=device, timeout=5).json()
    assert list(seen["LastEventsInfo"]) == ["f0ob4r"]  # the Device API knows events only
