"""What a type checker knows of the public names. Never run: `make lint` checks it with mypy, as a user's own would."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_type

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s import (
    Event,
    Outcome,
    Receipt,
    RowOptions,
    SendOptions,
    Verdict,
    classify,
    parse_event,
)
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


def the_hook(hook: AdjustS2SHook, rows: list[dict[str, Any]]) -> None:
    assert_type(hook.send_event(rows[0]), Receipt)
    options = RowOptions(
        event_token="f0ob4r",
        column_map={"gaid": "gps_adid"},
        id_field=("contract_id", "period"),
        max_revenue={"EUR": 500},
        on_bad_optional="leave_out",
    )
    sending = SendOptions(max_in_flight=64, on_in_doubt="hold")
    assert_type(hook.send_events(rows, options, sending), Iterator[Receipt])
    assert_type(hook.test_connection(), tuple[bool, str])


def a_receipt(receipt: Receipt) -> None:
    assert_type(receipt.outcome, Outcome)
    assert_type(receipt.reason, str)
    assert_type(receipt.event_id, str | None)
    assert_type(receipt.position, int)
    assert_type(receipt.http_status, int | None)
    assert_type(receipt.attempts, int)


def the_operators() -> None:
    AdjustSendEventsOperator(task_id="send", events=[{"adid": "a"}], event_token="f0ob4r", max_rejected=0.05)
    SqlToAdjustOperator(task_id="send", sql="SELECT 1", sql_conn_id="warehouse", event_tokens={"purchase": "f0ob4r"})


def the_protocol(row: dict[str, Any], now: datetime) -> None:
    event = parse_event(row, now=now)
    assert_type(event, Event)
    assert_type(event.params, dict[str, str])
    assert_type(classify(200, "OK"), Verdict)


def the_sandbox() -> None:
    with SandboxServer(tokens=["token"]) as sandbox:
        assert_type(sandbox.url, str)
