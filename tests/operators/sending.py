"""What the tests of AdjustSendEventsOperator have in common: the task, its result, and the files that it writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import airflow.sdk
import pytest
from operators.adjust_account import EVENT_TOKEN, device, purchase

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer

RESULT = [
    "read", "delivered", "duplicate", "skipped", "rejected", "invalid", "expired", "in_doubt", "held", "adjusted",
    "by_reason", "revenue", "not_delivered", "first_event_at", "last_event_at", "seconds", "rejected_path", "environment",
]  # fmt: skip
OUTCOMES = RESULT[1:9]

has_task_state_store = pytest.mark.skipif(
    not hasattr(airflow.sdk, "NEVER_EXPIRE"), reason="Airflow has a task state store from 3.3 on"
)


def operator(events: Any, **arguments: Any) -> AdjustSendEventsOperator:
    given = {"task_id": "send", "event_token": EVENT_TOKEN, "id_field": "order_id"} | arguments
    return AdjustSendEventsOperator(events=events, **given)


def send(events: Any, context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """The result of a task that succeeds."""
    result = operator(events, **arguments).execute(context or {})
    assert list(result) == RESULT
    assert sum(result[outcome] for outcome in OUTCOMES) == result["read"]
    json.dumps(result)
    return result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def unknown(adjust: SandboxServer, count: int) -> list[dict[str, Any]]:
    """Ten purchases, of which Adjust does not know the devices of `count`."""
    adjust.configure(unknown_devices=[device(number) for number in range(count)])
    return [purchase(number) for number in range(10)]


@contextmanager
def untraced() -> Iterator[None]:
    """Without coverage.py in this thread: a signal may come while it holds a lock, which it then never gives back."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
