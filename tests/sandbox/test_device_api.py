"""The Device API: the last event per token of one device."""

from __future__ import annotations

import pytest
import requests
from sandbox_event import Send

from airflow_provider_adjust.sandbox import SandboxServer

QUERY = {"advertising_id": "device-1", "app_token": "4w565xzmb54d"}


def inspect(sandbox: SandboxServer, token: str | None = None, **changes: str) -> requests.Response:
    return requests.get(
        f"{sandbox.url}/device_service/api/v2/inspect_device",
        params={**QUERY, **changes},
        headers={"Authorization": f"Bearer {token}"} if token else None,
        timeout=5,
    )


def test_the_last_event_of_each_token_is_returned(sandbox: SandboxServer, send: Send) -> None:
    send(created_at_unix="1699999000")
    send(created_at_unix="1699999900")
    send(event_token="other", created_at_unix="1699999000")
    send(event_token="elsewhere", app_token="another")
    send(event_token="refused", s2s="0")
    body = inspect(sandbox).json()
    assert (body["AdvertisingId"], body["State"]) == ("device-1", "installed")
    assert body["LastEventsInfo"] == {
        "f0ob4r": {"name": "f0ob4r", "time": "2023-11-14T22:11:40Z"},
        "other": {"name": "other", "time": "2023-11-14T21:56:40Z"},
    }


def test_a_device_without_events_exists(sandbox: SandboxServer) -> None:
    answer = inspect(sandbox)
    assert (answer.status_code, answer.json()["LastEventsInfo"]) == (200, {})


@pytest.mark.parametrize(
    ("settings", "changes", "status", "error"),
    [
        ({"unknown_devices": ["device-1"]}, {}, 404, "Device not found"),
        ({"unknown_share": 1.0}, {}, 404, "Device not found"),
        ({"app_tokens": ["other"]}, {}, 404, "App token not found"),
        ({}, {"advertising_id": ""}, 400, "advertising_id and app_token are required"),
        ({}, {"app_token": ""}, 400, "advertising_id and app_token are required"),
    ],
)
def test_refusals(
    sandbox: SandboxServer, settings: dict[str, object], changes: dict[str, str], status: int, error: str
) -> None:
    sandbox.configure(**settings)
    answer = inspect(sandbox, **changes)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.mark.parametrize(("token", "status"), [("A", 200), ("T", 401), (None, 401)])
def test_the_api_token_is_required_and_not_the_security_token(
    sandbox: SandboxServer, token: str | None, status: int
) -> None:
    sandbox.configure(api_tokens=["A"], tokens=["T"])
    assert inspect(sandbox, token).status_code == status
