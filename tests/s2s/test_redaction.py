"""What a log shows of a value that came from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_adjust.s2s.delivery.intake import row_digest
from airflow_provider_adjust.s2s.events.event import Lane
from airflow_provider_adjust.s2s.events.rows import RowList
from airflow_provider_adjust.s2s.redaction import Unshown, escape, mask_values, quote, row_repr, safe_repr
from airflow_provider_adjust.s2s.transports import Completion


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("nobody may see this")


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("Zoë paid 5 €", None, "Zoë paid 5 €"),
        ("a\r\nb\x1b[2J\u202e\udcff", None, r"a\r\nb\x1b[2J\u202e\udcff"),
        ("12345", 5, "12345"),
        ("123456", 5, "1234…"),
        ("123\n56", 5, r"123\n…"),
        ("", 5, ""),
    ],
)
def test_a_text_is_shown_on_one_line_and_cut(text: str, longest: int | None, shown: str) -> None:
    assert escape(text, longest) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "'x'"), (None, "None"), (10**5000, "<int>"), (Unspeakable(), "<Unspeakable>"), ([Unspeakable()], "<list>")],
    ids=["text", "nothing", "5,000 digits", "unspeakable", "unspeakable in a list"],
)
def test_a_value_that_has_no_text_is_shown_as_its_type(value: Any, text: str) -> None:
    assert safe_repr(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("x\n", r"'x\n'"), ("x" * 50, "'" + "x" * 38 + "…"), ("\u202e", r"'\u202e'"), (Unspeakable(), "<Unspeakable>")],
    ids=["a line's end", "too long", "bidi", "unspeakable"],
)
def test_a_value_in_a_message_is_quoted_and_short(value: Any, text: str) -> None:
    assert quote(value) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        pytest.param({"a": 1, "b": "x"}, "{'a': 1, 'b': 'x'}", id="a row"),
        pytest.param(
            {"a": 1, "b": Unspeakable()}, repr({"'a'": "1", "'b'": "<Unspeakable>"}), id="a row with what has no text"
        ),
        pytest.param({Unspeakable(): 1}, repr({"<Unspeakable>": "1"}), id="a column that has no text"),
        pytest.param("text", "'text'", id="no row"),
        pytest.param(Unspeakable(), "<Unspeakable>", id="no row, and no text"),
    ],
)
def test_a_value_without_a_text_spoils_only_itself_in_the_text_of_its_row(row: Any, text: str) -> None:
    assert row_repr(row) == text


class Handle:
    """As drivers give for what they have no type for: its text is where it is in memory."""


def _released(view: memoryview) -> memoryview:
    view.release()
    return view


class NamedHandle:
    def __repr__(self) -> str:
        return f"<Handle of 'x' at {id(self):#X}>"


@pytest.mark.parametrize(
    "made",
    [
        Handle,
        NamedHandle,
        lambda: memoryview(b"0x12"),
        lambda: bytearray(b"0x12"),
        lambda: [Handle(), "0x1"],
        lambda: {"a": (Handle(),)},
        lambda: {1, Handle},
        lambda: _released(memoryview(b"a")),
    ],
)
def test_the_text_of_a_row_for_a_digest_has_no_address(made: Any) -> None:
    first, second = made(), made()
    assert row_repr({"a": first}) == row_repr({"a": second})
    assert row_repr(first) == row_repr(second)
    assert row_digest({"a": first}) == row_digest({"a": second})
    # An object with a text that another column changes.
    assert row_repr({"a": first, "b": Unspeakable()}) == row_repr({"a": second, "b": Unspeakable()})


@pytest.mark.parametrize(
    ("first", "second"),
    [("at 0x1", "at 0x2"), (b"0x1", b"0x2"), (memoryview(b"a"), memoryview(b"b")), (["0x1"], ["0x2"])],
)
def test_a_text_that_looks_like_an_address_is_distinguished_from_another(first: Any, second: Any) -> None:
    handle = Handle()
    assert row_repr({"a": first, "b": handle}) != row_repr({"a": second, "b": handle})


DEVICE = "de71ce00-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        pytest.param("revenue '1,25' is wrong", "revenue '1,25' is wrong", id="an amount"),
        pytest.param('its value is "it\'s 5"; cast it', 'its value is "it\'s 5"; cast it', id="the other quotes"),
        pytest.param("event 'purchase_of_gems' has no token", "event 'purchase_of_gems' has no token", id="a name"),
        pytest.param("time '2026-11-26 14:05:09.250 PM'", "time '2026-11-26 14:05:09.250 PM'", id="a time"),
        pytest.param("the device's and the event's time", "the device's and the event's time", id="apostrophes"),
        pytest.param(f"event '{DEVICE}' has no token", "event '***' has no token", id="a device id"),
        pytest.param(f"key {DEVICE} is taken", "key *** is taken", id="one without quotes"),
        pytest.param(f"event {quote(DEVICE * 2)} has", "event 'de71…' has", id="one that was cut"),
        pytest.param("event '356938035643809' has no token", "event '***' has no token", id="an IMEI"),
        pytest.param("event '35693803564' has no token", "event '3569…' has no token", id="a long number"),
        pytest.param("event 'ms.person@mail.example' has", "event 'ms.p…' has", id="an address of a person"),
        pytest.param("event '203.0.113.9' has no token", "event '***' has no token", id="an IP address"),
    ],
)
def test_a_refusals_detail_shows_no_id_where_another_value_belongs(detail: str, shown: str) -> None:
    assert mask_values(detail) == shown


def test_a_closed_repr_shows_the_named_attributes_alone() -> None:
    rows = RowList([{"gps_adid": DEVICE}] * 3)
    assert (repr(rows), rows.rows) == ("RowList(rows=3)", 3)
    assert repr(Unshown({"Authorization": "Bearer x"})) == "Unshown()"
    assert repr(Lane("gps_adid", DEVICE, "f0ob4r")) == "Lane(id_name='gps_adid', key='f0ob4r')"
    assert repr(Completion("key", 200, b"echo")) == "Completion(key='key', status=200, failure=None, failure_name='')"
