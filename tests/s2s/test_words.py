"""The reason and the words of each refusal and halt, and the limits of what is shown to the last unit."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from s2s_case import NOW, ROW, SECOND, refusal
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.answers.classify import classify
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import parse_event
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, UnreadableRow


class Unreadable(str):
    """A value that fails when it is read."""

    def __len__(self) -> int:
        raise ZeroDivisionError


#: Changes to the smallest row, and the reason why it is then refused.
REFUSALS: list[tuple[dict[Any, Any], str]] = [
    ({"environment": ...}, "missing_environment"),
    ({"app_token": ...}, "missing_app_token"),
    ({"event_token": ...}, "missing_event_token"),
    ({"gps_adid": ...}, "missing_device_id"),
    ({"revenue": 1}, "missing_currency"),
    ({"att_status": "3", "tracking_enabled": "1"}, "conflicting_att_status"),
    ({"created_at": ...}, "missing_created_at"),
    ({"created_at_unix": SECOND - 1}, "conflicting_created_at"),
    ({1: "x"}, "unknown_parameter"),
    ({"callback_params": Unreadable()}, "unreadable_row"),
    ({"created_at": NOW - timedelta(days=58, seconds=1)}, "expired"),
    ({"created_at": NOW + timedelta(minutes=6)}, "created_at_in_future"),
]
#: What cannot be a row, or not twice the same one.
NO_ROWS: list[tuple[Any, str]] = [
    (UnreadableRow("line 7 is not JSON"), "unreadable_row"),
    ([], "not_a_row"),
    ({**ROW, "id": 1, "order": 2}, "repeated_parameter"),
    (ResubmittedRow(ROW, " "), "missing_event_id"),
]
GIVEN = [
    *(
        ({name: value for name, value in {**ROW, **changes}.items() if value is not ...}, reason)
        for changes, reason in REFUSALS
    ),
    *NO_ROWS,
]
#: Statuses that halt a delivery whatever the answer says.
HALTS = [202, 301, 403, 407]
SNAPSHOT = Path(__file__).parent / "snapshots" / "words.txt"


def refused(given: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(given, RowOptions(column_map={"id": "order"}, extra_params=["order"]), now=NOW)
    return caught.value


@table(("given", "reason"), GIVEN, ids=[reason for _, reason in GIVEN])
def test_a_refusal_has_its_reason(given: Any, reason: str) -> None:
    assert refused(given).reason == reason


def test_the_words_are_those_of_the_snapshot() -> None:
    """What a person reads of refusals and halts.

    After a deliberate change, renew the snapshot and read its difference:
    ``RENEW_SNAPSHOTS=1 python -m pytest tests/s2s/test_words.py``.
    """
    said = [f"{reason}: {refused(given).detail}" for given, reason in GIVEN]
    said += [f"{status}: {classify(status, '').remedy}" for status in HALTS]
    text = "\n".join([*said, ""])
    if os.environ.get("RENEW_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8"), "see this test's docstring"


@table("age", [timedelta(days=58, seconds=1), timedelta(minutes=-6)])
def test_a_refused_time_is_known_for_its_place_in_the_order(age: timedelta) -> None:
    assert refusal(created_at=NOW - age).occurred_at == NOW - age


def test_a_row_that_cannot_be_read_keeps_its_id() -> None:
    refused = refusal({"id_field": "order"}, order="A-1", callback_params=Unreadable())
    assert refused.event_id == "A-1"


@table("status", HALTS)
def test_a_halt_names_a_remedy(status: int) -> None:
    verdict = classify(status, "")
    assert verdict.outcome is Outcome.HALT
    assert verdict.remedy


@table(
    ("status", "body"),
    [
        (200, ""),
        (200, "OK"),
        (200, '{"error": "Event request failed (who knows)"}'),
        (200, "{"),
        (500, ""),
        (502, ""),
        (400, "Event request failed (who knows)"),
    ],
)
def test_only_a_halt_has_a_remedy(status: int, body: str) -> None:
    assert classify(status, body).remedy == ""


@table(
    ("status", "outcome"),
    [
        (199, Outcome.IN_DOUBT),
        (299, Outcome.IN_DOUBT),
        (300, Outcome.HALT),
        (399, Outcome.HALT),
        (400, Outcome.HALT),
        (499, Outcome.HALT),
        (500, Outcome.RETRY),
    ],
)
def test_where_a_class_of_statuses_begins_and_ends(status: int, outcome: Outcome) -> None:
    assert classify(status, "").outcome is outcome


@table(("body", "message"), [("", ""), ("ok", "ok"), ("x" * 1001, "1,001 characters not shown")])
def test_which_text_is_a_message(body: str, message: str) -> None:
    assert classify(400, body).message == message
