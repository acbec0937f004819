"""An event with a lost answer is looked up in the Device API, and is in Adjust exactly once."""

from __future__ import annotations

import json
import logging
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_adjust.adjust_api.device import last_event_time
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s import LookupPolicy, RowOptions, SendOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer

S2S_TOKEN, API_TOKEN = "s2s-token-of-the-test", "api-token-of-the-test"
DEVICE = "660e1d86-6796-463a-be86-897993136018"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


#: The stand-in's Device API does not lag.
VERIFY = SendOptions(on_in_doubt="verify", lookups=LookupPolicy(wait=0.2, every=0.05))


@pytest.fixture
def connect(adjust_sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    adjust_sandbox.configure(tokens=[S2S_TOKEN], api_tokens=[API_TOKEN])

    def set_connection(**extra: Any) -> AdjustS2SHook:
        connection = {
            "conn_type": "adjust",
            "host": adjust_sandbox.url,
            "password": S2S_TOKEN,
            "extra": {
                "app_token": "4w565xzmb54d",
                "environment": "sandbox",
                "api_token": API_TOKEN,
                "api_endpoint": adjust_sandbox.url,
                "read_timeout": 1,
            }
            | extra,
        }
        monkeypatch.setenv("AIRFLOW_CONN_ADJUST_DEFAULT", json.dumps(connection))
        return AdjustS2SHook()

    return set_connection


def rows(count: int, *, same_second: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "order_id": f"order-{place}",
            "gps_adid": DEVICE,
            "created_at": START + timedelta(milliseconds=place) * (1 if same_second else 1000),
            "revenue": "1.10",
            "currency": "USD",
        }
        for place in range(count)
    ]


FAULTS = {
    "recorded, then reset": "reset_after",
    "reset before it was recorded": "reset_before",
    "recorded, then a truncated answer": "truncate",
    "a truncated answer, not recorded": "truncate_before",
    "recorded, then silence": "stall_after",
    "silence, not recorded": "stall_before",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_lost_answer_ends_in_one_record(connect: Any, adjust_sandbox: SandboxServer, fault: str) -> None:
    hook = connect()
    adjust_sandbox.configure(fault_plan=[None, fault])
    receipts = list(
        hook.send_events(
            rows(3),
            RowOptions(event_token="f0ob4r", id_field="order_id", event_id_param="event_id"),
            VERIFY,
        )
    )
    assert {receipt.outcome.value for receipt in receipts} == {"delivered"}
    stats = adjust_sandbox.stats()
    assert (stats["recorded"], stats["repeated_event_ids"], stats["order_violations"]) == (3, 0, 0)


def test_a_predecessor_of_the_same_second_leaves_it_in_doubt(connect: Any, adjust_sandbox: SandboxServer) -> None:
    hook = connect()
    adjust_sandbox.configure(fault_plan=[None, "reset_before"])
    receipts = list(
        hook.send_events(
            rows(3, same_second=True),
            RowOptions(event_token="f0ob4r", id_field="order_id"),
            VERIFY,
        )
    )
    assert [receipt.outcome.value for receipt in receipts] == ["delivered", "in_doubt", "held"]
    assert receipts[1].reason == "shared_second"
    assert adjust_sandbox.stats()["recorded"] == 1


def test_the_first_of_its_second_is_sent_again_where_adjust_has_none(
    connect: Any, adjust_sandbox: SandboxServer
) -> None:
    """An earlier time means that no event of its second was recorded."""
    hook = connect()
    adjust_sandbox.configure(fault_plan=["reset_before"])
    receipts = list(
        hook.send_events(rows(2, same_second=True), RowOptions(event_token="f0ob4r", id_field="order_id"), VERIFY)
    )
    assert [receipt.outcome.value for receipt in receipts] == ["delivered", "delivered"]
    assert adjust_sandbox.stats()["recorded"] == 2


def test_a_device_api_that_does_not_answer_holds_up_no_other_lane(connect: Any, adjust_sandbox: SandboxServer) -> None:
    """32 events in doubt and an API that is silent for a second each: a few calls at a time, beside the delivery."""
    hook = connect()
    adjust_sandbox.configure(fault_plan=[None, *["reset_after"] * 32])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = connect(api_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        doubtful = [{**row, "gps_adid": f"device-{number}"} for number, row in enumerate(rows(100))]
        begin, ended = time.monotonic(), []
        verify = replace(VERIFY, lookups=LookupPolicy(wait=0.1, every=0.05, longest=3.0))
        for receipt in hook.send_events(doubtful, RowOptions(event_token="f0ob4r", id_field="order_id"), verify):
            ended.append((time.monotonic() - begin, receipt.outcome.value, receipt.reason))
    assert [each for each in ended if each[1] == "delivered"] == ended[:68]
    assert ended[67][0] < ended[68][0] - 0.3, "what is not in doubt waits for no call"
    assert {each[1:] for each in ended[68:]} == {("in_doubt", "not_verified")}
    assert ended[-1][0] < 8


def test_a_refused_api_token_leaves_it_in_doubt_and_is_named(connect: Any, adjust_sandbox: SandboxServer) -> None:
    hook = connect(api_token="another-token")
    adjust_sandbox.configure(fault_plan=["reset_after"])
    (receipt,) = hook.send_events(rows(1), RowOptions(event_token="f0ob4r", id_field="order_id"), VERIFY)
    assert (receipt.outcome.value, receipt.reason) == ("in_doubt", "not_verified")
    assert receipt.detail == "the Device API answers status 401; check the connection's API token"


def test_without_an_api_token_nothing_is_sent(connect: Any, adjust_sandbox: SandboxServer) -> None:
    hook = connect(api_token="")
    with pytest.raises(AdjustConfigurationError, match="needs the API token"):
        list(hook.send_events(rows(1), RowOptions(event_token="f0ob4r"), VERIFY))
    assert adjust_sandbox.stats()["requests"] == 0


def test_the_hook_inspects_a_device(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    hook = connect()
    hook.send_event(rows(1)[0], RowOptions(event_token="f0ob4r", id_field="order_id"))
    with caplog.at_level(logging.DEBUG, logger="airflow_provider_adjust"):
        found = hook.inspect_device(DEVICE)
    assert last_event_time(found, "f0ob4r") == START
    assert DEVICE not in caplog.text
