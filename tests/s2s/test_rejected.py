"""The rejected file preserves rows: a corrected line becomes the event that it would have been, with the same id."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s2s_case import GPS_ADID, NA, NAT, NOW, SECOND, row
from table import table

from airflow_provider_adjust.s2s.account.rejected import (
    ROW_KEY,
    is_rejected_line,
    rejected_line,
    response_line,
    resubmitted_row,
)
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.columns import Columns
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, UnreadableRow

NAN = float("nan")


def _receipt(given_row: Any, event_id: str | None = "an-id") -> Receipt:
    return Receipt(
        Outcome.REJECTED, "device_not_found", event_id, 7, "Device not found", 404, {"error": "x"}, 2, None, given_row
    )


def _back(given_row: Any, event_id: str | None = "an-id") -> Any:
    """The row as it comes back from its line."""
    line = rejected_line(_receipt(given_row, event_id))
    assert "\n" not in line
    return json.loads(line, parse_constant=lambda literal: pytest.fail(f"{literal} is not JSON"))[ROW_KEY]


def _line_of(given_row: dict[str, Any], column_map: dict[str, str]) -> Any:
    """The row in its line, where the delivery had a column map."""
    return json.loads(rejected_line(_receipt(given_row), Columns(RowOptions(column_map=column_map), EVENT)))[ROW_KEY]


def test_a_line_says_what_happened_and_holds_the_row() -> None:
    assert json.loads(rejected_line(_receipt({"adid": "x", "created_at": NOW}))) == {
        "position": 7,
        "event_id": "an-id",
        "outcome": "rejected",
        "reason": "device_not_found",
        "remedy": "Check the environment and the app token; if Adjust learned of the install later, send the event again.",
        "detail": "Device not found",
        "http_status": 404,
        "attempts": 2,
        "row": {"adid": "x", "created_at": "2026-05-01T12:00:00+00:00"},
    }


def test_a_row_is_listed_under_adjusts_names() -> None:
    line = _line_of({"gaid": GPS_ADID, "total": NAN, "note": "x"}, {"gaid": "gps_adid", "total": "revenue"})
    assert line == {"gps_adid": GPS_ADID, "revenue": "NaN", "note": "x"}


def test_a_row_with_two_columns_for_one_name_is_listed_as_it_was_given() -> None:
    given_row = {"gaid": GPS_ADID, "device": "d-2", "total": NAN, "paid": 5, "note": NAN}
    names = {"gaid": "gps_adid", "device": "gps_adid", "total": "revenue", "paid": "revenue"}
    assert _line_of(given_row, names) == {**given_row, "total": "NaN", "note": None}


@table(
    "options",
    [
        {"column_map": {"total": "revenue"}, "ignore_columns": ["*", "revenue"]},
        {"column_map": {"total": "revenue"}, "ignore_columns": ["revenue", "shop", "os_version"]},
        {"column_map": {"total": "revenue", "revenue": "partner_id"}, "extra_params": ["partner_id"],
         "ignore_columns": "*"},
        {"column_map": {"total": "revenue", "revenue": "session_count", "shop": "country"}},
        {"column_map": {"total": "revenue", "revenue": "os_version", "os_version": "country"}, "ignore_columns": "*"},
        {"column_map": {"country": "language", "language": "country", "order": "oid"}, "ignore_columns": ["total", "shop"]},
    ],
)  # fmt: skip
def test_a_line_given_back_needs_no_names_and_with_the_same_ones_it_is_the_same_event(options: dict[str, Any]) -> None:
    id_field = "order" if "language" in options["column_map"] else None
    parser = EventParser(RowOptions(**options, id_field=id_field))
    given_row = row(total="9.90", revenue=1000, currency="USD", shop="de", os_version="17")
    if id_field:
        given_row |= {"country": "de", "language": "en", "order": "o-1"}
    event = parser.parse(given_row, now=NOW)
    [line] = [json.loads(rejected_line(_receipt(given_row, event.event_id), parser.columns))]
    assert "as_given" not in line
    without = RowOptions(id_field=id_field, extra_params=options.get("extra_params", ()))
    for again in (parser, EventParser(without)):
        resubmitted = resubmitted_row(line)
        assert again.parse(resubmitted, now=NOW) == event
        assert json.loads(rejected_line(_receipt(resubmitted, event.event_id), again.columns)) == line


def test_a_row_that_could_not_be_renamed_is_corrected_under_its_own_names() -> None:
    options = RowOptions(column_map={"total": "revenue", "country": "language", "language": "country"})
    parser = EventParser(options)
    given_row = row(total="9.90", revenue=1000, currency="USD", country="de", language="en")
    line = json.loads(rejected_line(_receipt(given_row), parser.columns))
    assert (line["as_given"], line["row"]) == (True, {**given_row, "created_at": "2026-05-01T12:00:00+00:00"})
    assert _outcome(resubmitted_row(line), parser) == "repeated_parameter"
    del line["row"]["revenue"]
    event = parser.parse(resubmitted_row(line), now=NOW)
    assert {name: event.params[name] for name in ("revenue", "country", "language")} == {
        "revenue": "9.90",
        "country": "en",
        "language": "de",
    }


def test_a_line_is_recognised_and_a_row_is_not() -> None:
    assert is_rejected_line(json.loads(rejected_line(_receipt(row()))))
    assert not is_rejected_line(row())
    assert not is_rejected_line({"row": {}, "reason": "x"})
    assert not is_rejected_line(None)
    assert not is_rejected_line(["position", "event_id", "outcome", "reason", "detail", "row"])


def test_the_answers_line_has_the_id_and_the_whole_answer() -> None:
    receipt = Receipt(Outcome.DELIVERED, "", "an-id", 1, answer='{"skadn_conv_value": 3, "text": "ü\\n"}'.encode())
    line = response_line(receipt)
    assert "\n" not in line
    assert json.loads(line) == {"event_id": "an-id", "response": {"skadn_conv_value": 3, "text": "ü\n"}}


#: Columns in which a row may come that is an event, in every type that a database or pandas hands out.
COLUMNS = [
    pytest.param({}, id="as it is"),
    pytest.param({"created_at": NOW.replace(microsecond=123_456)}, id="datetime with a fraction"),
    pytest.param({"created_at": datetime(2026, 5, 1, 12)}, id="naive datetime"),
    pytest.param({"created_at": SECOND + 0.25}, id="epoch float"),
    pytest.param({"created_at": Decimal(f"{SECOND}.25")}, id="epoch Decimal"),
    pytest.param({"created_at": Decimal("1.7776E+9")}, id="epoch Decimal with an exponent"),
    pytest.param({"created_at": NAT, "created_at_unix": SECOND}, id="one of two times missing"),
    pytest.param({"revenue": Decimal("149.90"), "currency": "usd"}, id="Decimal revenue"),
    pytest.param({"revenue": Decimal("1E+3"), "currency": "USD"}, id="Decimal revenue with an exponent"),
    pytest.param({"revenue": 0.1 + 0.2, "currency": "USD"}, id="float revenue"),
    pytest.param({"revenue": 5, "currency": "USD"}, id="int revenue"),
    pytest.param({"revenue": None, "currency": "USD"}, id="no revenue"),
    pytest.param({"revenue": NA, "currency": "USD"}, id="NA for revenue"),
    pytest.param({"os_version": NAN}, id="NaN in a text column"),
    pytest.param({"os_version": Decimal("NaN")}, id="Decimal NaN in a text column"),
    pytest.param({"os_version": NA, "user_agent": NAT}, id="NA and NaT in text columns"),
    pytest.param({"os_version": Decimal("1E+1")}, id="Decimal text with an exponent"),
    pytest.param({"os_version": 17.0}, id="float text"),
    pytest.param({"idfa": uuid.UUID(int=5)}, id="uuid"),
    pytest.param({"tracking_enabled": True}, id="flag"),
    pytest.param({"session_count": 5.0}, id="integer as float"),
    pytest.param({"callback_params": {"a": NAN, "b": None, "c": Decimal("1E+3"), "d": True, "e": 1e22}}, id="mapping"),
    pytest.param(
        {"callback_params": {"a": [1, "x", None, 2.5], "b": NOW, "c": date(2026, 5, 1)}}, id="mapping with a list"
    ),
    pytest.param({"callback_params": '{"a": 1.50}'}, id="JSON text"),
    pytest.param({"callback_params": {"a": time(12), "b": uuid.UUID(int=5)}}, id="mapping of rarer scalars"),
    pytest.param({"gps_adid": "ünïcode", "user_agent": 'quote " and \\ and \n'}, id="Unicode"),
]


def _outcome(given_row: Any, parser: EventParser) -> Event | str:
    try:
        return parser.parse(given_row, now=NOW)
    except InvalidEvent as refused:
        return refused.reason


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_line_given_back_is_the_same_event_with_the_same_id(columns: dict[str, Any]) -> None:
    parser = EventParser()
    original = parser.parse(row(**columns), now=NOW)
    corrected = ResubmittedRow(_back(row(**columns), original.event_id), original.event_id)
    again = parser.parse(corrected, now=NOW)
    assert again == original


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"revenue": NAN, "currency": "USD"}, "invalid_revenue", id="NaN revenue"),
        pytest.param({"revenue": Decimal("NaN"), "currency": "USD"}, "invalid_revenue", id="Decimal NaN revenue"),
        pytest.param({"revenue": float("inf"), "currency": "USD"}, "invalid_revenue", id="infinite revenue"),
        pytest.param({"revenue": "much", "currency": "USD"}, "invalid_revenue", id="words for revenue"),
        pytest.param({"created_at": date(2026, 5, 1)}, "invalid_created_at", id="a bare date"),
        pytest.param({"created_at": NOW - timedelta(days=90)}, "expired", id="too old"),
        pytest.param({"gps_adid": None}, "missing_device_id", id="no device"),
        pytest.param({"callback_params": {"a": {"b": 1}}}, "invalid_callback_params", id="nested"),
        pytest.param({"Revenue": 5}, "unknown_parameter", id="unknown column"),
    ],
)
def test_a_rejected_line_sent_again_uncorrected_is_refused_again(columns: dict[str, Any], reason: str) -> None:
    parser = EventParser()
    assert _outcome(row(**columns), parser) == reason
    assert _outcome(ResubmittedRow(_back(row(**columns)), "an-id"), parser) == reason


def test_a_corrected_line_keeps_its_id() -> None:
    parser = EventParser()
    broken = row(revenue=Decimal("12.50"), gps_adid=None, currency="USD")
    corrected = {**_back(broken), "gps_adid": "now-known"}
    event = parser.parse(ResubmittedRow(corrected, "an-id"), now=NOW)
    assert event.event_id == "an-id"
    assert event.params["revenue"] == "12.50"


@pytest.mark.parametrize(
    "given_row",
    [UnreadableRow("the line is not JSON"), None, "text", 5, ["a", NOW], {"a": object}, {5: b"x"}, NAT],
    ids=repr,
)
def test_whatever_stood_in_a_rows_place_makes_a_line(given_row: Any) -> None:
    assert json.dumps(_back(given_row))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_infinity=False),
    st.decimals(allow_infinity=False, allow_nan=False, places=3),
    st.text(max_size=10),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "revenue": st.one_of(st.none(), st.floats(0.001, 1e11), st.decimals("0.001", "1e11", places=5)),
            "user_agent": SCALARS,
            "os_version": SCALARS,
            "callback_params": st.dictionaries(
                st.text(max_size=5), SCALARS | st.lists(st.integers() | st.text(max_size=3))
            ),
            "tracking_enabled": st.booleans(),
            "idfa": st.uuids() | st.text(max_size=20),
            "created_at": st.datetimes(NOW.replace(tzinfo=None) - timedelta(days=58), NOW.replace(tzinfo=None)),
        },
    )
)
def test_any_row_given_back_means_the_same(columns: dict[str, Any]) -> None:
    parser = EventParser()
    given_row = row(currency="USD", **columns)
    original = _outcome(given_row, parser)
    event_id = original.event_id if isinstance(original, Event) else "an-id"
    assert _outcome(ResubmittedRow(_back(given_row, event_id), event_id), parser) == original
