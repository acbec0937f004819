"""Which event id a row gets from the columns that ``id_field`` names."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from s2s_case import GPS_ADID, NOW, parse, refusal, row
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.identity import LONGEST_EVENT_ID
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.events.values import LONGEST_TOKEN
from airflow_provider_adjust.s2s.ledger.schema import events, scopes

CONTRACT = ("contract_id", "period")


@table(
    ("id_field", "changes", "event_id"),
    [
        pytest.param(CONTRACT, {"contract_id": 77, "period": "2026-11"}, "77|2026-11", id="number and text"),
        pytest.param(list(CONTRACT), {"contract_id": " 77", "period": date(2026, 11, 1)}, "77|2026-11-01", id="date"),
        pytest.param(CONTRACT, {"contract_id": "a|b", "period": "c\\"}, "a\\|b|c\\\\", id="the separator in a value"),
        pytest.param(("contract_id",), {"contract_id": "a|b"}, "a|b", id="one column in a tuple is one column"),
        pytest.param("contract_id", {"contract_id": "a|b"}, "a|b", id="one column is as it is"),
        pytest.param("contract_id", {"contract_id": "x" * 255}, "x" * 255, id="255 characters"),
    ],
)
def test_the_columns_values_make_the_id_and_are_not_sent(id_field: Any, changes: dict[str, Any], event_id: str) -> None:
    event = parse({"id_field": id_field}, **changes)
    assert event.event_id == event_id
    assert event.params == parse().params


def test_the_options_know_the_columns() -> None:
    assert RowOptions().id_columns == ()
    assert RowOptions(id_field="order_no").id_columns == ("order_no",)
    assert RowOptions(id_field=list(CONTRACT)).id_columns == CONTRACT


def test_the_options_know_every_name_that_they_give_to_a_column() -> None:
    options = RowOptions(id_field="a", column_map={"b": "revenue"}, extra_params=["c"], ignore_columns=["d", "*"])
    assert options.column_names == {"a", "b", "c", "d", "event"}
    assert RowOptions(ignore_columns="*").column_names == {"event"}


def test_columns_that_identify_may_be_renamed() -> None:
    options = {"id_field": CONTRACT, "column_map": {"contract_id": "contract", "period": "month"}}
    event = parse(options, contract_id=77, period=11)
    assert (event.event_id, event.params) == ("77|11", parse().params)


ids = st.lists(st.text(alphabet="ab|\\ 1é", min_size=1, max_size=6), min_size=3, max_size=3)


@given(ids, ids)
def test_different_columns_never_make_one_id(one: list[str], other: list[str]) -> None:
    """Space around a value is not part of it, as in a single column."""
    columns = ("a", "b", "c")

    one, other = ([text.strip() for text in texts] for texts in (one, other))
    assume(all(one) and all(other))
    first, second = (parse({"id_field": columns}, **dict(zip(columns, each, strict=True))) for each in (one, other))
    assert (first.event_id == second.event_id) == (one == other)


@table(
    ("value", "says"),
    [
        pytest.param(..., "the row has no column 'order_no', which id_field names; it has: app_token, ", id="absent"),
        pytest.param(None, "the id_field order_no is empty", id="None"),
        pytest.param(float("nan"), "the id_field order_no is empty", id="NaN"),
        pytest.param("  ", "the id_field order_no is empty", id="blank"),
        pytest.param("NULL", "the id_field order_no is the word 'NULL'", id="a word for null"),
        pytest.param(r"\N", r"the id_field order_no is the word '\\N'", id="MySQL's word for null"),
        pytest.param(b"A-1", "the id_field order_no is bytes; cast it to text", id="bytes"),
        pytest.param(bytearray(b"A-1"), "the id_field order_no is bytes; cast it to text", id="bytearray"),
        pytest.param(memoryview(b"A-1"), "the id_field order_no is bytes; cast it to text", id="memoryview"),
        pytest.param({"id": 1}, "the id_field order_no is a dict; name a column that holds one", id="struct"),
        pytest.param(["A-1"], "the id_field order_no is a list; name a column that holds one", id="list"),
        pytest.param(float("inf"), "the id_field order_no is a float; name a column that holds one", id="infinite"),
    ],
)
@table("id_field", ["order_no", ("shop", "order_no")])
def test_a_row_without_an_id_is_refused_with_the_reason(id_field: Any, value: Any, says: str) -> None:
    refused = refusal({"id_field": id_field}, shop="berlin", order_no=value)
    assert (refused.reason, refused.event_id) == ("missing_event_id", None)
    assert says in refused.detail
    assert len(refused.detail) < 200
    assert refused.detail.isprintable()


def test_a_uuid_is_an_id() -> None:
    assert parse({"id_field": "order_no"}, order_no=uuid.UUID(GPS_ADID)).event_id == GPS_ADID


def test_columns_are_listed_in_short_and_on_one_line() -> None:
    detail = refusal({"id_field": "order_no"}, **{"a\nb": 1, "x" * 1_000_000: 1}).detail
    assert detail.isprintable()
    assert len(detail) < 300


@table(
    ("options", "changes"),
    [
        pytest.param({"id_field": "order_no"}, {"order_no": "x" * 256}, id="one column"),
        pytest.param({"id_field": ("order_no", "shop")}, {"order_no": "x" * 253, "shop": "ab"}, id="two columns"),
        pytest.param({"id_field": ("order_no", "shop")}, {"order_no": "|" * 127, "shop": "a"}, id="escapes"),
    ],
)
def test_an_id_is_no_longer_than_the_ledger_holds(options: dict[str, Any], changes: dict[str, Any]) -> None:
    refused = refusal(options, **changes)
    assert refused.reason == "event_id_too_long"
    assert "256 characters" in refused.detail


def test_ids_are_refused_exactly_if_the_ledger_cannot_hold_them() -> None:
    assert events.c.event_id.type.length == LONGEST_EVENT_ID
    assert scopes.c.app_token.type.length == scopes.c.event_key.type.length == LONGEST_TOKEN


@table(
    ("event_id", "reason"),
    [("x" * 256, "event_id_too_long"), ("null", "missing_event_id"), ("", "missing_event_id")],
)
def test_the_id_of_a_rejected_line_keeps_the_same_rules(event_id: str, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        EventParser(RowOptions(id_field="order_no")).parse(ResubmittedRow(row(), event_id), now=NOW)
    assert caught.value.reason == reason


def test_only_a_row_can_lack_the_columns() -> None:
    parser = EventParser(RowOptions(id_field=CONTRACT))
    assert parser.lacks_id_column({"contract_id": None})
    assert not parser.lacks_id_column({"contract_id": None, "period": None})
    assert not parser.lacks_id_column("text")
    assert not parser.lacks_id_column(ResubmittedRow({}, "A-1"))


@table(
    ("id_field", "says"),
    [
        pytest.param("", "must name a column", id="empty"),
        pytest.param((), "must name a column", id="no columns"),
        pytest.param(("order_no", ""), "must name a column", id="one of them is empty"),
        pytest.param(("order_no", "order_no"), "names a column twice", id="a column twice"),
        pytest.param(("order_no", "gps_adid"), "personal data", id="a device id"),
    ],
)
def test_an_unusable_id_field_is_a_configuration_error(id_field: Any, says: str) -> None:
    with pytest.raises(AdjustConfigurationError, match=says):
        EventParser(RowOptions(id_field=id_field))
