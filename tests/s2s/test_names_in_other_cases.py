"""Names that are Adjust's parameters but for their case, as databases write them that fold names."""

from __future__ import annotations

from typing import Any

import pytest
from s2s_case import NOW, row

from airflow_provider_adjust.s2s import EventParser, RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.first_contact import check_columns, near_money

_TOKENS: dict[str, Any] = {"app_token": "app1", "event_token": "event1", "environment": "sandbox"}


def _upper(**more: Any) -> dict[str, Any]:
    return {"ORDER_ID": "7", "REVENUE": "9.90", "OS_NAME": "ios", **more}


def test_what_id_field_or_route_by_names_in_another_case_is_sent_all_the_same() -> None:
    plain = {name: value for name, value in row(currency="EUR").items() if name not in {"revenue"}}
    table: list[tuple[dict[str, Any], tuple[str, ...], dict[str, str]]] = [
        ({"id_field": ("ORDER_ID", "REVENUE")}, (), {"revenue": "9.90"}),
        ({"id_field": "ORDER_ID", "ignore_columns": ["REVENUE"]}, ("OS_NAME",), {"os_name": "ios"}),
    ]
    for options, own, sent in table:
        parser = EventParser(
            RowOptions(**_TOKENS, **{"ignore_columns": ["OS_NAME"] if not own else [], **options}), ignored=own
        )
        given = {**plain, **_upper()}
        if "revenue" not in sent:
            given.pop("currency", None)
        event = parser.parse(given, now=NOW)
        assert event.params.items() >= sent.items(), options


def test_a_devices_id_is_refused_as_event_id_in_any_letter_case() -> None:
    for name in ("gps_adid", "GPS_ADID", "Gps_Adid", "IP_ADDRESS"):
        for id_field in (name, (name, "PERIOD")):
            with pytest.raises(AdjustConfigurationError, match="personal data"):
                EventParser(RowOptions(**_TOKENS, id_field=id_field))


def test_an_extra_parameter_is_not_one_of_adjusts_in_another_case() -> None:
    with pytest.raises(AdjustConfigurationError, match="'REVENUE', Adjust's revenue in another case"):
        EventParser(RowOptions(**_TOKENS, extra_params=["REVENUE"]))


def test_a_star_leaves_out_none_of_two_that_may_be_the_same_parameter() -> None:
    names = ["created_at", "gps_adid", "Event_Token", "EVENT_TOKEN"]
    star = RowOptions(**_TOKENS, ignore_columns="*")
    with pytest.raises(
        AdjustConfigurationError, match="'Event_Token' and 'EVENT_TOKEN' are 'event_token' but for their case"
    ):
        check_columns(names, "the sql", star)
    check_columns(names[:3], "the sql", star)
    check_columns(names, "the sql", RowOptions(**_TOKENS, ignore_columns=["Event_Token", "EVENT_TOKEN"]))


def test_a_column_that_a_star_leaves_out_is_warned_of_where_only_its_case_differs() -> None:
    assert near_money(["Event_Token", "CREATED_AT", "colour", 7, "Revenue_USD"], EVENT) == {
        "Event_Token": "event_token",
        "CREATED_AT": "created_at",
        "Revenue_USD": "revenue",
    }
