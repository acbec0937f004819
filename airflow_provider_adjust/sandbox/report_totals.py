"""The totals of the Report Service: events and revenue by app, environment, event, currency and quarter of an hour.

The offset of every time zone is a multiple of a quarter of an hour, so every day of every zone consists of whole buckets.
"""

from __future__ import annotations

import decimal
from collections import defaultdict
from typing import NamedTuple

from airflow_provider_adjust.sandbox.rules import event_time
from airflow_provider_adjust.sandbox.state import EVENT, SandboxState, amount_of

BUCKET_SECONDS = 900


class Bucket(NamedTuple):
    """The key of a sum; `start` is in seconds since the epoch."""

    app_token: str
    environment: str
    endpoint: str
    event_token: str
    currency: str
    start: int


class Total:
    """A count and an exact sum."""

    def __init__(self) -> None:
        self.events = 0
        self.revenue = decimal.Decimal(0)


class ReportTotals:
    """Adds events up in the order of their receipt, when they are old enough for a report."""

    def __init__(self) -> None:
        self._ingested = 0
        self.buckets: defaultdict[Bucket, Total] = defaultdict(Total)

    def ingest(self, state: SandboxState, until: float) -> None:
        """Add every event that was received until then and was not added before."""
        end = state.received_until(until)
        if end <= self._ingested:
            return
        for event in state.events(self._ingested, end - self._ingested):
            self._add(event["params"], event["received_at"], event["endpoint"])  # type: ignore[arg-type]
        self._ingested = end

    def _add(self, params: dict[str, str], received_at: float, endpoint: str) -> None:
        time = event_time(params, received_at)
        if not isinstance(time, float):
            return  # such an event is never recorded
        start = int(time // BUCKET_SECONDS * BUCKET_SECONDS)
        # Adjust's own default.
        environment = params.get("environment", "production")
        amount = amount_of(params, endpoint)
        currency = params.get("currency", "").upper() if amount is not None else ""
        event_token = params["event_token"] if endpoint == EVENT else ""
        total = self.buckets[Bucket(params["app_token"], environment, endpoint, event_token, currency, start)]
        total.events += 1
        total.revenue += decimal.Decimal(amount or 0)
