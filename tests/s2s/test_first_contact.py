"""First contact: the columns of a source are checked as a whole, and all that is wrong is one error."""

from __future__ import annotations

import re
from typing import Any

from table import table

from airflow_provider_adjust.s2s import parse_event
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.first_contact import check_columns, column_meanings, near_money
from airflow_provider_adjust.s2s.events.options import RowOptions

GOOD = ("order_id", "gps_adid", "created_at", "revenue", "currency")
TOKEN = {"event_token": "f0ob4r", "id_field": "order_id"}


def check(*names: Any, route_by: str | None = None, all_columns: bool = True, **options: Any) -> str:
    """What is wrong with the columns; empty where nothing is."""
    try:
        check_columns(names, "the sql", RowOptions(**TOKEN | options), route_by=route_by, all_columns=all_columns)
    except AdjustConfigurationError as error:
        return str(error)
    return ""


def replaced(**names: str | None) -> list[str]:
    """The good columns, some under other names or left out."""
    return [new for name in GOOD if (new := names.get(name, name)) is not None]


ACCEPTED: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (GOOD, {}),
    (("order_id", "idfa", "created_at_unix"), {}),
    (("order_id", "idfa", "created_at", "event_token"), {"event_token": None}),
    (("order_id", "idfa", "created_at", "event"), {"event_token": None, "event_tokens": {"purchase": "f0ob4r"}}),
    (("order_id", "idfa", "ts"), {"column_map": {"ts": "created_at"}}),
    ((*GOOD, "mine"), {"extra_params": ["mine"]}),
    ((*GOOD, "region"), {"route_by": "region"}),
    ((*GOOD, "loaded_at"), {"ignore_columns": "loaded_at"}),
    ((*GOOD, "loaded_at", "shop"), {"ignore_columns": ["shop", "loaded_at"]}),
    ((*GOOD, "loaded_at", "shop", ""), {"ignore_columns": "*"}),
    ((*GOOD, "loaded_at", "loaded_at"), {"ignore_columns": ("*",)}),
    # A parameter may be left out by name, such as one that is nobody's business.
    ((*GOOD, "ip_address"), {"ignore_columns": "ip_address"}),
    (("id", "idfa", "created_at", "total", "currency", "revenue"), {
        "id_field": "id", "column_map": {"total": "revenue"}, "ignore_columns": "revenue",
    }),
    # A device id may be a part of the id, and is sent as well.
    (("order_id", "session_count", "idfa", "created_at"), {"id_field": ("order_id", "session_count")}),
]  # fmt: skip


@table("names, options", ACCEPTED)
def test_columns_that_can_be_sent_are_accepted(names: tuple[str, ...], options: dict[str, Any]) -> None:
    assert check(*names, **options) == ""


