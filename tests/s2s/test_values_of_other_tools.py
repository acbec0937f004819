"""Values as other tools write them: words for null, repeated names, and maps in their own forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from s2s_case import GPS_ADID, TOKEN, parse, refusal
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import UnreadableRow

NULL_WORDS = ["null", "NULL", "None", "nan", "NaN", "NaT", r"\N", "<NA>", "undefined", "N/A", "n/a", "NA", "nil"]
NULL_WORDS += ["(null)", "[NULL]", "<nil>", "#N/A", '"null"', "'None'", " null\n"]
IDENTIFIERS = sorted(EVENT.device_ids) + [p.name for p in EVENT.parameters.values() if p.kind == "identifier"]


# --- words for null ---------------------------------------------------------------------------------------------------


@table("word", NULL_WORDS)
@table("name", IDENTIFIERS)
def test_an_id_that_is_a_word_for_null_is_left_out_and_counted(name: str, word: str) -> None:
    event = parse(**{"gps_adid": ..., "adid": "a" * 32, name: word} if name != "adid" else {"adid": word})
    assert event.left_out == (name,)
    assert name not in event.params
    assert name not in {lane.id_name for lane in event.lanes}


def test_a_row_that_has_only_words_for_null_has_no_device() -> None:
    assert refusal(gps_adid="null", idfa="None").reason == "missing_device_id"


@table("word", NULL_WORDS)
def test_a_token_that_is_a_word_for_null_is_the_operators_own(word: str) -> None:
    event = parse({"event_token": "operator", "app_token": "app"}, event_token=word, app_token=word)
    assert (event.params["event_token"], event.params["app_token"], event.left_out) == ("operator", "app", ())
    assert refusal(event_token=word).reason == "missing_event_token"


@table("word", NULL_WORDS)
def test_an_event_name_that_is_a_word_for_null_names_none(word: str) -> None:
    options = {"event_token": "operator", "event_tokens": {"purchase": "named1"}}
    assert parse(options, event_token=..., event=word).params["event_token"] == "operator"


def test_an_event_may_be_named_by_a_word_for_null() -> None:
    assert parse({"event_tokens": {"none": "named1"}}, event_token=..., event="none").params["event_token"] == "named1"


@table("name", ["app_token", "event_token"])
def test_an_operators_token_that_is_a_word_for_null_is_a_configuration_error(name: str) -> None:
    """A template of a variable that is not set renders to a word."""
    with pytest.raises(AdjustConfigurationError, match=f"{name} is 'None'"):
        EventParser(RowOptions(**{name: "None"}))


@table("value", ["nullify", "Nonesuch", "x-null", "NANA", "null" * 10])
def test_a_word_that_only_begins_like_null_is_an_id(value: str) -> None:
    assert parse(external_device_id=value).params["external_device_id"] == value


# --- names that repeat ------------------------------------------------------------------------------------------------


@table(
    "value",
    [
        pytest.param('{"a": 1, "a": 2}', id="JSON text"),
        pytest.param('{"a": 1, "b": {"c": 1, "c": 1}}', id="JSON text, further in"),
        pytest.param([("a", "1"), ("b", "2"), ("a", "1")], id="pairs"),
        pytest.param([{"key": "a", "value": 1}, {"key": "a", "value": 2}], id="keys and values"),
    ],
)
@table("name", ["callback_params", "partner_params"])
def test_an_object_with_one_name_twice_is_refused(name: str, value: Any) -> None:
    refused = refusal(**{name: value})
    assert refused.reason == "repeated_parameter"
    assert name in refused.detail


def test_a_row_with_one_name_twice_is_refused() -> None:
    with pytest.raises(InvalidEvent) as caught:
        EventParser().parse(UnreadableRow("line 7 has the name 'revenue' twice", "repeated_parameter"))  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.detail) == ("repeated_parameter", "line 7 has the name 'revenue' twice")


# --- objects ----------------------------------------------------------------------------------------------------------


@table("value", ["null", " null ", "NULL", r"\N", "None", [], (), "[]", " [ ] "], ids=repr)
@table("name", ["callback_params", "partner_params"])
def test_no_object_at_all_is_left_out(name: str, value: Any) -> None:
    event = parse(**{name: value})
    assert name not in event.params
    assert event.left_out == ()


@table(
    "value",
    [
        pytest.param([("shop", "berlin"), ("items", 2), ("none", None)], id="a Parquet MAP"),
        pytest.param([["shop", "berlin"], ["items", 2]], id="a Parquet MAP, through JSON"),
        pytest.param('[["shop", "berlin"], ["items", 2]]', id="a Parquet MAP, as JSON text"),
        pytest.param((("shop", "berlin"), ("items", "2")), id="tuples"),
        pytest.param([{"key": "shop", "value": "berlin"}, {"value": 2, "key": "items"}], id="an array of structs"),
    ],
)
@table("name", ["callback_params", "partner_params"])
def test_a_map_is_read(name: str, value: Any) -> None:
    assert json.loads(parse(**{name: value}).params[name]) == {"shop": "berlin", "items": "2"}


STRUCT = {"f": [{"v": "berlin"}, {"v": "2"}]}


@table(
    "value",
    [
        pytest.param({"v": STRUCT}, id="STRUCT"),
        pytest.param(STRUCT, id="STRUCT, unwrapped"),
        pytest.param(json.dumps({"v": STRUCT}), id="STRUCT, as JSON text"),
        pytest.param([{"v": STRUCT}, {"v": STRUCT}], id="ARRAY of STRUCT"),
        pytest.param({"v": [{"v": "a"}, {"v": "b"}]}, id="ARRAY"),
        pytest.param({"v": {"f": [{"v": {"f": [{"v": "a"}]}}]}}, id="STRUCT within a STRUCT"),
    ],
)
@table("name", ["callback_params", "partner_params"])
def test_bigquerys_rest_form_is_refused_with_the_remedy(name: str, value: Any) -> None:
    refused = refusal(**{name: value})
    assert refused.reason == f"invalid_{name}"
    assert f"TO_JSON_STRING(...) AS {name}" in refused.detail


@table("value", [{"v": "1"}, {"f": "x"}, {"v": ["a"]}, {"f": []}, {"v": "1", "f": [{"v": 1}]}], ids=repr)
def test_keys_that_only_look_like_it_are_the_users_own(value: dict[str, Any]) -> None:
    assert json.loads(parse(callback_params=value).params["callback_params"]).keys() == value.keys()


# --- lengths ----------------------------------------------------------------------------------------------------------


@table("name", ["app_token", "event_token"])
def test_a_token_is_no_longer_than_the_ledger_holds(name: str) -> None:
    assert parse(**{name: "x" * 64}).params[name] == "x" * 64
    refused = refusal(**{name: "x" * 65})
    assert (refused.reason, "65 characters" in refused.detail) == (f"invalid_{name}", True)
    with pytest.raises(AdjustConfigurationError, match=f"{name}.* 65 characters long"):
        EventParser(RowOptions(**{name: "x" * 65}))
    with pytest.raises(AdjustConfigurationError, match=r"event_tokens.* 65 characters long"):
        EventParser(RowOptions(event_tokens={"purchase": "x" * 65}))


def test_devices_and_tokens_of_the_smallest_row_are_not_words_for_null() -> None:
    event = parse()
    assert (event.params["gps_adid"], event.params["event_token"], event.left_out) == (GPS_ADID, TOKEN, ())
