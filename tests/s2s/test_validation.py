"""The rules over several parameters, decided in Python, agree with the schema, which jsonschema reads."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_hostile_rows import VALUES

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS as REGISTERED
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint, Rules
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import EventParser

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "app_token": "4w565xzmb54d",
    "event_token": "f0ob4r",
    "environment": "sandbox",
    "created_at": NOW - timedelta(hours=1),
    "gps_adid": "660e1d86-6796-463a-be86-897993136018",
    "revenue": "149.99",
    "currency": "USD",
}


def _other_schema() -> dict[str, Any]:
    """Another endpoint's: other names required, one device id demanded, two rules of dependence, nothing exclusive."""
    schema = deepcopy(EVENT.schema)
    schema = {**schema, "required": ["s2s", "app_token", "os_name"], "anyOf": [{"required": ["idfa"]}]}
    schema["dependentRequired"] = {"revenue": ["currency", "os_name"], "device_name": ["device_type"]}
    del schema["not"]
    return schema


class WithoutRules(Endpoint):
    """An endpoint that lets everything through that the normalisers do."""

    rules = Rules((), (), (), ())  # type: ignore[assignment]


class Hostile(NamedTuple):
    """Names a value of the table: some of them cannot be shown, which hypothesis does."""

    name: str


def _with_values(row: dict[str, Any]) -> dict[str, Any]:
    return {name: VALUES[value.name] if isinstance(value, Hostile) else value for name, value in row.items()}


ENDPOINTS = (*REGISTERED.values(), Endpoint.of(_other_schema()))
names = st.sampled_from(sorted(EVENT.parameters))
values = st.one_of(
    st.sampled_from(sorted(VALUES)).map(Hostile),
    st.sampled_from(["", "0", "1", "USD", "usd", "1.5", "-1", "production", "abc\n", "１", "{}"]),
    st.text(max_size=12),
    st.integers(-2, 3),
    st.floats(0, 200),
    st.booleans(),
    st.just(NOW),
)


@st.composite
def hostile_rows(draw: st.DrawFn) -> dict[str, Any]:
    """An event's row with some columns taken away, changed or added."""
    whole = {name: value for name, value in WHOLE.items() if draw(st.integers(0, 9))}
    return whole | draw(st.dictionaries(names, values, max_size=5))


@settings(max_examples=500)
@given(row=hostile_rows(), endpoint=st.sampled_from(ENDPOINTS))
def test_the_rules_and_the_schema_give_one_verdict(row: dict[str, Any], endpoint: Endpoint) -> None:
    try:
        params = (
            EventParser(RowOptions(), endpoint=WithoutRules.of(endpoint.schema))
            .parse(_with_values(row), now=NOW)
            .params
        )
    except InvalidEvent:
        return  # a normaliser has refused a value, before any rule is asked
    assert endpoint.rules.accept(params) is Draft202012Validator(endpoint.schema).is_valid(params)
    assert endpoint.validator.is_valid(params) is Draft202012Validator(endpoint.schema).is_valid(params)


@settings(max_examples=200)
@given(row=hostile_rows(), endpoint=st.sampled_from(ENDPOINTS))
def test_every_refusal_has_a_reason_and_every_event_is_valid(row: dict[str, Any], endpoint: Endpoint) -> None:
    try:
        event = EventParser(RowOptions(), endpoint=endpoint).parse(_with_values(row), now=NOW)
    except InvalidEvent as error:
        found = error.reason and error.detail
    else:
        found = Draft202012Validator(endpoint.schema).is_valid(event.params)
    assert found


def test_each_rule_has_its_own_refusal() -> None:
    """A rule that is not kept is refused by its own reason, and names the parameter."""
    table = [
        ({"app_token": None}, EVENT, "missing_app_token"),
        ({"environment": None}, EVENT, "missing_environment"),
        ({"gps_adid": None}, EVENT, "missing_device_id"),
        ({"currency": None}, EVENT, "missing_currency"),
        ({"att_status": "3", "tracking_enabled": True}, EVENT, "conflicting_att_status"),
        ({"idfa": "0A1B"}, ENDPOINTS[-1], "missing_os_name"),
        ({"idfa": "0A1B", "os_name": "ios", "device_name": "x"}, ENDPOINTS[-1], "missing_device_type"),
    ]
    found = {}
    for changes, endpoint, reason in table:
        try:
            EventParser(RowOptions(), endpoint=endpoint).parse(WHOLE | changes, now=NOW)
            found[reason] = "accepted"
        except InvalidEvent as error:
            found[reason] = error.reason
    assert found == {reason: reason for _, _, reason in table}


def test_an_event_that_is_accepted_never_loads_jsonschema() -> None:
    code = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from airflow_provider_adjust.s2s import RowOptions, parse_event\n"
        "options = RowOptions(app_token='abc', event_token='abc', environment='sandbox')\n"
        "parse_event({'gps_adid': 'x', 'created_at': datetime.now(UTC)}, options)\n"
        "print('jsonschema' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "False"