REFUSED: list[tuple[list[str], dict[str, Any], str]] = [
    ([*GOOD, "loaded_at"], {}, "unknown columns: 'loaded_at'"),
    (replaced(revenue="revenu"), {}, "unknown columns: 'revenu' (revenue?)"),
    (replaced(gps_adid="GPS_ADID"), {}, "'GPS_ADID' (gps_adid"),
    (replaced(created_at=None), {}, "missing: created_at or created_at_unix"),
    (replaced(gps_adid=None), {}, "missing: a device id, such as gps_adid, idfa, idfv or adid"),
    (replaced(currency=None), {}, "missing: currency, which revenue needs"),
    ([*GOOD], {"event_token": None}, "missing: event_token; set it in the operator, or select it"),
    ([*GOOD], {"event_tokens": {"purchase": "f0ob4r"}}, "missing: event, the column of the names in event_tokens"),
    ([*GOOD], {"id_field": "order_no"}, "it has no column 'order_no', which id_field names ('order_id'?)"),
    ([*GOOD], {"id_field": ("order_id", "day")}, "it has no column 'day', which id_field names\n"),
    ([*GOOD], {"route_by": "region"}, "it has no column 'region', which route_by names"),
    ([*GOOD], {"column_map": {"gaid": "gps_adid"}}, "it has no column 'gaid', which column_map names"),
    ([*GOOD], {"ignore_columns": ("*", "shop")}, "it has no column 'shop', which ignore_columns names"),
    ([*GOOD, "gaid"], {"column_map": {"gaid": "gps_adidd"}}, "unknown columns: 'gaid' (gps_adid"),
    ([*GOOD, "gaid"], {"column_map": {"gaid": "gps_adidd"}, "ignore_columns": "*"}, "unknown columns: 'gaid'"),
    ([*GOOD, "revenue"], {}, "repeated_parameter: it gives 'revenue' in two columns, 'revenue' and 'revenue'"),
    ([*GOOD, "total"], {"column_map": {"total": "revenue"}}, "in two columns, 'revenue' and 'total'; which one"),
    ([*GOOD, "revenue", "revenue"], {}, "it gives 'revenue' in 3 columns"),
    ([*GOOD, "order_id"], {}, "repeated_parameter: it gives 'order_id' in two columns or more; keep one"),
    (["", *GOOD], {}, "column 1 has no name; drop it"),
    ([], {}, "columns read: none"),
]


@table("names, options, words", REFUSED)
def test_columns_that_cannot_be_sent_are_one_error(names: list[str], options: dict[str, Any], words: str) -> None:
    error = check(*names, **options)
    assert words in error
    assert error.startswith("the sql cannot be sent, and nothing was sent:\n")


def test_all_mistakes_are_in_one_error_with_what_to_paste() -> None:
    names = ("order_no", "gaid", "ts", "Revenue_usd", "ccy_code", "shop")
    assert check(*names, column_map={"gaid": "gps_adidd"}) == (
        "the sql cannot be sent, and nothing was sent:\n"
        "  unknown columns: 'order_no', 'gaid' (gps_adid or gps_adid_upper_md5 or gps_adid_lower_md5?), "
        "'ts' (created_at?), 'Revenue_usd' (revenue?), "
        "'ccy_code', 'shop'\n"
        "  it has no column 'order_id', which id_field names ('order_no'?)\n"
        "  missing: created_at or created_at_unix\n"
        "  missing: a device id, such as gps_adid, idfa, idfv or adid\n"
        "  columns read: 'order_no', 'gaid', 'ts', 'Revenue_usd', 'ccy_code', 'shop'\n"
        '  if that is meant: column_map={"gaid": "gps_adid", "ts": "created_at", "Revenue_usd": "revenue"}\n'
        '  if they are not for Adjust: ignore_columns=["order_no", "ccy_code", "shop"]\n'
        "  the docs list the names that Adjust knows, under Events"
    )


def test_what_is_pasted_is_accepted() -> None:
    """The dictionary holds what column_map had already, and no parameter twice."""
    names = ["order_id", "gaid", "ts", "timestamp", "AMOUNT", "curency", 'a "b"', "c\nd", "region"]
    options: dict[str, Any] = {"column_map": {"region": "country", "gone": "language"}}
    error = check(*names, **options)
    scope: dict[str, Any] = {}
    for argument in ("column_map", "ignore_columns"):
        match = re.search(rf"{argument}=(.*)", error)
        assert match
        scope[argument] = eval(match[1], {})
    assert scope["column_map"] == {
        "region": "country", "gaid": "gps_adid", "ts": "created_at", "AMOUNT": "revenue", "curency": "currency",
    }  # fmt: skip
    assert check(*names, **scope) == ""


def test_a_time_is_not_suggested_where_there_is_one() -> None:
    for known in ("created_at", "created_at_unix"):
        assert "column_map=" not in check("order_id", "idfa", known, "timestamp")


