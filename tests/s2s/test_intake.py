"""Rows become jobs in the order of sending; a row that is not an event becomes a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s2s_case import GPS_ADID, NOW, SECOND, row, until_raised
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.intake import Intake, row_digest, utc_now
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, UnreadableRow


def _intake(**options: Any) -> Intake:
    return Intake({None: EventParser(RowOptions(**options))}, now=lambda: NOW)


def _at(seconds: float, **changes: Any) -> dict[str, Any]:
    """A row with an event that happened this many seconds before now."""
    return row(created_at=NOW - timedelta(seconds=seconds), **changes)


def _positions(items: Any) -> list[int]:
    return [item.position for item in items]


def _ids(items: Any) -> list[str | None]:
    return [item.event.event_id if isinstance(item, Job) else item.event_id for item in items]


INVALID = row(revenue="much", currency="USD")


# --- a list -----------------------------------------------------------------------------------------------------------


def test_a_list_is_sorted_by_time_and_positions_count_from_1_in_the_input() -> None:
    intake = _intake()
    assert _positions(intake.sorted([_at(10), _at(30), _at(20)])) == [2, 3, 1]
    assert intake.read == 3


def test_a_list_is_sorted_by_fractions_of_a_second() -> None:
    assert _positions(_intake().sorted([_at(1.25), _at(1.5), _at(1.75)])) == [3, 2, 1]


def test_equal_times_keep_the_order_of_their_rows() -> None:
    rows = [_at(5, gps_adid=f"device{number}") for number in range(20)]
    assert _positions(_intake().sorted(rows)) == list(range(1, 21))


def test_rows_without_a_time_are_first_and_too_old_ones_keep_their_place() -> None:
    expired = row(created_at=NOW - timedelta(days=60))
    items = list(_intake().sorted([_at(10), INVALID, expired, _at(20), row(created_at=None)]))
    assert _positions(items) == [2, 5, 3, 4, 1]
    assert [type(item) for item in items] == [Receipt, Receipt, Receipt, Job, Job]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 999_999), st.booleans()), max_size=20))
def test_every_row_of_a_list_comes_out_once_in_the_order_of_time(rows: list[tuple[int, int, bool]]) -> None:
    given_rows = [
        _at(seconds + micro / 1_000_000, gps_adid="d", revenue=1 if valid else "much", currency="USD")
        for seconds, micro, valid in rows
    ]
    intake = _intake()
    items = list(intake.sorted(given_rows))
    assert sorted(_positions(items)) == list(range(1, len(rows) + 1))
    times = [(item.event.occurred_at, item.position) for item in items if isinstance(item, Job)]
    assert times == sorted(times)
    assert intake.read == len(rows)


# --- a stream ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_passed_on_as_it_comes() -> None:
    intake = _intake()
    rows = iter([_at(30), INVALID, _at(20), _at(20), _at(10)])
    stream = intake.stream(rows)
    first = next(stream)
    assert (first.position, intake.read) == (1, 1)
    assert _positions(stream) == [2, 3, 4, 5]


@table("backwards", [timedelta(days=1), timedelta(seconds=1), timedelta(microseconds=1)], ids=str)
def test_a_stream_that_goes_backwards_ends_there(backwards: timedelta) -> None:
    latest = NOW - timedelta(days=2)
    intake = _intake(id_field="order_no")
    # Another device and another event: a stream goes forwards as a whole.
    rows = [
        row(created_at=latest, order_no="A-1"),
        row(created_at=latest - backwards, order_no="A-2", gps_adid="another", event_token="other1"),
        row(created_at=NOW, order_no="A-3"),
    ]
    passed, raised = until_raised(intake.stream(rows), StreamOutOfOrder)
    assert _positions(passed) == [1]
    # The row that was not passed on is not counted as read: counts add up.
    assert intake.read == 1
    message = str(raised)
    assert "row 2 (event A-2)" in message
    assert "before row 1 (event A-1)" in message
    assert "ORDER BY" in message
    assert GPS_ADID not in message


def test_a_refused_row_does_not_move_the_streams_time() -> None:
    ahead = row(created_at=NOW + timedelta(hours=1))
    expired = row(created_at=NOW - timedelta(days=60))
    outcomes = [
        item.outcome.value if isinstance(item, Receipt) else "job"
        for item in _intake().stream([_at(20), ahead, _at(20), expired, _at(10)])
    ]
    assert outcomes == ["job", "invalid", "job", "expired", "job"]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refused_row_has_a_receipt_with_the_reason_and_the_row() -> None:
    (receipt,) = _intake().sorted([INVALID])
    assert isinstance(receipt, Receipt)
    assert (receipt.outcome, receipt.reason, receipt.position) == (Outcome.INVALID, "invalid_revenue", 1)
    assert "'much'" in receipt.detail
    assert receipt.row is INVALID
    assert receipt.event_id == row_digest(INVALID)
    assert receipt.attempts == 0


def test_an_expired_row_has_an_outcome_of_its_own() -> None:
    (receipt,) = _intake().sorted([row(created_at=NOW - timedelta(days=59))])
    assert (receipt.outcome, receipt.reason) == (Outcome.EXPIRED, "expired")


def test_a_refused_row_keeps_its_own_id() -> None:
    (receipt,) = _intake(id_field="order_no").sorted([{**INVALID, "order_no": "A-1"}])
    assert receipt.event_id == "A-1"


@table("given_row", [UnreadableRow("the line is not JSON"), "text", None, 5, ["\ud800"]], ids=repr)
def test_anything_but_a_row_has_a_receipt_too(given_row: Any) -> None:
    (receipt,) = _intake().sorted([given_row])
    assert receipt.outcome is Outcome.INVALID
    assert receipt.event_id


def test_a_rows_digest_ignores_the_order_of_columns_and_reveals_nothing() -> None:
    assert row_digest({"a": 1, 5: "\ud800"}) == row_digest({5: "\ud800", "a": 1})
    assert row_digest({"a": 1}) != row_digest({"a": 2})
    assert GPS_ADID not in row_digest(row())


#: What every row of a delivery normally has: without it, the row is refused, by this reason.
SHARED = [
    ("environment", "missing_environment"),
    ("app_token", "missing_app_token"),
    ("event_token", "missing_event_token"),
    ("order_no", "missing_event_id"),
]


@table(("missing", "reason"), SHARED)
@table("how", ["sorted", "stream"])
def test_a_single_row_without_a_required_value_is_refused_anywhere(how: str, missing: str, reason: str) -> None:
    for place in range(3):
        rows = [row(order_no=f"A-{number}") for number in range(3)]
        del rows[place][missing]
        items = {each.position: each for each in getattr(_intake(id_field="order_no"), how)(rows)}
        assert [isinstance(items[number], Job) for number in (1, 2, 3)] == [number != place for number in range(3)]
        refused = items[place + 1]
        assert isinstance(refused, Receipt)
        assert (refused.outcome, refused.reason) == (Outcome.INVALID, reason)


@table("missing", [missing for missing, _ in SHARED])
@table("how", ["sorted", "stream"])
@table("rows", [1, 3])
def test_a_value_that_every_row_lacks_is_a_configuration_error(how: str, missing: str, rows: int) -> None:
    intake = _intake(id_field="order_no")
    items = getattr(intake, how)([row(**{"order_no": "A-1", missing: ...})] * rows)
    with pytest.raises(
        AdjustConfigurationError, match=rf"(?s)no (column .)?{missing}.*rows read, all of them the same: {rows}\)"
    ):
        next(items)
    assert intake.read == 0


def test_a_wrong_column_in_id_field_is_reported_with_the_existing_columns() -> None:
    with pytest.raises(AdjustConfigurationError) as caught:
        next(_intake(id_field="order_id").stream([{**row(), "order_no": "A-1"}]))
    assert "no column 'order_id', which id_field names" in str(caught.value)
    assert "'app_token', 'event_token', 'environment', 'created_at', 'gps_adid', 'order_no'" in str(caught.value)


def test_a_stream_that_never_has_a_token_ends_long_before_its_end() -> None:
    rows = iter([row(event_token=...)] * 5000)
    with pytest.raises(AdjustConfigurationError, match="all of them the same: 1,000"):
        next(_intake().stream(rows))
    assert len(list(rows)) == 4000


def test_an_empty_id_is_its_rows_mistake_also_where_all_are() -> None:
    items = list(_intake(id_field="order_no").stream([row(order_no="")] * 2))
    assert [item.reason for item in items if isinstance(item, Receipt)] == ["missing_event_id"] * 2


@table("how", ["sorted", "stream"])
def test_an_empty_input_is_not_an_error(how: str) -> None:
    assert list(getattr(_intake(), how)([])) == []


# --- equal events and repeated ids ------------------------------------------------------------------------------------


@table("how", ["sorted", "stream"])
def test_equal_purchases_of_one_second_are_events_of_their_own(how: str) -> None:
    rows = [_at(5)] * 3 + [_at(4)] * 2
    ids = _ids(getattr(_intake(), how)(rows))
    assert len(set(ids)) == 5
    assert ids == _ids(getattr(_intake(), how)(rows))


def test_equal_purchases_are_numbered_by_second_whatever_their_fraction() -> None:
    ids = _ids(_intake().stream([_at(5.75), _at(5.5), _at(5.25)]))
    assert len(set(ids)) == 3


@table("how", ["sorted", "stream"])
def test_a_repeated_id_is_refused_and_the_first_row_named(how: str) -> None:
    rows = [_at(5, order_no="A-1"), _at(5, order_no="A-2"), _at(5, order_no="A-1")]
    items = list(getattr(_intake(id_field="order_no"), how)(rows))
    (refused,) = (item for item in items if isinstance(item, Receipt))
    assert (refused.position, refused.outcome, refused.reason) == (3, Outcome.INVALID, "repeated_event_id")
    assert refused.event_id == "A-1"
    assert "row 1 has the same event id" in refused.detail
    assert sorted(_positions(items)) == [1, 2, 3]


def test_a_list_finds_a_repeated_id_at_any_time() -> None:
    items = list(_intake(id_field="order_no").sorted([_at(500, order_no="A-1"), _at(5, order_no="A-1")]))
    assert [item.reason for item in items if isinstance(item, Receipt)] == ["repeated_event_id"]


def test_a_stream_remembers_one_second_only() -> None:
    # Otherwise its memory would grow with the stream.
    items = _intake(id_field="order_no").stream([_at(500, order_no="A-1"), _at(5, order_no="A-1")])
    assert [type(item) for item in items] == [Job, Job]


def test_corrected_rows_of_one_second_keep_their_ids() -> None:
    rows = [ResubmittedRow(row(), "first"), ResubmittedRow(row(), "second"), ResubmittedRow(row(), "first")]
    items = list(_intake().sorted(rows))
    assert [item.event.event_id for item in items if isinstance(item, Job)] == ["first", "second"]
    assert [item.position for item in items if isinstance(item, Receipt)] == [3]


# --- routes -----------------------------------------------------------------------------------------------------------

ROUTES = {
    "ios": EventParser(RowOptions(app_token="iosapp")),
    "android": EventParser(RowOptions(app_token="androidapp")),
}


def test_a_row_goes_its_own_route() -> None:
    rows = [_at(9, app_token=..., os_name="android"), _at(8, app_token=..., os_name="ios")]
    jobs = list(Intake(ROUTES, route_by="os_name", now=lambda: NOW).stream(rows))
    assert [(job.route, job.event.params["app_token"]) for job in jobs if isinstance(job, Job)] == [
        ("android", "androidapp"),
        ("ios", "iosapp"),
    ]


@table("value", ["windows", None, "", 5, ["ios"], {"os": "ios"}], ids=repr)
def test_a_row_without_a_route_is_refused(value: Any) -> None:
    (receipt,) = Intake(ROUTES, route_by="os_name", now=lambda: NOW).sorted([row(os_name=value)])
    assert isinstance(receipt, Receipt)
    assert (receipt.outcome, receipt.reason) == (Outcome.INVALID, "unknown_route")
    assert "adjust_conn_id has android, ios" in receipt.detail


def test_a_name_that_all_rows_have_is_a_mistake_of_the_configuration_and_else_of_the_row() -> None:
    good, bad = row(), row(revenu="1")
    with pytest.raises(AdjustConfigurationError, match=r"(?s)unknown columns: 'revenu' \(revenue\?\).*the same: 2\)"):
        next(Intake({None: EventParser()}, now=lambda: NOW).stream([bad, bad]))
    for rows in ([bad, good], [good, bad]):
        items = list(Intake({None: EventParser()}, now=lambda: NOW).stream(rows))
        assert [item.reason for item in items if isinstance(item, Receipt)] == ["unknown_parameter"]


def test_what_is_left_out_is_known_once_for_all_routes() -> None:
    parsers: dict[str | None, EventParser] = {
        name: EventParser(RowOptions(ignore_columns="*"), ignored=("os_name",)) for name in ("android", "ios")
    }
    rows = [row(os_name=name, shop="x", **{name: 1}) for name in ("android", "ios")]
    intake = Intake(parsers, route_by="os_name", now=lambda: NOW)
    assert len([item for item in intake.stream(rows) if isinstance(item, Job)]) == 2
    assert intake.left_out_columns == ["shop", "android", "ios"]


def test_a_route_column_that_every_row_lacks_is_a_configuration_error() -> None:
    with pytest.raises(AdjustConfigurationError, match="it has no column 'os_name', which route_by names"):
        next(Intake(ROUTES, route_by="os_name", now=lambda: NOW).sorted([row()]))


def test_anything_but_a_row_has_no_route_either() -> None:
    (receipt,) = Intake(ROUTES, route_by="os_name", now=lambda: NOW).sorted([UnreadableRow("not JSON")])
    assert receipt.outcome is Outcome.INVALID


# --- the clock --------------------------------------------------------------------------------------------------------


def test_age_is_measured_when_a_row_is_read() -> None:
    moments: Iterator[datetime] = iter([NOW, NOW + timedelta(days=59)])
    intake = Intake({None: EventParser()}, now=lambda: next(moments))
    first, second = intake.stream([row(created_at=SECOND), row(created_at=SECOND)])
    assert isinstance(first, Job)
    assert second.outcome is Outcome.EXPIRED


def test_the_clock_by_default_is_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
