"""The sandbox's answer to an event, rule by rule."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from sandbox_event import EVENT, NOW, Send

from airflow_provider_adjust.sandbox import SandboxConfig, SandboxServer
from airflow_provider_adjust.sandbox.rules import EVENT_RULES, EventRequest, judge
from airflow_provider_adjust.sandbox.state import SandboxState

DAY = 86_400
TOO_OLD = "Bad event state: created_at older than 58 days"
NO_TIME = "Bad event state: created_at is not a documented time format"
NO_SECONDS = "Bad event state: created_at_unix is not whole seconds"
ENVIRONMENT = "Bad event state: environment is neither sandbox nor production"
NO_S2S = "Bad event state: parameter s2s=1 is missing"
REVENUE, CUSTOM = "Invalid revenue", "Invalid callback parameters"

REFUSED: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    # settings, changes to a correct event, status, message
    ({}, {"s2s": None}, 400, NO_S2S),
    ({}, {"s2s": "true"}, 400, NO_S2S),
    ({}, {"app_token": None}, 400, "Invalid app token"),
    ({}, {"app_token": "4w565-zmb54d"}, 400, "Invalid app token"),
    ({"app_tokens": ["other"]}, {}, 404, "App token not found"),
    ({"inactive_app_tokens": ["4w565xzmb54d"]}, {}, 403, "App is inactive"),
    ({}, {"event_token": None}, 400, "Invalid event token"),
    ({}, {"event_token": "f0 b4r"}, 400, "Invalid event token"),
    ({"event_tokens": ["other"]}, {}, 400, "Invalid event token"),
    ({}, {"gps_adid": None}, 400, "Bad event state: no device id"),
    ({}, {"gps_adid": ""}, 400, "Bad event state: no device id"),
    ({}, {"gps_adid": None, "GPS_ADID": "device-1"}, 400, "Bad event state: no device id"),
    ({"unknown_devices": ["device-1"]}, {}, 404, "Device not found"),
    ({"unknown_devices": ["other-1"]}, {"idfa": "other-1"}, 404, "Device not found"),
    ({"unknown_share": 1.0}, {}, 404, "Device not found"),
    ({"opted_out_devices": ["device-1"]}, {}, 451, "Device is opted out"),
    ({}, {"environment": "Sandbox"}, 400, ENVIRONMENT),
    ({}, {"environment": ""}, 400, ENVIRONMENT),
    ({}, {"ip_address": "1" * 1_000_000}, 413, "Request size too large"),
    ({}, {"ip_address": "1" * 3_000_000}, 413, "Request size too large"),
    ({}, {"revenue": "1"}, 400, REVENUE),
    ({}, {"revenue": "1", "currency": "EURO"}, 400, REVENUE),
    ({}, {"revenue": "0.0009", "currency": "EUR"}, 400, REVENUE),
    ({}, {"revenue": "100000000000.01", "currency": "EUR"}, 400, REVENUE),
    ({}, {"revenue": "-1", "currency": "EUR"}, 400, REVENUE),
    ({}, {"revenue": "1e3", "currency": "EUR"}, 400, REVENUE),
    ({}, {"revenue": "1,5", "currency": "EUR"}, 400, REVENUE),
    ({}, {"revenue": "NaN", "currency": "EUR"}, 400, REVENUE),
    ({}, {"callback_params": "{"}, 400, CUSTOM),
    ({}, {"callback_params": '["a"]'}, 400, CUSTOM),
    ({}, {"callback_params": '{"a": 1}'}, 400, CUSTOM),
    ({}, {"partner_params": '{"a": {"b": "c"}}'}, 400, CUSTOM),
    ({}, {"created_at_unix": str(NOW - 58 * DAY - 1)}, 400, TOO_OLD),
    ({}, {"created_at_unix": f"{NOW}000"}, 400, NO_SECONDS),
    ({}, {"created_at_unix": f"{NOW}.5"}, 400, NO_SECONDS),
    ({}, {"created_at_unix": ""}, 400, NO_SECONDS),
    ({}, {"created_at_unix": None, "created_at": "2023-11-14 22:13:00"}, 400, NO_TIME),
    ({}, {"created_at_unix": None, "created_at": "2023-11-14T22:13:00Z"}, 400, NO_TIME),
    ({}, {"created_at_unix": None, "created_at": "2023-13-14T22:13:00Z+0000"}, 400, NO_TIME),
    ({}, {"created_at_unix": None, "created_at": "2023-09-01T00:00:00.000+0000"}, 400, TOO_OLD),
]

ACCEPTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"app_tokens": ["4w565xzmb54d"], "event_tokens": ["f0ob4r"]}, {}),
    ({}, {"environment": "sandbox"}),
    ({}, {"gps_adid": None, "idfa_lower_md5": "0" * 32}),
    ({}, {"revenue": "0.001", "currency": "eur"}),
    ({}, {"revenue": "100000000000", "currency": "EUR"}),
    ({}, {"callback_params": "{}", "partner_params": '{"a": "b"}'}),
    ({}, {"created_at_unix": str(NOW - 58 * DAY)}),
    ({}, {"created_at_unix": None}),
    ({}, {"created_at_unix": None, "created_at": "2023-11-14T22:13:00.000+0000"}),
    ({}, {"created_at_unix": None, "created_at": "2023-11-14T22:13:00Z+0200"}),
    ({}, {"created_at_unix": None, "created_at": "2023-11-14T22:13:00.000Z+0200"}),
    ({}, {"ip_address": "1" * 990_000}),
]


@pytest.mark.parametrize(("settings", "changes", "status", "message"), REFUSED)
def test_a_broken_rule_is_answered_with_its_message(
    sandbox: SandboxServer, send: Send, settings: dict[str, Any], changes: dict[str, Any], status: int, message: str
) -> None:
    sandbox.configure(**settings)
    answer = send(**changes)
    assert (answer.status_code, answer.json()) == (status, {"error": f"Event request failed ({message})"})
    stats = sandbox.stats()
    assert (stats["requests"], stats["recorded"], stats["by_status"]) == (1, 0, {str(status): 1})
    assert stats["by_error"] == {message.partition(":")[0]: 1}


@pytest.mark.parametrize(("settings", "changes"), ACCEPTED)
def test_a_correct_event_is_recorded(
    sandbox: SandboxServer, send: Send, settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    sandbox.configure(**settings)
    answer = send(**changes)
    assert (answer.status_code, answer.json()) == (200, {"status": "OK"})
    expected = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    assert sandbox.events() == [{"received_at": NOW, "endpoint": "event", "params": expected}]


@pytest.mark.parametrize(
    ("enforce", "authorization", "status", "message"),
    [
        (True, "Bearer T", 200, None),
        (True, "bearer T", 200, None),
        (True, None, 401, "Failed to authorize request"),
        (True, "Bearer t", 401, "Failed to authorize request"),
        (True, "Token T", 401, "Failed to authorize request"),
        (False, "Bearer T", 200, None),
        (False, None, 202, "Missing authentication token"),
        (False, "Bearer t", 202, "Wrong authentication token"),
    ],
)
def test_authentication(
    sandbox: SandboxServer, send: Send, enforce: bool, authorization: str | None, status: int, message: str | None
) -> None:
    sandbox.configure(tokens=["T", "U"], enforce=enforce)
    answer = send(headers={"Authorization": authorization} if authorization else None)
    assert answer.status_code == status
    assert answer.json().get("error") == (message and f"Event request failed ({message})")
    assert sandbox.stats()["recorded"] == (status == 200)


def test_parameters_come_from_the_url_or_a_form_body(sandbox: SandboxServer) -> None:
    url = f"{sandbox.url}/event"
    answers = [
        requests.get(url, params=EVENT, timeout=5),
        requests.post(url, params=EVENT, timeout=5),
        requests.post(url, params={"s2s": "1"}, data={**EVENT, "s2s": ""}, timeout=5),
        requests.post(url, json=EVENT, timeout=5),
        requests.post(url, data=EVENT, headers={"Content-Type": "text/plain"}, timeout=5),
        requests.get(url, data=EVENT, timeout=5),
        requests.put(url, params=EVENT, timeout=5),
    ]
    # Other types of body and the body of a GET are ignored. Of a parameter that is given twice, the body's counts.
    assert [answer.status_code for answer in answers] == [200, 200, 400, 400, 400, 400, 404]


def test_a_lane_must_be_in_order_and_other_lanes_do_not_matter(sandbox: SandboxServer, send: Send) -> None:
    cases = [
        ({"created_at_unix": str(NOW - 50)}, 200),
        ({"created_at_unix": str(NOW - 50)}, 200),  # the same second is allowed
        ({"created_at_unix": str(NOW - 51)}, 400),
        ({"created_at_unix": str(NOW - 51), "event_token": "other"}, 200),
        ({"created_at_unix": str(NOW - 51), "gps_adid": "device-2"}, 200),
        ({"created_at_unix": str(NOW - 51), "gps_adid": "device-3", "idfa": "device-1"}, 200),
        ({"created_at_unix": str(NOW - 52), "gps_adid": "device-4", "idfa": "device-1"}, 400),
    ]
    assert [send(**changes).status_code for changes, _ in cases] == [status for _, status in cases]
    assert sandbox.stats()["order_violations"] == 2
    assert sandbox.stats()["by_error"] == {"Bad event state": 2}


def test_a_unique_event_counts_once_per_device(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(unique_event_tokens=["f0ob4r"])
    answers = [send(), send(), send(gps_adid="device-2")]
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert answers[1].json()["error"] == "Event request failed (Ignoring event, earlier unique event tracked)"


def test_the_unknown_share_is_about_that_share_and_the_same_devices_each_time(
    sandbox: SandboxServer, send: Send
) -> None:
    sandbox.configure(unknown_share=0.3)
    rounds = [[send(gps_adid=f"device-{number}").status_code for number in range(200)] for _ in range(2)]
    assert rounds[0] == rounds[1]
    assert 40 <= rounds[0].count(404) <= 80


def test_the_rules_ask_the_endpoint() -> None:
    """Another endpoint, without order and key: the same device may go back in time, and no event token is asked for."""
    other = EVENT_RULES._replace(key=None, ordered=False, max_age=timedelta(days=1), min_amount=Decimal("0.0000001"))
    config, state = SandboxConfig(), SandboxState(keep_events=False)
    answers = [
        judge(
            EventRequest(
                f"s2s=1&app_token=a&event_token=&adid=d&created_at_unix={at}{more}".encode(), None, 1e9, other
            ),
            config,
            state,
        )
        for at, more in (
            (1_000_000_000, ""),
            (999_999_000, "&revenue=0.0000001&currency=USD"),
            (999_900_000, ""),
        )
    ]
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert "older than 1 days" in str(answers[2].message)