def test_what_one_row_lacks_another_may_have() -> None:
    """Of a row of JSON only its own columns and the rows' ids can be judged."""
    options: dict[str, Any] = {"column_map": {"gaid": "gps_adid"}, "ignore_columns": "shop"}
    assert check("order_id", "idfa", all_columns=False, **options) == ""
    error = check("order_no", "revenu", 5, all_columns=False)
    assert "it has no column 'order_id', which id_field names" in error
    assert "unknown columns: 'order_no', 'revenu' (revenue?), 5\n" in error
    assert "missing" not in error


def test_a_wide_source_is_not_listed_to_its_end() -> None:
    error = check(*GOOD, *(f"x{number:05}" for number in range(10_000)), "y" * 1_000_000)
    assert "'x00039' and 9,961 more\n" in error
    assert len(error) < 3_000


def test_names_smuggle_nothing_into_the_error() -> None:
    error = check(*GOOD, "a\n2026-05-01 ERROR", "\x1b[31m", "\u202e")
    assert all(line.isprintable() for line in error.split("\n"))
    assert "\n2026" not in error


def test_a_column_that_is_ignored_cannot_be_mapped() -> None:
    error = check(*GOOD, "total", column_map={"total": "revenue"}, ignore_columns=["total"])
    assert error == "ignore_columns and column_map both name 'total'; remove it from one of them"


def test_the_meaning_of_each_column_is_described() -> None:
    options = RowOptions(
        id_field=("order_id", "country"),
        column_map={"total": "revenue"},
        ignore_columns=["shop"],
        event_tokens={"a": "b"},
    )
    meanings = {
        "order_id": "the event id",
        "country": "the event id, and sent as country",
        "total": "sent as revenue",
        "shop": "not sent",
        "event": "the event's name",
        "region": "the route, not sent",
        "revenu": "unknown (revenue?)",
        "zzz": "unknown",
    }
    assert column_meanings(list(meanings), options, route_by="region") == list(meanings.values())


def test_names_that_are_nearly_those_of_money_are_found() -> None:
    near = ["revenue_", "revenu", "Revenue_usd", "REVENUE", "net revenue", "revnue", "currency_code", "curency"]
    far = ["shop", "loaded_at", "frequency", "current_balance", "reference", "", "retention"]
    assert list(near_money([*near, *far], EVENT)) == near
    assert near_money(["currency_code", "revenue_"], EVENT) == {"currency_code": "currency", "revenue_": "revenue"}
    assert near_money([5], EVENT) == {}


def test_an_endpoint_without_such_rules_demands_nothing() -> None:
    schema = {
        key: value for key, value in EVENT.schema.items() if key not in {"anyOf", "dependentRequired", "required"}
    }
    free = type(EVENT).of({**schema, "x-adjust": {**schema["x-adjust"], "time": "none", "key": None, "amounts": []}})
    check_columns(("country",), "the sql", RowOptions(), endpoint=free)


def test_a_column_that_looks_like_an_id_is_offered_to_id_field() -> None:
    for columns, offered in (
        (["order_id"], 'id_field="order_id"'),
        (["TransactionID", "shop"], 'id_field="TransactionID"'),
        (["purchaseid"], 'id_field="purchaseid"'),
        (["INVOICE_NO", "line_no"], 'id_field=["INVOICE_NO", "line_no"]'),
        (["user_id", "customerId", "paid", "shop", "42"], ""),
    ):
        said = check("gps_adid", "created_at", *columns, id_field=None)
        assert said.partition("if it identifies a row: ")[2].partition("\n")[0] == offered, said
    # It has one already.
    assert "id_field=" not in check(*GOOD, "invoice_id")


def test_a_row_with_such_a_column_is_reported_too() -> None:
    for name, is_told in (("order_id", True), ("user_id", False), ("shop", False)):
        said = ""
        try:
            parse_event({"gps_adid": "38400000-8cf0-11bd-b23e-10b96e40000d", name: 1}, RowOptions(event_token="f0ob4r"))
        except InvalidEvent as error:
            said = str(error)
        assert ("If it identifies the row, name it in id_field." in said) is is_told, said
        assert len(said) < 200
