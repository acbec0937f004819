"""The Report Service: the received events as Adjust would report them."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sandbox_event import NOW, Send

from airflow_provider_adjust.sandbox import SandboxServer

#: NOW is 2023-11-14T22:13:20Z.
DAY = "2023-11-14"
QUERY = {
    "dimensions": "day",
    "metrics": "event_f0ob4r_events,event_f0ob4r_revenue",
    "date_period": f"{DAY}:{DAY}",
    "app_token__in": "4w565xzmb54d",
    "sandbox": "true",
}


def ask(server: SandboxServer, page: str = "report", token: str | None = None, /, **changes: Any) -> requests.Response:
    query = {**QUERY, **changes} if page == "report" else changes
    return requests.get(
        f"{server.url}/reports-service/{page}",
        params={name: value for name, value in query.items() if value is not None},
        headers={"Authorization": f"Bearer {token}"} if token else None,
        timeout=5,
    )


@pytest.fixture
def three(sandbox: SandboxServer, send: Send) -> SandboxServer:
    """Three purchases in the sandbox environment: two on the day, one just after midnight in Berlin."""
    for number, time in enumerate(("01:00:00", "22:00:00", "22:05:00")):
        sent = send(
            gps_adid=f"device-{number}",
            environment="sandbox",
            created_at_unix=None,
            created_at=f"{DAY}T{time}.000+0000",
            revenue="1.25",
            currency="EUR",
        )
        assert sent.ok
    return sandbox


def test_rows_hold_text_and_totals_hold_numbers(three: SandboxServer) -> None:
    assert ask(three).json() == {
        "rows": [
            {"attr_dependency": {}, "day": DAY, "event_f0ob4r_events": "3", "event_f0ob4r_revenue": "3.75"},
        ],
        "totals": {"event_f0ob4r_events": 3.0, "event_f0ob4r_revenue": 3.75},
        "warnings": [],
        "pagination": None,
    }


SHOWN: dict[str, tuple[dict[str, Any], list[tuple[str, str]] | None]] = {
    # changes to the query; day and events of each row, None for a report on nothing
    "another zone has other days": (
        {"utc_offset": "+02:00", "date_period": "2023-11-14:2023-11-15"}, [(DAY, "1"), ("2023-11-15", "2")],
    ),
    "west of Greenwich": ({"utc_offset": "-01:30", "date_period": "2023-11-13:2023-11-14"}, [("2023-11-13", "1"), (DAY, "2")]),
    "the other environment": ({"sandbox": "false"}, None),
    "production is the default": ({"sandbox": None}, None),
    "another app": ({"app_token__in": "other"}, None),
    "any app": ({"app_token__in": None}, [(DAY, "3")]),
    "another day": ({"date_period": "2023-11-13:2023-11-13"}, None),
    "today": ({"date_period": "today"}, [(DAY, "3")]),
    "yesterday": ({"date_period": "yesterday"}, None),
    "a relative period": ({"date_period": "-3d:-0d"}, [(DAY, "3")]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_report_has_the_requested_rows_only(three: SandboxServer, name: str) -> None:
    changes, expected = SHOWN[name]
    answer = ask(three, **changes)
    if expected is None:
        assert (answer.status_code, answer.content) == (204, b"")
    else:
        assert [(row["day"], row["event_f0ob4r_events"]) for row in answer.json()["rows"]] == expected


def test_an_event_is_shown_after_the_delay(sandbox: SandboxServer, send: Send) -> None:
    sandbox.configure(report_delay=600)
    send(environment="sandbox")
    assert ask(sandbox).status_code == 204
    sandbox.configure(clock=lambda: float(NOW + 601))
    assert ask(sandbox).json()["totals"]["event_f0ob4r_events"] == 1
    # An event that is received later appears later.
    send(environment="sandbox", gps_adid="device-2")
    assert ask(sandbox).json()["totals"]["event_f0ob4r_events"] == 1


FAULTS = {"204": (204, None), "429": (429, None), "504": (504, None), "fewer": (200, "1"), "more": (200, "6")}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_report_request_takes_one_fault(three: SandboxServer, fault: str) -> None:
    three.configure(report_fault_plan=[None, fault], retry_after=7)
    assert ask(three).status_code == 200
    answer = ask(three)
    status, events = FAULTS[fault]
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    if events:
        assert answer.json()["rows"][0]["event_f0ob4r_events"] == events
    assert ask(three).json()["rows"][0]["event_f0ob4r_events"] == "3"


def test_a_share_of_the_reports_is_wrong_and_events_are_not(three: SandboxServer) -> None:
    three.configure(report_faults="504=1")
    assert {ask(three).status_code for _ in range(3)} == {504}
    assert ask(three, "events").status_code == 200


MALFORMED: dict[str, dict[str, Any]] = {
    "metrics is required": {"metrics": None},
    "dimensions is required": {"dimensions": ""},
    "unknown metric purchase_events": {"metrics": "purchase_events"},
    "utc_offset is written +01:00": {"utc_offset": "1"},
    "no dimension campaign": {"dimensions": "day,campaign"},
    "a date_period such as": {"date_period": "last_month"},
    "a date that does not exist": {"date_period": "2023-02-30:2023-03-01"},
}


@pytest.mark.parametrize("words", MALFORMED)
def test_a_malformed_request_is_refused(three: SandboxServer, words: str) -> None:
    answer = ask(three, **MALFORMED[words])
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_events_are_listed_by_name_with_their_tokens_and_apps(three: SandboxServer, send: Send) -> None:
    three.configure(event_tokens=["f0ob4r", "abc123"], event_slugs={"abc123": "purchase", "abc124": "purchase"})
    found = {event["id"]: (event["app_token"], event["tokens"]) for event in ask(three, "events").json()}
    assert found == {"event_f0ob4r": (["4w565xzmb54d"], ["f0ob4r"]), "purchase": ([], ["abc123", "abc124"])}
    assert [event["id"] for event in ask(three, "events", events__contains="purch").json()] == ["purchase"]
    assert {"id": "purchase_events"} in ask(three, "filters_data").json()["event_metrics"]


@pytest.mark.parametrize("page", ["report", "events", "filters_data"])
@pytest.mark.parametrize(("token", "status"), [("A", 200), ("T", 401), (None, 401)])
def test_the_api_token_is_required(three: SandboxServer, page: str, token: str | None, status: int) -> None:
    three.configure(api_tokens=["A"], tokens=["T"])
    assert ask(three, page, token).status_code == status


def test_a_reset_deletes_the_bookings(three: SandboxServer) -> None:
    three.configure(event_tokens=["f0ob4r"])
    assert ask(three).status_code == 200
    three.reset()
    assert ask(three).status_code == 204


@pytest.mark.parametrize(
    "setting",
    [
        {"report_faults": "reset_before=1"},
        {"report_fault_plan": "429"},
        {"report_fault_plan": ["200"]},
        {"report_delay": -1},
        {"event_slugs": {"f0ob4r": 1}},
    ],
)
def test_an_invalid_setting_is_refused(sandbox: SandboxServer, setting: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        sandbox.configure(**setting)
