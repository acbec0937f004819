"""What an operator chooses to refuse or to leave out: amounts above ``max_revenue``, unreadable optional parameters."""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from s2s_case import GPS_ADID, NOW, parse, refusal, row
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.parser import EventParser


@table(
    ("max_revenue", "revenue", "currency", "is_sent"),
    [
        pytest.param(500, "500", "EUR", True, id="the limit itself"),
        pytest.param(500, "500.01", "EUR", False, id="a cent above it"),
        pytest.param("499.99", 500, "JPY", False, id="a limit as text, for any currency"),
        pytest.param(Decimal("0.1"), 0.1, "EUR", True, id="a limit as Decimal"),
        pytest.param(0.1, Decimal("0.1"), "EUR", True, id="a limit as float is what it prints"),
        pytest.param({"EUR": 500, "jpy": "90000"}, 80000, "jpy", True, id="by currency"),
        pytest.param({"EUR": 500, "jpy": "90000"}, 90001, "JPY", False, id="by currency, above"),
        pytest.param({"EUR": 500}, 10**9, "USD", True, id="a currency without a limit"),
        pytest.param({}, 10**9, "USD", True, id="no limits"),
        pytest.param(None, 10**9, "USD", True, id="no limit"),
    ],
)
def test_an_amount_above_max_revenue_is_refused(max_revenue: Any, revenue: Any, currency: str, is_sent: bool) -> None:
    options = {"max_revenue": max_revenue}
    if is_sent:
        assert parse(options, revenue=revenue, currency=currency).revenue == Decimal(str(revenue))
    else:
        assert refusal(options, revenue=revenue, currency=currency).reason == "above_max_revenue"


def test_the_refusal_names_amount_and_limit() -> None:
    detail = refusal({"max_revenue": 1000}, revenue="9990000", currency="USD").detail
    assert detail == (
        "revenue is 9,990,000 USD, above max_revenue, 1,000; check that it is in units, not in cents or micros"
    )


def test_an_event_without_revenue_has_no_limit() -> None:
    assert parse({"max_revenue": 1}).revenue is None


@table(
    ("max_revenue", "says"),
    [
        pytest.param(0, "max_revenue is 0; give an amount above 0", id="zero"),
        pytest.param(-1, "above 0", id="negative"),
        pytest.param("much", "above 0", id="words"),
        pytest.param(float("nan"), "above 0", id="NaN"),
        pytest.param("inf", "above 0", id="infinite"),
        pytest.param(True, "above 0", id="boolean"),
        pytest.param([500], "above 0", id="list"),
        pytest.param({"EUR": "five"}, r"max_revenue\['EUR'\] is 'five'", id="words for a currency"),
        pytest.param({"EURO": 5}, "names 'EURO'; give ISO 4217 codes", id="no currency"),
        pytest.param({5: 5}, "names 5; give ISO 4217 codes", id="a number for a currency"),
    ],
)
def test_an_unusable_limit_is_a_configuration_error(max_revenue: Any, says: str) -> None:
    with pytest.raises(AdjustConfigurationError, match=says):
        EventParser(RowOptions(max_revenue=max_revenue))


def test_an_endpoint_without_money_has_no_limit() -> None:
    schema = deepcopy(dict(EVENT.schema))
    del schema["properties"]["currency"], schema["properties"]["revenue"], schema["x-adjust"]["amounts"]
    endpoint = Endpoint.of({**schema, "dependentRequired": {}})
    assert EventParser(RowOptions(max_revenue=1), endpoint=endpoint).parse(row(), now=NOW).revenue is None
    with pytest.raises(AdjustConfigurationError, match="ISO 4217"):
        EventParser(RowOptions(max_revenue={"EUR": 1}), endpoint=endpoint)


# --- on_bad_optional --------------------------------------------------------------------------------------------------


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


LEAVE_OUT = {"on_bad_optional": "leave_out"}
#: Values that cannot be read, of parameters that an event can do without.
BAD = {
    "ip_address": "203.0.113.0/24",
    "tracking_enabled": "perhaps",
    "session_count": "many",
    "os_name": "phone",
    "att_status": 9,
    "device_name": ["phone"],
    "push_token": b"\xff",
    "idfa": "x" * 513,
    "callback_params": {"a": {"b": 1}},
    "partner_params": '{"a": 1, "a": 2}',
    "sku": Unspeakable(),
}


@table("name", BAD)
def test_a_bad_optional_value_refuses_the_row_unless_it_may_be_left_out(name: str) -> None:
    options = {"extra_params": ["sku"]}
    assert refusal(options, **{name: BAD[name]}).reason
    event = parse({**options, **LEAVE_OUT}, revenue="5.00", currency="EUR", **{name: BAD[name]})
    assert (event.left_out, event.revenue) == ((name,), Decimal("5.00"))
    assert name not in event.params


def test_what_cannot_be_read_at_all_is_left_out_too() -> None:
    assert parse(LEAVE_OUT, session_count=10**5000, ip_address=Unspeakable()).left_out == (
        "session_count",
        "ip_address",
    )


def test_several_are_each_counted() -> None:
    bad = {name: value for name, value in BAD.items() if name != "sku"}
    assert parse(LEAVE_OUT, **bad).left_out == tuple(bad)


@table(
    ("changes", "reason"),
    [
        pytest.param({"revenue": "much", "currency": "EUR"}, "invalid_revenue", id="revenue"),
        pytest.param({"revenue": 5, "currency": "EURO"}, "invalid_currency", id="currency"),
        pytest.param({"created_at": "yesterday"}, "invalid_created_at", id="time"),
        pytest.param({"environment": "staging"}, "invalid_environment", id="environment"),
        pytest.param({"event_token": "a b"}, "invalid_event_token", id="event token"),
        pytest.param({"app_token": "a-b"}, "invalid_app_token", id="app token"),
        pytest.param({"s2s": "2"}, "invalid_s2s", id="s2s"),
        pytest.param({"gps_adid": "x" * 513}, "missing_device_id", id="the only device id"),
        pytest.param({"att_status": 3, "tracking_enabled": True}, "conflicting_att_status", id="two that conflict"),
        pytest.param({"Revenue": 5}, "unknown_parameter", id="an unknown name"),
    ],
)
def test_what_an_event_needs_is_refused_all_the_same(changes: dict[str, Any], reason: str) -> None:
    assert refusal(LEAVE_OUT, **changes).reason == reason


def test_the_event_id_is_sent_where_bad_callback_parameters_are_left_out() -> None:
    event = parse({**LEAVE_OUT, "id_field": "order", "event_id_param": "id"}, order="A-1", callback_params="{broken")
    assert json.loads(event.params["callback_params"]) == {"id": "A-1"}
    assert event.left_out == ("callback_params",)


def test_another_choice_is_a_configuration_error() -> None:
    with pytest.raises(AdjustConfigurationError, match="on_bad_optional='ignore' must be one of refuse, leave_out"):
        EventParser(RowOptions(on_bad_optional="ignore"))  # type: ignore[arg-type]


def test_a_bad_device_id_beside_a_good_one_is_left_out() -> None:
    event = parse(LEAVE_OUT, idfa=True)
    assert ([lane.id_value for lane in event.lanes], event.left_out) == ([GPS_ADID], ("idfa",))
