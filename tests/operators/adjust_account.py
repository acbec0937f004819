"""What tests that send have in common: an account at a local stand-in for Adjust, purchases, and what must stay secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from airflow_provider_adjust.sandbox import SandboxServer

APP_TOKEN = "4w565xzmb54d"
EVENT_TOKEN = "f0ob4r"
S2S_TOKEN = "s2sTokenThatNobodyMaySee"
#: An event may be 58 days old at most, so no date can be written down here. Yesterday's first purchase:
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)

#: Every device id of `device`, and whatever else a purchase says of a person, holds one of these.
_DEVICE_MARK = "de71ce00-0000-4000-8000-"
IP_ADDRESS = "203.0.113.77"
USER_AGENT = "AgentOfOnePerson/1.0"
_SECRETS = (S2S_TOKEN, APP_TOKEN, _DEVICE_MARK, _DEVICE_MARK.replace("-", ""), IP_ADDRESS, USER_AGENT)

Connect = Callable[..., None]


def device(number: int) -> str:
    return f"{_DEVICE_MARK}{number:012x}"


def purchase(number: int, **changes: Any) -> dict[str, Any]:
    """The purchase of a device of its own, `number` seconds after `START`, as JSON would have it."""
    row = {
        "order_id": f"o-{number}",
        "gps_adid": device(number),
        "created_at": (START + timedelta(seconds=number)).isoformat(),
        "revenue": "1.25",
        "currency": "EUR",
        "ip_address": IP_ADDRESS,
        "user_agent": USER_AGENT,
    }
    return {name: value for name, value in (row | changes).items() if value is not ...}


def reveals(text: object) -> list[str]:
    """The secrets that a text gives away."""
    return [secret for secret in _SECRETS if secret.lower() in str(text).lower()]


def recorded(sandbox: SandboxServer, name: str = "gps_adid") -> list[str | None]:
    """One parameter of every event that the stand-in recorded, in order of receipt."""
    return [event["params"].get(name) for event in sandbox.events()]


class TaskStateStore:
    """Airflow 3.3's store of what a task instance keeps between two tries, in memory."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.state.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.state[key] = value


class Said:
    """All that was logged while a test ran, before Airflow masks anything in it."""

    def __init__(self, events: list[Any], caplog: pytest.LogCaptureFixture) -> None:
        self._events = events
        self._caplog = caplog

    def __str__(self) -> str:
        return "\n".join([*map(str, (event["event"] for event in self._events)), repr(self._events), self._caplog.text])


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    caplog.set_level("DEBUG")
    with capture_logs() as events:
        yield Said(events, caplog)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define an Adjust connection; a setting given as None is left out."""

    def connect(host: str | None, conn_id: str = "adjust_default", token: str | None = S2S_TOKEN, **extra: Any) -> None:
        extra = {"app_token": APP_TOKEN, "environment": "production"} | extra
        connection = {
            "conn_type": "adjust",
            "host": host,
            "password": token,
            "extra": {name: value for name, value in extra.items() if value is not None},
        }
        given = {name: value for name, value in connection.items() if value is not None}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(given))

    return connect


@pytest.fixture
def adjust(adjust_sandbox: SandboxServer, connect: Connect) -> SandboxServer:
    """A stand-in that knows one app, one event and one S2S token; `adjust_default` has the right ones."""
    adjust_sandbox.configure(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN], event_tokens=[EVENT_TOKEN])
    connect(adjust_sandbox.url)
    return adjust_sandbox
