"""The stand-in erases devices as Adjust documents it, and refuses their events from then on."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sandbox.sandbox_event import EVENT_OF_NOW, NOW

from airflow_provider_adjust.sandbox import SandboxServer

ASKED = {"s2s": "1", "app_token": EVENT_OF_NOW["app_token"], "gps_adid": "device-1", "environment": "production"}


def ask(sandbox: SandboxServer, token: str | None = None, **changes: Any) -> requests.Response:
    params = {name: value for name, value in (ASKED | changes).items() if value is not None}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.post(f"{sandbox.url}/gdpr_forget_device", params=params, headers=headers, timeout=5)


def send(sandbox: SandboxServer, **changes: Any) -> int:
    return requests.post(f"{sandbox.url}/event", data=EVENT_OF_NOW | changes, timeout=5).status_code


def test_events_of_an_erased_device_are_answered_451() -> None:
    with SandboxServer() as sandbox:
        assert send(sandbox) == 200
        assert ask(sandbox).json() == {"status": "OK"}
        assert ask(sandbox).status_code == 200, "it may be asked again"
        assert (send(sandbox), send(sandbox, gps_adid="device-2")) == (451, 200)
        assert send(sandbox, environment="sandbox") == 200, "each environment has devices of its own"
        assert sandbox.erasures() == [ASKED, ASKED]
        stats = sandbox.stats()
        assert (stats["erasure_requests"], stats["erased"]) == (2, 1)
        sandbox.reset()
        assert send(sandbox) == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"s2s": None}, 400),
        ({"app_token": None}, 400),
        ({"app_token": "unknown"}, 400),
        ({"gps_adid": None}, 400),
        ({"gps_adid": None, "oaid": "o"}, 400),
        ({"idfa": "two ids"}, 400),
        ({"gps_adid": "no device"}, 400),
        ({"gps_adid": "gone"}, 451),
        ({"token": "wrong"}, 401),
    ],
)
def test_what_is_wrong_is_refused(changes: dict[str, Any], status: int) -> None:
    apps = [EVENT_OF_NOW["app_token"]]
    with SandboxServer(tokens=["T"], app_tokens=apps, opted_out_devices=["gone"]) as sandbox:
        answer = ask(sandbox, **{"token": "T"} | changes)
        assert answer.status_code == status
        assert "Forget device failed" in answer.json()["error"]
        assert sandbox.stats()["erased"] == 0


def test_more_than_ten_in_a_minute_are_answered_429() -> None:
    now = [float(NOW)]
    with SandboxServer(clock=lambda: now[0], retry_after=7) as sandbox:
        assert {ask(sandbox, gps_adid=f"d{number}").status_code for number in range(10)} == {200}
        answer = ask(sandbox)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        now[0] += 61
        assert ask(sandbox).status_code == 200
        sandbox.configure(erasures_per_minute=1, retry_after=None)
        assert "Retry-After" not in ask(sandbox).headers
