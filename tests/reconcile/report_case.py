"""What tests of reports have in common: an app at a stand-in for Adjust that has received some purchases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.adjust_api.reports import ReportService
from airflow_provider_adjust.reconcile.report_client import ReportClient
from airflow_provider_adjust.reconcile.totals import Days, EventTotals
from airflow_provider_adjust.sandbox import SandboxServer

APP_TOKEN, EVENT_TOKEN, API_TOKEN = "4w565xzmb54d", "f0ob4r", "api-token-that-nobody-may-see"
#: Adjust takes no event that is older than 58 days, so no date can be written down here.
DAY = (datetime.now(UTC) - timedelta(days=3)).date()

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Seconds between two attempts, in order; none of them is waited for.
Pauses = list[float]


@pytest.fixture(params=["on a worker", "in a trigger"])
def run(request: pytest.FixtureRequest) -> Run:
    """The two ways to run what reads from Adjust."""
    return run_blocking if request.param == "on a worker" else asyncio.run


@pytest.fixture
def pauses() -> Pauses:
    return []


@pytest.fixture
def reporting(adjust_sandbox: SandboxServer) -> SandboxServer:
    """A stand-in that knows two events, one of them by a name."""
    adjust_sandbox.configure(
        api_tokens=[API_TOKEN],
        app_tokens=[APP_TOKEN],
        event_tokens=[EVENT_TOKEN, "abc123"],
        event_slugs={EVENT_TOKEN: "purchase"},
    )
    return adjust_sandbox


@pytest.fixture
def service(reporting: SandboxServer, pauses: Pauses) -> ReportService:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    return ReportService(reporting.url, API_TOKEN, timeout=(2.0, 5.0), spread=lambda least, most: most, sleep=sleep)


@pytest.fixture
def client(service: ReportService) -> ReportClient:
    return ReportClient(service, APP_TOKEN, "sandbox")


def receive(sandbox: SandboxServer, count: int = 1, *, at: datetime | None = None, **changes: Any) -> None:
    """Let the stand-in receive purchases of 1.25 EUR, each of a device of its own."""
    seconds = int((at or datetime.combine(DAY, time(12), UTC)).timestamp())
    with requests.Session() as session:
        for number in range(count):
            params = {
                "s2s": "1",
                "app_token": APP_TOKEN,
                "event_token": EVENT_TOKEN,
                "environment": "sandbox",
                "gps_adid": f"device-{seconds}-{number}",
                "created_at_unix": str(seconds),
                "revenue": "1.25",
                "currency": "EUR",
            }
            params = {name: value for name, value in (params | changes).items() if value is not None}
            assert session.post(f"{sandbox.url}/event", data=params, timeout=5).ok


def total(
    events: int,
    revenue: str | None = None,
    currency: str | None = None,
    *,
    day: date = DAY,
    last: date | None = None,
    event_token: str = EVENT_TOKEN,
) -> EventTotals:
    return EventTotals(
        event_token, Days(day, last or day), events, None if revenue is None else Decimal(revenue), currency
    )
