"""Whichever validator decides, the verdict and the words are those of jsonschema."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints import endpoint
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import EventParser

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WHOLE = {
    "s2s": "1",
    "app_token": "4w565xzmb54d",
    "event_token": "f0ob4r",
    "environment": "sandbox",
    "created_at_unix": "1777593600",
    "gps_adid": "660e1d86-6796-463a-be86-897993136018",
    "revenue": "149.99",
    "currency": "USD",
}
names = st.sampled_from(sorted(EVENT.parameters))
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "0", "1", "USD", "usd", "1.5", "1.", "-1", "production", "abc\n", "１", "{}", "1777593600"]),
)


@st.composite
def near_events(draw: st.DrawFn) -> dict[str, str]:
    """An event's parameters with some taken away, changed or added."""
    params = {name: text for name, text in WHOLE.items() if draw(st.integers(0, 9))}
    return params | draw(st.dictionaries(names, texts, max_size=4))


@settings(max_examples=500)
@given(params=near_events())
def test_all_validators_decide_alike(params: dict[str, str]) -> None:
    expected = Draft202012Validator(EVENT.schema).is_valid(params)
    assert EVENT.is_valid(params) is expected
    assert EVENT.validator.is_valid(params) is expected


def test_the_compiled_validator_is_the_one_that_decides() -> None:
    assert endpoint.jsonschema_rs is not None
    assert EVENT.is_valid.__self__.__class__.__module__.startswith("jsonschema_rs")


@pytest.fixture(scope="module")
def without_the_extra() -> Iterator[Endpoint]:
    """The endpoint as it is where jsonschema-rs is not installed: its module loaded once more, beside the one in use."""
    assert endpoint.__file__ is not None
    spec = spec_from_file_location(f"{endpoint.__package__}.endpoint_alone", endpoint.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "jsonschema_rs", None)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module.EVENT


def test_without_the_extra_jsonschema_decides(without_the_extra: Endpoint) -> None:
    assert without_the_extra.is_valid.__self__ is without_the_extra.validator


def test_what_only_the_extra_refuses_is_no_refusal() -> None:
    """Were a release of it stricter than jsonschema, there would be no words for it, and revenue would stay behind."""

    class Stricter(Endpoint):
        is_valid = staticmethod(lambda _: False)  # type: ignore[assignment]

    event = {"gps_adid": WHOLE["gps_adid"], "event_token": "f0ob4r", "created_at": NOW - timedelta(hours=1)}
    assert _parse(Stricter.load("event.schema.json"), event) == _parse(EVENT, event)


values = st.one_of(st.none(), texts, st.integers(-2, 3), st.floats(0, 200), st.booleans(), st.just(NOW))


@settings(max_examples=300)
@given(
    row=st.dictionaries(st.sampled_from([*sorted(EVENT.parameters), "Revenue", "colour"]), values, max_size=6),
    base=st.booleans(),
)
def test_the_words_do_not_depend_on_the_extra(without_the_extra: Endpoint, row: dict[str, Any], base: bool) -> None:
    whole = {"created_at": NOW - timedelta(hours=1), "idfa": "0A1B", "event_token": "f0ob4r"} if base else {}
    assert _parse(EVENT, whole | row) == _parse(without_the_extra, whole | row)


def _parse(where: Endpoint, row: dict[str, Any]) -> Any:
    parser = EventParser(RowOptions(app_token="4w565xzmb54d", environment="sandbox"), endpoint=where)
    try:
        return parser.parse(row, now=NOW)
    except InvalidEvent as error:
        return error.reason, error.detail
