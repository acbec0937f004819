"""A connection with an API token to the stand-in that `report_case` fills, and what must stay secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from reconcile.report_case import API_TOKEN, APP_TOKEN

from airflow_provider_adjust.sandbox import SandboxServer

S2S_TOKEN = "s2s-token-that-nobody-may-see"
Connect = Callable[..., None]


@pytest.fixture
def connect_reader(reporting: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define `adjust_default`; an extra given as None is left out."""
    reporting.configure(tokens=[])

    def connect_reader(**changes: Any) -> None:
        extra = {
            "app_token": APP_TOKEN,
            "environment": "sandbox",
            "api_token": API_TOKEN,
            "api_endpoint": reporting.url,
            "report_endpoint": reporting.url,
        } | changes
        connection = {
            "conn_type": "adjust",
            "host": reporting.url,
            "password": S2S_TOKEN,
            "extra": {name: value for name, value in extra.items() if value is not None},
        }
        monkeypatch.setenv("AIRFLOW_CONN_ADJUST_DEFAULT", json.dumps(connection))

    connect_reader()
    return connect_reader
