"""The short way for clean values: it says what the normalisers say, or nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from s2s_case import GPS_ADID, NA, NOW, ROW, parse

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Parameter
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.clean import CLEAN
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.events.values import NORMALISERS, is_missing

PARAMETERS = [parameter for parameter in EVENT.parameters.values() if parameter.kind in CLEAN]


class Text(str):
    """A database may have types of its own."""

    __slots__ = ()


WORDS = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "01",
        "1.",
        ".5",
        "0.0",
        "0.001",
        "0.0009",
        "0.50",
        "9999999999.99",
        "1e3",
        "1E+3",
        "5.0",
    ),
    *(
        "nan",
        "NaN",
        "NULL",
        "none",
        "n/a",
        "<NA>",
        "\\N",
        "nat",
        "undefined",
        "true",
        "on",
        "USD",
        "usd",
        " USD",
        "ZZZ",
    ),
    *("sandbox", "production", "ios", "IOS", "android-tv", "abc123", "a b", "a+b", "a&b=c", "ß", "a~b_c.d-e", "\ud800"),
    *("192.0.2.1", "192.0.2.01", "256.1.1.1", "1.2.3", "::1", "192.0.2.1/32", "0" * 32, "-" * 40, "0-" * 20),
    *(GPS_ADID, GPS_ADID.upper(), f" {GPS_ADID}", GPS_ADID.replace("-", ""), "x" * 64, "x" * 65, "x" * 512, "x" * 513),
)
VALUES: tuple[Any, ...] = (
    *WORDS,
    *map(Text, WORDS),
    *(True, False, 0, 1, -1, 7, 10**9, 10**10, 10**18 - 1, 10**18, 10**5000),
    *(0.0, -0.0, 0.5, 5.0, 0.1 + 0.2, 1e-3, 1e22, float("nan"), float("inf")),
    *map(
        Decimal, ("0", "-0", "1", "1.50", "1E+2", "0.001", "0.00001", "1E-7", "99999999999", "NaN", "sNaN", "Infinity")
    ),
    *(b"1", None, NA, NOW, [], {}, ["USD"], {"a": "b"}),
)


def _check(parameter: Parameter, value: Any) -> str | None:
    make = CLEAN[parameter.kind](parameter)
    assert make is not None
    text = make(value) if value is not None else None
    if text is not None:
        assert not is_missing(value)
        assert text == NORMALISERS[parameter.kind](parameter, value)
        assert type(text) is str
        assert text == quote_plus(text) != ""
    return text


@pytest.mark.parametrize("kind", CLEAN)
def test_a_clean_value_has_the_text_that_the_normaliser_gives_it(kind: str) -> None:
    parameters = [parameter for parameter in PARAMETERS if parameter.kind == kind]
    texts = {_check(parameter, value) for parameter in parameters for value in VALUES}
    assert len(texts) > 1


@given(
    st.sampled_from(PARAMETERS),
    st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.booleans(), st.ip_addresses().map(str)),
)
def test_so_it_is_for_any_value(parameter: Parameter, value: Any) -> None:
    _check(parameter, value)


def test_an_endpoint_with_a_larger_minimum_has_no_short_way_for_amounts() -> None:
    of_one = Parameter("amount", "money", "", "", (), None, True, False, minimum=Decimal(1))
    assert CLEAN["money"](of_one) is None
    with pytest.raises(InvalidEvent):
        NORMALISERS["money"](of_one, "0.99")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80))
@example('"}\\')
def test_the_event_id_is_sent_as_json_whatever_is_in_it(event_id: str) -> None:
    options = RowOptions(event_id_param="event_id")
    event = EventParser(options).parse(ResubmittedRow(ROW, f"#{event_id}#"), now=NOW)
    assert json.loads(event.params["callback_params"]) == {"event_id": event.event_id}
    assert dict(parse_qsl(event.body, strict_parsing=True)) == event.params


def test_an_event_id_in_plain_letters_too() -> None:
    params = {name: parse({"event_id_param": name}).params["callback_params"] for name in ("id", 'i"d')}
    assert all([*json.loads(text)] == [name] for name, text in params.items())


def test_each_parameter_is_sent_once_also_where_the_row_and_an_option_give_it() -> None:
    options = {
        "event_tokens": {"purchase": "abcdef"},
        "event_token": "ghijkl",
        "environment": "production",
        "event_id_param": "id",
    }
    for changes in (
        {},
        {"event": "purchase"},
        {"event": "purchase", "event_token": ...},
        {"event_token": ..., "environment": "sandbox", "event": "purchase"},
        {"callback_params": {"a": "b"}},
    ):
        event = parse(options, **changes)
        assert parse_qsl(event.body, strict_parsing=True) == [*event.params.items()]
