"""What a data engineer reads of a refusal or a halt, word for word, and the limits to the last unit."""

from __future__ import annotations

from typing import Any

import pytest
from s2s_case import refusal

from airflow_provider_adjust.s2s.responses import Outcome, classify, redact

REFUSALS: list[tuple[dict[str, Any], str, str]] = [
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
]


@pytest.mark.parametrize(("changes", "reason", "detail"), REFUSALS, ids=[reason for _, reason, _ in REFUSALS])
def test_a_refusal_names_the_remedy(changes: dict[str, Any], reason: str, detail: str) -> None:
    refused = refusal(**changes)
    assert (refused.reason, refused.detail) == (reason, detail)


def test_a_halt_at_a_proxy_names_the_remedy() -> None:
    verdict = classify(407, "")
    assert verdict.outcome is Outcome.HALT
    assert verdict.remedy == "give the proxy's credentials in the worker's proxy settings"


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("body", "message"), [("OK", ""), ("ok", "ok"), ("x " * 499 + "xx", "x " * 148 + "x…"), ("x" * 1001, "")]
)
def test_which_text_is_a_message(body: str, message: str) -> None:
    assert classify(400, body).message == message


@pytest.mark.parametrize(
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
