"""What a data engineer reads of a refusal or a halt, word for word, and the limits to the last unit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from s2s_case import NOW, ROW, SECOND, refusal
from table import table

from airflow_provider_adjust.s2s.answers.classify import classify
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import parse_event
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, UnreadableRow
from airflow_provider_adjust.s2s.redaction import redact


class Unreadable(str):
    """A value that fails whoever looks at it."""

    def __len__(self) -> int:
        raise ZeroDivisionError


REFUSALS: list[tuple[dict[Any, Any], str, str]] = [
    (
        {"environment": ...},
        "missing_environment",
        "the event has no environment; set it to production or sandbox in the connection, the operator or the row",
    ),
    (
        {"app_token": ...},
        "missing_app_token",
        "the event has no app_token; set it in the connection, the operator or the row",
    ),
    (
        {"event_token": ...},
        "missing_event_token",
        "the event has no event_token; set it in the operator or the row",
    ),
    (
        {"gps_adid": ...},
        "missing_device_id",
        "the row has no usable device id; give at least one, such as gps_adid, idfa, idfv or adid",
    ),
    ({"revenue": 1}, "missing_currency", "revenue needs currency, an ISO 4217 code such as USD"),
    (
        {"att_status": "3", "tracking_enabled": "1"},
        "conflicting_att_status",
        "give att_status or tracking_enabled, never both",
    ),
    (
        {"created_at": ...},
        "missing_created_at",
        "the row has no created_at or created_at_unix; Adjust would book the time of receipt, and the order would be lost",
    ),
    (
        {"created_at_unix": SECOND - 1},
        "conflicting_created_at",
        "created_at and created_at_unix name different seconds; give one",
    ),
    ({1: "x"}, "unknown_parameter", "a column is named by a int; names are text"),
    (
        {"callback_params": Unreadable()},
        "unreadable_row",
        "a value of the row cannot be read (ZeroDivisionError); cast it to text or to a number",
    ),
]


@table(("changes", "reason", "detail"), REFUSALS, ids=[reason for _, reason, _ in REFUSALS])
def test_a_refusal_names_the_remedy(changes: dict[Any, Any], reason: str, detail: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event({name: value for name, value in {**ROW, **changes}.items() if value is not ...}, now=NOW)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@table(
    ("given", "reason", "detail"),
    [
        (UnreadableRow("line 7 is not JSON"), "unreadable_row", "line 7 is not JSON"),
        ([], "not_a_row", "a row is a mapping of parameter names to values, not a list"),
        ({**ROW, "id": 1, "order": 2}, "repeated_parameter", "two columns give order; keep one"),
        (
            ResubmittedRow(ROW, " "),
            "missing_event_id",
            "the event_id of the rejected line is empty; every event needs its id",
        ),
    ],
)
def test_what_is_no_row_is_named(given: Any, reason: str, detail: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(given, now=NOW, column_map={"id": "order"}, extra_params=["order"])
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@table(
    ("age", "detail"),
    [
        (timedelta(days=58, seconds=1), "the event is 58 days old; Adjust takes none older than 58"),
        (
            timedelta(minutes=-6),
            "created_at lies 0:06:00 ahead of now; check its time zone (times without an offset are read in `timezone`)",
        ),
    ],
    ids=["too old", "ahead"],
)
def test_a_refused_time_is_known_for_its_place_in_the_order(age: timedelta, detail: str) -> None:
    refused = refusal(created_at=NOW - age)
    assert (refused.detail, refused.occurred_at) == (detail, NOW - age)


def test_a_row_that_cannot_be_read_keeps_its_id() -> None:
    refused = refusal({"id_field": "order"}, order="A-1", callback_params=Unreadable())
    assert refused.event_id == "A-1"


def test_a_halt_at_a_proxy_names_the_remedy() -> None:
    verdict = classify(407, "")
    assert verdict.outcome is Outcome.HALT
    assert verdict.remedy == "give the proxy's credentials in the worker's proxy settings"


@table(
    ("status", "body"),
    [
        (200, ""),
        (200, "OK"),
        (200, "{}"),
        (200, '{"error": "who knows"}'),
        (200, "who knows"),
        (500, ""),
        (400, "who knows"),
    ],
)
def test_only_a_halt_has_a_remedy(status: int, body: str) -> None:
    assert classify(status, body).remedy == ""


@table(
    ("status", "outcome"),
    [
        (299, Outcome.IN_DOUBT),
        (300, Outcome.HALT),
        (399, Outcome.HALT),
        (400, Outcome.REJECTED),
        (499, Outcome.REJECTED),
        (500, Outcome.RETRY),
    ],
)
def test_where_a_class_of_statuses_begins_and_ends(status: int, outcome: Outcome) -> None:
    assert classify(status, "").outcome is outcome


@table(("body", "message"), [("OK", ""), ("ok", "ok"), ("x " * 499 + "xx", "x " * 148 + "x…"), ("x" * 1001, "")])
def test_which_text_is_a_message(body: str, message: str) -> None:
    assert classify(400, body).message == message


@table(
    ("message", "shown"),
    [
        ("z" * 300, "z" * 300),
        ("z" * 301, "…"),
        ("y " * 149 + "zz", "y " * 149 + "zz"),
        ("y " * 149 + "zzz", "y " * 148 + "y…"),
    ],
    ids=["a word that fits", "a word that does not", "words that fit", "words that do not"],
)
def test_a_message_is_cut_between_words_to_its_longest(message: str, shown: str) -> None:
    assert redact(message) == shown


def test_no_more_than_four_times_the_longest_is_looked_at() -> None:
    """Patterns over an endless answer would take time without an end."""
    assert redact(" " * 1200 + "z") == ""
