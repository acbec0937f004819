"""AdjustSendEventsOperator: what a run says, a dry run, several apps, and what its arguments do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, IP_ADDRESS, START, Connect, Said, device, purchase, recorded, reveals
from operators.sending import lines, operator, send, unknown

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sandbox import SandboxServer


def test_the_result_counts_every_row_once(adjust: SandboxServer, said: Said) -> None:
    """One row of every outcome that can stand beside the others."""
    adjust.configure(unique_event_tokens=["install"], event_tokens=[EVENT_TOKEN, "install"])
    adjust.configure(unknown_devices=[device(3)], opted_out_devices=[device(4)])
    rows = [
        purchase(1),
        purchase(2, revenue=10, currency="usd", ip_address="2001:db8::1"),
        purchase(3),
        purchase(4, revenue="2.50"),
        purchase(5, revenue=0),
        purchase(6, created_at="2020-01-01T00:00:00Z"),
        purchase(7, event_token="install", revenue=None),
        purchase(8, event_token="install", revenue=None, gps_adid=device(7)),
    ]
    result = send(rows, max_rejected=4)
    del result["seconds"]
    assert result == {
        "read": 8,
        "delivered": 3,
        "duplicate": 1,
        "skipped": 0,
        "rejected": 2,
        "invalid": 1,
        "expired": 1,
        "in_doubt": 0,
        "held": 0,
        "adjusted": 1,
        "by_reason": {
            "device_not_found": 1,
            "device_opted_out": 1,
            "invalid_revenue": 1,
            "expired": 1,
            "earlier_unique_event": 1,
        },
        "revenue": {"EUR": "1.25", "USD": "10"},
        "not_delivered": [
            {"outcome": "rejected", "reason": "device_opted_out", "events": 1, "revenue": {"EUR": "2.50"}},
            {"outcome": "rejected", "reason": "device_not_found", "events": 1, "revenue": {"EUR": "1.25"}},
            {"outcome": "invalid", "reason": "invalid_revenue", "events": 1, "revenue": {}},
            {"outcome": "expired", "reason": "expired", "events": 1, "revenue": {}},
        ],
        "first_event_at": purchase(1)["created_at"],
        "last_event_at": purchase(7)["created_at"],
        "rejected_path": None,
        "environment": "rehearsal",
    }
    assert adjust.stats()["revenue"] == result["revenue"]
    table = {tuple(line.split()) for line in str(said).splitlines()}
    assert table >= {
        ("read", "8"),
        ("delivered", "3", "1.25", "EUR,", "10", "USD"),
        ("duplicate", "1"),
        ("adjusted", "1", "left", "out:", "ip_address", "1"),
        ("rejected:", "device_opted_out", "1", "2.50", "EUR"),
        ("expired:", "expired", "1"),
    }


@pytest.mark.parametrize(
    ("refused", "arguments", "passes"),
    [
        (0, {}, True),
        (1, {}, False),
        (2, {"max_rejected": 2}, True),
        (3, {"max_rejected": 2}, False),
        (3, {"max_rejected": 0.3}, True),
        (4, {"max_rejected": 0.3}, False),
        (9, {"max_rejected": 0.999}, True),
        (2, {"max_rejected": 1.0}, False),  # a count
        (1, {"max_rejected": 1.0}, True),
        (9, {"tolerate": ["rejected"]}, True),
        (9, {"tolerate": ["device_not_found"]}, True),
        (9, {"tolerate": ["device_opted_out", "invalid", "duplicate"]}, False),
        (1, {"tolerate": []}, False),
    ],
)
def test_the_task_fails_past_the_budget_after_it_sent_all_it_could(
    adjust: SandboxServer, tmp_path: Path, refused: int, arguments: dict[str, Any], passes: bool
) -> None:
    rows = unknown(adjust, refused)
    path = tmp_path / "rejected.jsonl"
    if passes:
        assert send(rows, rejected_path=str(path), **arguments)["rejected"] == refused
    else:
        with pytest.raises(AirflowFailException) as failure:
            operator(rows, rejected_path=str(path), **arguments).execute({})
        message = str(failure.value)
        assert f"RejectedBudgetExceeded: {refused} of 10 events were refused" in message
        assert f"\n{refused} device_not_found, " in message
        assert "send the rejected file again" in message
        assert str(path) in message
    assert adjust.stats()["recorded"] == 10 - refused
    assert path.exists() == (refused > 0)


@pytest.mark.parametrize("max_rejected", [-1, 1.5, True, "5%", float("nan"), None])
def test_an_invalid_budget_fails_before_anything_is_sent(adjust: SandboxServer, max_rejected: Any) -> None:
    with pytest.raises(AirflowFailException, match="max_rejected is a count"):
        operator([purchase(1)], max_rejected=max_rejected).execute({})
    assert adjust.stats()["requests"] == 0


def test_without_a_rejected_path_the_failure_says_that_there_could_be_one(adjust: SandboxServer) -> None:
    with pytest.raises(AirflowFailException, match="set rejected_path to have them listed"):
        operator(unknown(adjust, 1)).execute({})


def test_a_dry_run_sends_nothing_and_shows_the_first_events_with_ids_masked(
    adjust: SandboxServer, said: Said, tmp_path: Path
) -> None:
    rows = [purchase(number, callback_params={"who": IP_ADDRESS}) for number in range(9, -1, -1)]
    rows[3]["revenue"] = "-1"
    rejected = tmp_path / "rejected.jsonl"
    result = send(rows, dry_run=True, rejected_path=str(rejected))
    assert (result["skipped"], result["invalid"], result["delivered"]) == (9, 1, 0)
    assert adjust.stats()["requests"] == 0
    assert not rejected.exists()
    shown = str(said)
    assert "Row 10 would be sent as event o-0\n" in shown  # the earliest is the first
    assert "  revenue=1.25\n" in shown
    assert "  gps_adid=de71…\n" in shown
    assert shown.count("would be sent as event") == 2 * 5  # the text, and the entry that it comes from
    assert "Dry run, nothing was sent" in shown
    assert not reveals(said)


def test_each_row_goes_through_the_connection_of_its_app(
    adjust: SandboxServer, connect: Connect, tmp_path: Path
) -> None:
    rows = [purchase(number, os_name="ios" if number % 2 else "android") for number in range(10)]
    rows.append(purchase(10, os_name="windows"))
    rows.append(purchase(11, os_name=None))
    rejected = tmp_path / "rejected.jsonl"
    with SandboxServer(tokens=["iosToken"], app_tokens=["iosApp"]) as other:
        connect(adjust.url, "adjust_android")
        connect(other.url, "adjust_ios", token="iosToken", app_token="iosApp", environment="sandbox")
        result = send(
            rows,
            adjust_conn_id={"ios": "adjust_ios", "android": "adjust_android"},
            route_by="os_name",
            rejected_path=str(rejected),
            max_rejected=2,
        )
        assert sorted(filter(None, recorded(other))) == [device(number) for number in (1, 3, 5, 7, 9)]
        assert set(recorded(other, "app_token")) == {"iosApp"}
        assert set(recorded(other, "environment")) == {"sandbox"}
    assert sorted(filter(None, recorded(adjust))) == [device(number) for number in (0, 2, 4, 6, 8)]
    assert set(recorded(adjust, "environment")) == {"production"}
    assert (result["delivered"], result["by_reason"]) == (10, {"unknown_route": 2})
    assert [line["position"] for line in lines(rejected)] == [11, 12]
    assert lines(rejected)[0]["detail"] == "os_name is 'windows'; adjust_conn_id has android, ios"


def test_a_connection_that_adjust_refuses_is_named_and_the_other_apps_events_go_out(
    adjust: SandboxServer, connect: Connect, tmp_path: Path
) -> None:
    rows = [purchase(number, os_name="ios" if number % 2 else "android") for number in range(10)]
    rejected = tmp_path / "rejected.jsonl"
    connect(adjust.url, "adjust_android")
    connect(adjust.url, "adjust_ios", token="revoked")
    with pytest.raises(AirflowFailException) as failure:
        send(
            rows,
            adjust_conn_id={"ios": "adjust_ios", "android": "adjust_android"},
            route_by="os_name",
            rejected_path=str(rejected),
        )
    assert str(failure.value).startswith(
        "DeliveryHalted: route 'ios' (connection adjust_ios): Adjust refuses its events (not_authorized; status 401"
    )
    assert sorted(filter(None, recorded(adjust))) == [device(number) for number in (0, 2, 4, 6, 8)]
    assert adjust.stats()["requests"] == 5 + 1
    assert sorted(line["position"] for line in lines(rejected)) == [2, 4, 6, 8, 10]
    assert {line["outcome"] for line in lines(rejected)} == {"held"}


def test_a_route_column_that_adjust_does_not_know_is_not_sent(adjust: SandboxServer) -> None:
    rows = [purchase(1, brand="a")]
    assert send(rows, adjust_conn_id={"a": "adjust_default"}, route_by="brand")["delivered"] == 1
    assert recorded(adjust, "brand") == [None]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"adjust_conn_id": {"ios": "adjust_default"}}, "several connections need route_by"),
        ({"adjust_conn_id": {}, "route_by": "os_name"}, "several connections need route_by"),
        ({"route_by": "os_name"}, "route_by needs adjust_conn_id to be a mapping"),
        ({"id_field": "gps_adid"}, "id_field='gps_adid' holds a device's id"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not an IANA name"),
        ({"event_token": "f0-ob4r"}, "event_token must be letters and digits only"),
        ({"transport": "pigeon"}, "transport is one of auto, curl, requests, not 'pigeon'"),
        ({"environment": "Production"}, "environment is 'Production'"),
    ],
)
def test_arguments_that_cannot_be_fail_before_anything_is_sent(
    adjust: SandboxServer, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator([purchase(1)], **arguments).execute({})
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize("give", [list, iter, json.dumps])
def test_without_an_environment_nothing_is_sent(
    adjust: SandboxServer, connect: Connect, give: Callable[[Any], Any]
) -> None:
    connect(adjust.url, environment=None)
    with pytest.raises(AirflowFailException, match="the event has no environment; set it to production or sandbox"):
        operator(give([purchase(number) for number in range(3)])).execute({})
    assert adjust.stats()["requests"] == 0
    assert send([purchase(1)], environment="sandbox")["delivered"] == 1
    assert send([purchase(2, environment="production")])["delivered"] == 1
    assert recorded(adjust, "environment") == ["sandbox", "production"]


def test_the_arguments_reach_the_events(adjust: SandboxServer) -> None:
    """One row in which every argument that shapes an event shows."""
    adjust.configure(app_tokens=["otherApp"], event_tokens=["buyToken"])
    row = purchase(1, created_at=START.replace(tzinfo=None).isoformat(), event="buy", campaign_id="c-1")
    row["gaid"] = row.pop("gps_adid")
    send(
        [row],
        event_token=None,
        event_tokens={"buy": "buyToken"},
        app_token="otherApp",
        environment="sandbox",
        column_map={"gaid": "gps_adid"},
        extra_params=["campaign_id"],
        event_id_param="order",
        timezone="Etc/GMT-2",
        max_in_flight=1,
        max_events_per_second=1000,
    )
    [event] = adjust.events()
    assert event["params"] == {
        "s2s": "1",
        "app_token": "otherApp",
        "event_token": "buyToken",
        "environment": "sandbox",
        "gps_adid": device(1),
        "created_at_unix": str(int(START.timestamp()) - 2 * 3600),
        "revenue": "1.25",
        "currency": "EUR",
        "ip_address": IP_ADDRESS,
        "user_agent": "AgentOfOnePerson/1.0",
        "campaign_id": "c-1",
        "callback_params": '{"order":"o-1"}',
    }
