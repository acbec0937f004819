"""`[adjust] allowed_hosts`: a user who may only edit connections cannot send the tokens elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Done
from operators.adjust_account import S2S_TOKEN
from table import table

from airflow_provider_adjust.get_provider_info import get_provider_info
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer

OPTION = "AIRFLOW__ADJUST__ALLOWED_HOSTS"
EVIL = "https://adjust.com.evil.host"
#: Each URL of a connection that gets a token or a device id.
URLS: dict[str, dict[str, Any]] = {
    "endpoint": {"host": EVIL},
    "api_endpoint": {"extra": {"api_endpoint": EVIL}},
    "report_endpoint": {"extra": {"report_endpoint": EVIL}},
}


def written(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    extra = {
        "app_token": "4w565xzmb54d",
        "environment": "sandbox",
        "api_token": "user-token",
        **fields.pop("extra", {}),
    }
    monkeypatch.setenv(
        "AIRFLOW_CONN_ADJUST_DEFAULT",
        json.dumps({"conn_type": "adjust", "password": S2S_TOKEN, "extra": extra, **fields}),
    )


@pytest.mark.parametrize("name", URLS)
def test_every_url_of_a_connection_is_checked_when_it_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    written(monkeypatch, **URLS[name])
    refusal = (
        f"connection 'adjust_default': the {name}: no token may go to 'adjust.com.evil.host': [adjust] allowed_hosts does "
        "not list it; an Airflow administrator can add it"
    )
    with pytest.raises(AdjustConfigurationError) as refused:
        _ = AdjustS2SHook().settings
    assert str(refused.value) == refusal
    with pytest.raises(AdjustConfigurationError) as refused:
        asyncio.run(AdjustConnection.aget("adjust_default"))  # as triggers read it
    assert str(refused.value) == refusal
    # Airflow tests under a name that it makes up, which the message leaves out.
    assert AdjustS2SHook().test_connection() == (False, refusal.removeprefix("connection 'adjust_default': "))
    monkeypatch.setenv(OPTION, "adjust.com.evil.host, *.adjust.com")
    assert getattr(AdjustS2SHook().settings, name) == EVIL


def test_every_url_that_the_connection_form_asks_for_is_among_them() -> None:
    [connection_type] = get_provider_info()["connection-types"]
    asked = {name for name in connection_type["conn-fields"] if name.endswith("endpoint")}
    assert asked | {"endpoint"} == set(URLS)


@table(
    "host",
    [
        "https://s2s.adjust.com",
        "https://s2s.eu.adjust.com",
        "https://app.adjust.world",
        "http://127.0.0.1:8099",
        "http://[::1]",
    ],
)
def test_adjusts_own_domains_and_this_machine_are_allowed_by_default(host: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        written(monkeypatch, host=host)
        assert AdjustS2SHook().settings.endpoint == host


def test_a_deployment_without_loopback_reads_no_service_of_its_own_machines(
    monkeypatch: pytest.MonkeyPatch, adjust: SandboxServer
) -> None:
    monkeypatch.setenv(OPTION, "*.adjust.com")
    written(monkeypatch, host=adjust.url)
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert "no token may go to '127.0.0.1': [adjust] allowed_hosts does not list it" in message
    assert adjust.stats()["requests"] == 0


def test_an_entry_that_is_not_a_host_stops_every_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPTION, "*.adjust.com, https://gateway.example.com/")
    written(monkeypatch)
    with pytest.raises(
        AdjustConfigurationError, match=r"^\[adjust\] allowed_hosts: 'https://gateway.example.com/' is not"
    ):
        _ = AdjustS2SHook().settings


@pytest.mark.parametrize("command", [["send"], ["send", "--dry-run"], ["validate"], ["preview"]])
def test_the_command_line_refuses_the_connection_too(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Done], file_of: Callable[..., Path], command: list[str]
) -> None:
    written(monkeypatch, host=EVIL)
    done = cli(*command, file_of({}), "--adjust-conn-id", "adjust_default")
    assert done.code == 2
    assert "[adjust] allowed_hosts does not list it" in done.err
