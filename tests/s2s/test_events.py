"""Which rows become which events, and which are refused, with the reason and without the row's secrets."""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from numbers import Real
from typing import Any
from urllib.parse import parse_qsl

import pendulum
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from s2s_case import APP, GPS_ADID, NA, NAT, NOW, ROW, SECOND, TOKEN, parse, refusal, row
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events import columns as event_columns
from airflow_provider_adjust.s2s.events import parser as event_parser
from airflow_provider_adjust.s2s.events.event import Event, Lane
from airflow_provider_adjust.s2s.events.parser import EventParser, parse_event
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, UnreadableRow
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time

NAN = float("nan")
ZERO_ID = "00000000-0000-0000-0000-000000000000"
BERLIN = {"timezone": "Europe/Berlin"}


class Other:
    """A value that no parameter takes."""

    def __repr__(self) -> str:
        return "Other()"


class Float32:
    """Stands for numpy's float32: a real number that is not a float, with a shorter text than its double."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return 0.10000000149011612

    def __eq__(self, other: object) -> bool:
        return self.text != "nan" and self is other

    def __hash__(self) -> int:
        return hash(self.text)


Real.register(Float32)


def test_the_smallest_row_becomes_exactly_what_is_sent() -> None:
    assert parse().params == {
        "s2s": "1",
        "app_token": APP,
        "event_token": TOKEN,
        "environment": "sandbox",
        "gps_adid": GPS_ADID,
        "created_at_unix": str(SECOND),
    }


def test_the_body_is_form_encoded_and_reads_back_to_the_parameters() -> None:
    event = parse(callback_params={"f0o": "b a/r&ä"}, user_agent="Mozilla/5.0 (X; +)")
    assert dict(parse_qsl(event.body, strict_parsing=True)) == event.params
    assert "user_agent=Mozilla%2F5.0+%28X%3B+%2B%29" in event.body
    assert event.body.isascii()


def test_the_row_is_left_as_it_was() -> None:
    given = row(callback_params={"a": 1, "b": None})
    before = json.dumps(given, default=str)
    parse_event(given, now=NOW)
    assert json.dumps(given, default=str) == before


# --- missing values ---------------------------------------------------------------------------------------------------

MISSING = [
    pytest.param(None, id="None"),
    pytest.param("", id="empty text"),
    pytest.param(NAN, id="NaN"),
    pytest.param(Decimal("NaN"), id="Decimal NaN"),
    pytest.param(Decimal("sNaN"), id="signalling NaN"),
    pytest.param(Float32("nan"), id="a float32 that is NaN"),
    pytest.param(NA, id="pandas NA"),
    pytest.param(NAT, id="pandas NaT"),
]
OPTIONAL = [name for name, parameter in EVENT.parameters.items() if parameter.kind not in {"token", "time", "money"}]


@table("missing", MISSING)
def test_a_missing_value_leaves_its_parameter_out(missing: Any) -> None:
    others = {name: missing for name in OPTIONAL if name not in ROW and name != "s2s"}
    event = parse(**others)
    assert event.params == parse().params
    assert event.left_out == ()


@table("missing", MISSING)
def test_a_missing_value_falls_back_to_the_default(missing: Any) -> None:
    defaults = {"app_token": "defaultapp", "event_token": "default", "environment": "production"}
    params = parse(defaults, app_token=missing, event_token=missing, environment=missing).params
    assert {name: params[name] for name in defaults} == defaults


@table("missing", MISSING)
def test_a_missing_time_beside_a_given_one_does_no_harm(missing: Any) -> None:
    assert parse(created_at=missing, created_at_unix=SECOND - 9).params["created_at_unix"] == str(SECOND - 9)


@table("missing", [None, "", NA], ids=["None", "empty text", "NA"])
def test_missing_revenue_is_an_event_without_revenue(missing: Any) -> None:
    event = parse(revenue=missing, currency="USD")
    assert "revenue" not in event.params
    assert event.revenue is None
    assert event.params["currency"] == "USD"


def test_missing_values_are_found_without_pandas() -> None:
    parse(os_version=NA)
    assert "pandas" not in vars(sys.modules["airflow_provider_adjust.s2s.events.values"])


def test_an_extra_or_event_column_may_be_missing_too() -> None:
    options = {"extra_params": ["sku"], "event_tokens": {"purchase": "abcdef"}}
    assert parse(options, sku=None, event=NAN).params == parse().params


# --- tokens, environment and their defaults ---------------------------------------------------------------------------


@table(
    ("options", "changes", "token"),
    [
        pytest.param({"event_token": "operator"}, {}, TOKEN, id="the row's token goes first"),
        pytest.param({"event_token": "operator"}, {"event_token": ...}, "operator", id="then the operator's"),
        pytest.param(
            {"event_token": "operator", "event_tokens": {"purchase": "named1"}},
            {"event_token": ..., "event": "purchase"},
            "named1",
            id="the name in the row goes before the operator's token",
        ),
        pytest.param(
            {"event_tokens": {"purchase": "named1"}},
            {"event": "purchase"},
            TOKEN,
            id="a token in the row goes before the name in the row",
        ),
        pytest.param(
            {"event_tokens": {7: "seven"}}, {"event_token": ..., "event": 7}, "seven", id="a name may be no text"
        ),
        pytest.param({}, {"event_token": "  f0ob4r\n"}, TOKEN, id="space around a token is no part of it"),
        pytest.param({}, {"event_token": 123456}, "123456", id="a token of digits may be a number"),
    ],
)
def test_event_token_precedence(options: dict[str, Any], changes: dict[str, Any], token: str) -> None:
    event = parse(options, **changes)
    assert event.params["event_token"] == token
    assert [lane.key for lane in event.lanes] == [token]


def test_the_columns_order_does_not_decide_which_token_wins() -> None:
    options = {"event_tokens": {"purchase": "named1"}}
    columns = {**ROW, "event": "purchase"}
    backwards = dict(reversed(columns.items()))
    tokens = {parse_event(each, RowOptions(**options), now=NOW).params["event_token"] for each in (columns, backwards)}
    assert tokens == {TOKEN}


@table(
    ("name", "in_row", "default", "sent"),
    [
        pytest.param("app_token", "rowapp", "default", "rowapp", id="app_token of the row"),
        pytest.param("app_token", ..., "default", "default", id="app_token by default"),
        pytest.param("environment", "sandbox", "production", "sandbox", id="environment of the row"),
        pytest.param("environment", ..., "production", "production", id="environment by default"),
        pytest.param("environment", " sandbox ", "production", "sandbox", id="environment with space around"),
    ],
)
def test_app_token_and_environment_precedence(name: str, in_row: Any, default: str, sent: str) -> None:
    assert parse({name: default}, **{name: in_row}).params[name] == sent


def test_a_row_may_say_s2s_itself() -> None:
    assert parse(s2s=1).params == parse(s2s="1").params == parse(s2s=True).params == parse().params


@table(
    ("options", "changes", "reason"),
    [
        pytest.param({}, {"app_token": ...}, "missing_app_token", id="no app token"),
        pytest.param({}, {"event_token": ...}, "missing_event_token", id="no event token"),
        pytest.param({}, {"environment": ...}, "missing_environment", id="no environment"),
        pytest.param({}, {"environment": "prod"}, "invalid_environment", id="no such environment"),
        pytest.param({}, {"environment": "Sandbox"}, "invalid_environment", id="environment is case-sensitive"),
        pytest.param({}, {"app_token": "abc-123"}, "invalid_app_token", id="token with a hyphen"),
        pytest.param({}, {"event_token": "f0ob4r f0ob4r"}, "invalid_event_token", id="two tokens"),
        pytest.param({}, {"event_token": "ｆ0ob4r"}, "invalid_event_token", id="full-width letter"),
        pytest.param({}, {"event_token": "   "}, "invalid_event_token", id="blank token"),
        pytest.param({}, {"event_token": Other()}, "invalid_event_token", id="object for a token"),
        pytest.param({}, {"s2s": 0}, "invalid_s2s", id="s2s of 0"),
        pytest.param({"event_tokens": {"a": "aaa"}}, {"event": "b"}, "unknown_event", id="event without a token"),
        pytest.param({"event_tokens": {"a": "aaa"}}, {"event": ["a"]}, "unknown_event", id="event that is a list"),
        pytest.param({}, {"event": "a"}, "unknown_parameter", id="event without event_tokens"),
    ],
)
def test_refused_tokens_and_environments(options: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    assert refusal(options, **changes).reason == reason


def test_an_unknown_event_is_refused_with_the_known_ones() -> None:
    detail = refusal({"event_tokens": {"purchase": "aaa", "level_up": "bbb"}}, event="Purchase").detail
    assert detail == "event 'Purchase' has no token in event_tokens; known: level_up, purchase"


@table(
    ("options", "names"),
    [
        pytest.param({"app_token": "abc-1"}, "app_token", id="app_token"),
        pytest.param({"event_token": "a b"}, "event_token", id="event_token"),
        pytest.param({"event_tokens": {"buy": "a_b"}}, "event_tokens['buy']", id="event_tokens"),
        pytest.param({"environment": "staging"}, "environment", id="environment"),
        pytest.param({"timezone": "Mars/Olympus"}, "timezone", id="timezone"),
        pytest.param({"timezone": ""}, "timezone", id="empty timezone"),
        pytest.param({"timezone": "../etc"}, "timezone", id="a path for a timezone"),
        pytest.param({"id_field": "gps_adid"}, "id_field", id="id_field names a device id"),
        pytest.param(
            {"id_field": "gaid", "column_map": {"gaid": "gps_adid"}},
            "id_field",
            id="id_field is renamed to a device id",
        ),
    ],
)
def test_an_unusable_default_is_a_configuration_error(options: dict[str, Any], names: str) -> None:
    with pytest.raises(AdjustConfigurationError) as caught:
        EventParser(RowOptions(**options))
    assert names in str(caught.value)
    assert "a b" not in str(caught.value)


def test_a_default_may_be_missing() -> None:
    assert parse({"app_token": None, "event_token": "", "environment": None}).params == parse().params


# --- device ids -------------------------------------------------------------------------------------------------------

MIXED = "3F0b2f6c-8A51-4D7e-9a4B-0c2F51E6d7A8"
HASH = "D41d8cd98F00b204e9800998ecf8427E"
RAW_CASE = {
    "idfa": MIXED.upper(),
    "idfv": MIXED.upper(),
    "gps_adid": MIXED.lower(),
    "fire_adid": MIXED.lower(),
    "oaid": MIXED.lower(),
    "android_id": MIXED.lower().replace("-", ""),
}


@table("name", sorted(EVENT.device_ids))
def test_any_one_device_id_is_enough_and_gets_its_documented_form(name: str) -> None:
    event = parse(**{"gps_adid": ..., name: f" {MIXED} "})
    assert event.params[name] == RAW_CASE.get(name, MIXED)
    assert event.lanes == (Lane(name, RAW_CASE.get(name, MIXED), TOKEN, APP),)


@table("name", sorted(name for name in EVENT.device_ids if name.endswith(("md5", "sha1"))))
def test_a_hash_is_left_as_it_is(name: str) -> None:
    assert parse(**{name: HASH}).params[name] == HASH


@table(
    ("value", "sent"),
    [
        pytest.param(uuid.UUID(GPS_ADID), GPS_ADID, id="a uuid"),
        pytest.param(490154203237518, "490154203237518", id="an IMEI as a number"),
        pytest.param("ünïcode", "ünïcode", id="any text of the user's own"),
        pytest.param("x" * 512, "x" * 512, id="512 characters"),
    ],
)
def test_device_ids_come_in_other_types_too(value: Any, sent: str) -> None:
    assert parse(gps_adid=..., external_device_id=value).params["external_device_id"] == sent


@table("zero", [ZERO_ID, "0" * 16, "0", "00-00"])
def test_an_all_zero_id_is_left_out_and_counted(zero: str) -> None:
    event = parse(idfa=zero)
    assert "idfa" not in event.params
    assert event.left_out == ("idfa",)
    assert [lane.id_name for lane in event.lanes] == ["gps_adid"]


def test_hyphens_alone_do_not_count_as_zeros() -> None:
    assert parse(external_device_id="--").params["external_device_id"] == "--"


def test_several_ids_make_several_lanes() -> None:
    event = parse(idfa=MIXED, adid="a" * 32)
    assert set(event.lanes) == {
        Lane("gps_adid", GPS_ADID, TOKEN, APP),
        Lane("idfa", MIXED.upper(), TOKEN, APP),
        Lane("adid", "a" * 32, TOKEN, APP),
    }


def test_spellings_of_one_device_share_a_lane() -> None:
    assert parse(gps_adid=GPS_ADID.upper()).lanes == parse(gps_adid=f"  {GPS_ADID}").lanes == parse().lanes


@table(
    "changes",
    [
        pytest.param({}, id="none"),
        pytest.param({"gps_adid": None}, id="missing"),
        pytest.param({"gps_adid": "   "}, id="blank"),
        pytest.param({"gps_adid": ZERO_ID, "idfa": ZERO_ID}, id="all zero"),
        pytest.param({"primary_dedupe_token": MIXED}, id="primary_dedupe_token alone"),
        pytest.param({"persistent_ios_uuid": MIXED}, id="persistent_ios_uuid alone"),
        pytest.param({"push_token": MIXED}, id="push_token alone"),
    ],
)
def test_an_event_without_a_device_is_refused(changes: dict[str, Any]) -> None:
    refused = refusal(**{"gps_adid": ..., **changes})
    assert refused.reason == "missing_device_id"
    assert "gps_adid, idfa, idfv or adid" in refused.detail


@table(
    "value",
    [
        pytest.param("x" * 513, id="513 characters"),
        pytest.param(True, id="a boolean"),
        pytest.param(1.5, id="a float"),
        pytest.param(b"3f0b", id="bytes"),
        pytest.param([GPS_ADID], id="a list"),
        pytest.param("\ud800", id="a lone surrogate"),
    ],
)
def test_refused_device_ids(value: Any) -> None:
    assert refusal(gps_adid=value).reason == "invalid_gps_adid"


# --- times ------------------------------------------------------------------------------------------------------------


@table(
    ("value", "options", "occurred_at"),
    [
        pytest.param(NOW, {}, NOW, id="aware datetime"),
        pytest.param(
            datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))), {}, NOW, id="datetime with an offset"
        ),
        pytest.param(datetime(2026, 5, 1, 12), {}, NOW, id="naive datetime is UTC by default"),
        pytest.param(datetime(2026, 5, 1, 14), BERLIN, NOW, id="naive datetime in the operator's zone"),
        pytest.param(NOW, BERLIN, NOW, id="the zone does not touch an aware datetime"),
        pytest.param(
            datetime(2026, 3, 29, 1, 30), BERLIN, datetime(2026, 3, 29, 0, 30, tzinfo=UTC), id="before summer time"
        ),
        pytest.param(
            datetime(2026, 3, 29, 3, 30), BERLIN, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), id="in summer time"
        ),
        pytest.param(pendulum.datetime(2026, 5, 1, 14, tz="Europe/Berlin"), {}, NOW, id="pendulum"),
        pytest.param(pendulum.naive(2026, 5, 1, 14), BERLIN, NOW, id="naive pendulum"),
        pytest.param("2026-05-01T12:00:00.000+0000", {}, NOW, id="Adjust: milliseconds and offset"),
        pytest.param("2026-05-01T14:00:00Z+0200", {}, NOW, id="Adjust: Z and then an offset"),
        pytest.param("2026-05-01T08:00:00.000Z-0400", {}, NOW, id="Adjust: milliseconds, Z and then an offset"),
        pytest.param("2026-05-01T14:00:00Z+02:00", {}, NOW, id="Z and then an offset with a colon"),
        pytest.param("2026-05-01T12:00:00Z", {}, NOW, id="ISO with Z"),
        pytest.param("2026-05-01T14:00:00+02:00", {}, NOW, id="ISO with an offset"),
        pytest.param(" 2026-05-01 12:00:00 ", {}, NOW, id="ISO as SQL prints it"),
        pytest.param("2026-05-01 14:00:00", BERLIN, NOW, id="ISO without an offset in the operator's zone"),
        pytest.param("20260501T120000Z", {}, NOW, id="basic ISO"),
        pytest.param("20260501T1400", BERLIN, NOW, id="basic ISO to the minute"),
        pytest.param("2026-05-01 12:00:00 UTC", BERLIN, NOW, id="BigQuery"),
        pytest.param("2026-05-01 17:30:00.000 +0530", BERLIN, NOW, id="Snowflake"),
        pytest.param("2026-05-01 12:00:00+00", BERLIN, NOW, id="Postgres"),
        pytest.param("2026-05-01 08:30:00-03:30", {}, NOW, id="an offset west of Greenwich"),
        pytest.param("2026-05-02T02:00:00+14:00", {}, NOW, id="the largest offset"),
        pytest.param("2026-05-01t12:00:00z", BERLIN, NOW, id="small letters"),
        pytest.param("2026-05-01 12:00", {}, NOW, id="to the minute"),
        pytest.param("2026-05-01 12:00:00.0000000000000000", {}, NOW, id="a fraction of any length"),
        pytest.param(SECOND, {}, NOW, id="epoch int"),
        pytest.param(float(SECOND), {}, NOW, id="epoch float"),
        pytest.param(str(SECOND), {}, NOW, id="epoch text"),
        pytest.param(f" {SECOND}.0 ", {}, NOW, id="epoch text with a fraction"),
        pytest.param(Decimal(SECOND), {}, NOW, id="epoch Decimal"),
        pytest.param(Decimal(f"{SECOND / 1000}E+3"), {}, NOW, id="epoch Decimal with an exponent"),
        pytest.param(SECOND, BERLIN, NOW, id="epoch knows no zone"),
    ],
)
@table("name", ["created_at", "created_at_unix"])
def test_a_time_is_read_in_any_form_and_sent_as_epoch_seconds(
    name: str, value: Any, options: dict[str, Any], occurred_at: datetime
) -> None:
    event = parse(options, **{"created_at": ..., name: value})
    assert event.occurred_at == occurred_at
    assert event.occurred_at.tzinfo is UTC
    assert type(event.occurred_at) is datetime
    assert event.params["created_at_unix"] == str(int(occurred_at.timestamp()))
    assert "created_at" not in event.params


def test_a_time_that_says_which_of_two_is_meant_is_read() -> None:
    zone = load_timezone("Europe/Berlin")
    second = datetime(2025, 10, 26, 1, 30, tzinfo=UTC)
    assert read_time("created_at", datetime(2025, 10, 26, 2, 30, fold=1), zone) == second
    first = pendulum.datetime(2025, 10, 26, 2, 30, tz="Europe/Berlin", fold=0)
    assert read_time("created_at", first, zone) == second - timedelta(hours=1)
    assert read_time("created_at", "2025-10-26 02:30:00+01:00", zone) == second


def test_a_local_time_that_the_clocks_show_twice_or_never_is_refused() -> None:
    for value in (datetime(2025, 10, 26, 2, 30), "2025-10-26 02:30:00", datetime(2026, 3, 29, 2, 30), "20260329T0230"):
        refused = refusal(BERLIN, created_at=value)
        assert refused.reason == "invalid_created_at"
        assert "02:30:00, where the clocks of Europe/Berlin change; give UTC or an offset" in refused.detail


@table(
    ("value", "microsecond"),
    [
        pytest.param(datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC), 999_999, id="datetime"),
        pytest.param(pendulum.datetime(2026, 5, 1, 12, 0, 0, 999_999), 999_999, id="pendulum"),
        pytest.param("2026-05-01T12:00:00.999Z+0000", 999_000, id="text in milliseconds"),
        pytest.param("2026-05-01T12:00:00.123456789Z", 123_456, id="text in nanoseconds"),
        pytest.param("2026-05-01 12:00:00.5 UTC", 500_000, id="text in tenths"),
        pytest.param("2026-05-01T12:00:00,25Z", 250_000, id="text with a decimal comma"),
        pytest.param("2026-05-01 12:00:00." + "9" * 100 + " +0000", 999_999, id="text finer than any clock"),
        pytest.param(f"{SECOND}.25", 250_000, id="epoch text"),
        pytest.param(SECOND + 0.1, 100_000, id="epoch float without binary noise"),
        pytest.param(Decimal(f"{SECOND}.999999"), 999_999, id="epoch Decimal"),
        pytest.param(f"{SECOND}." + "9" * 60, 999_999, id="epoch text finer than any clock"),
    ],
)
def test_the_order_keeps_the_full_precision_and_whole_seconds_are_sent(value: Any, microsecond: int) -> None:
    event = parse(created_at=value)
    assert event.occurred_at == NOW.replace(microsecond=microsecond)
    assert event.params["created_at_unix"] == str(SECOND)


@table(
    "value",
    [
        pytest.param(SECOND * 1000, id="milliseconds"),
        pytest.param(SECOND * 1_000_000, id="microseconds"),
        pytest.param(SECOND * 1_000_000_000, id="nanoseconds"),
        pytest.param(float(SECOND) * 1000, id="milliseconds as float"),
        pytest.param(str(SECOND * 1000), id="milliseconds as text"),
        pytest.param(Decimal(SECOND * 1000), id="milliseconds as Decimal"),
        pytest.param(100_000_000_000, id="the first millisecond"),
    ],
)
def test_milliseconds_are_refused_and_named(value: Any) -> None:
    refused = refusal(created_at=value)
    assert refused.reason == "invalid_created_at"
    assert "milliseconds" in refused.detail
    assert "divide it by 1000" in refused.detail


@table(
    ("value", "says"),
    [
        pytest.param(date(2026, 5, 1), "a date without a time of day", id="date"),
        pytest.param(pendulum.date(2026, 5, 1), "a date without a time of day", id="pendulum date"),
        pytest.param("2026-05-01", "a date without a time of day", id="date as text"),
        pytest.param("2026-W18-5", "a date without a time of day", id="week date as text"),
        pytest.param("yesterday", "give ISO 8601 text", id="words"),
        pytest.param("01/05/2026 12:00", "give ISO 8601 text", id="a local spelling"),
        pytest.param("   ", "give ISO 8601 text", id="blank"),
        pytest.param("2026-13-01T00:00:00", "not in the calendar", id="no such month"),
        pytest.param("2026-05-01T24:00:00", "give ISO 8601 text", id="no such hour"),
        pytest.param("2026-05-01T12:00:60Z", "not in the calendar", id="a leap second"),
        pytest.param("2026-05-01T12:00:00+15:00", "give ISO 8601 text", id="no such offset"),
        pytest.param("2026-05-01T12:00:00+01:60", "give ISO 8601 text", id="no such minute of an offset"),
        pytest.param("2026-05-01+02:00", "a date without a time of day", id="an offset behind a date"),
        pytest.param("20260501-0200", "a date without a time of day", id="an offset behind a basic date"),
        pytest.param("2026-05-01Z", "a date without a time of day", id="a Z behind a date"),
        pytest.param("2026-05-01 02:00:00 PM", "give ISO 8601 text", id="PM"),
        pytest.param("2026-05-01T02:00:00.5AM", "give ISO 8601 text", id="AM"),
        pytest.param("2026-05-01 12:00:00 CEST", "give ISO 8601 text", id="a zone's short name"),
        pytest.param("2026-05-01 12:00:00 Europe/Berlin", "give ISO 8601 text", id="a zone's name"),
        pytest.param("2026-05-01 12:00:00 UTC+2", "give ISO 8601 text", id="an offset behind UTC"),
        pytest.param("2026-05-01T12:00:00.25x+02:00", "give ISO 8601 text", id="a letter before the offset"),
        pytest.param("2026-05-01T12:00:00.25.1+02:00", "give ISO 8601 text", id="two fractions"),
        pytest.param("2026-05-01T12:00:00.", "give ISO 8601 text", id="a point without a fraction"),
        pytest.param("2026-05-01T12", "give ISO 8601 text", id="an hour without minutes"),
        pytest.param("2026-05-01  12:00:00", "give ISO 8601 text", id="two spaces"),
        pytest.param("2026-05-01T12:00:00+02:00[Europe/Berlin]", "give ISO 8601 text", id="an offset and a zone"),
        pytest.param("2026-05-01 12:00:00." + "9" * 200, "is 220 characters long", id="longer than any time"),
        pytest.param("-5", "give ISO 8601 text", id="negative text"),
        pytest.param("１７７７６３６８００", "give ISO 8601 text", id="full-width digits"),
        pytest.param("1e9", "give ISO 8601 text", id="exponent as text"),
        pytest.param(-SECOND, "not an epoch time in seconds", id="negative"),
        pytest.param(0, "not an epoch time in seconds", id="zero"),
        pytest.param(20260501, "not an epoch time in seconds", id="date as a number"),
        pytest.param(999_999_999, "not an epoch time in seconds", id="before 2001"),
        pytest.param(float("inf"), "not an epoch time in seconds", id="infinite"),
        pytest.param(Decimal("-Infinity"), "not an epoch time in seconds", id="negative infinite Decimal"),
        pytest.param(Fraction(1, 3), "not an epoch time in seconds", id="a fraction"),
        pytest.param(True, "a boolean", id="boolean"),
        pytest.param(time(12), "a time;", id="time of day"),
        pytest.param([SECOND], "a list;", id="list"),
        pytest.param(
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "out of the calendar", id="before the calendar"
        ),
        pytest.param(
            datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))), "out of the calendar", id="after it"
        ),
    ],
)
@table("name", ["created_at", "created_at_unix"])
def test_refused_times(name: str, value: Any, says: str) -> None:
    refused = refusal(**{"created_at": ..., name: value})
    assert refused.reason == f"invalid_{name}"
    assert says in refused.detail


def test_a_time_before_the_calendar_in_the_operators_zone_is_refused() -> None:
    assert refusal(BERLIN, created_at=datetime.min).reason == "invalid_created_at"


def test_no_time_at_all_is_refused() -> None:
    refused = refusal(created_at=None)
    assert refused.reason == "missing_created_at"
    assert "the order would be lost" in refused.detail


@table(
    ("age", "reason"),
    [
        pytest.param(timedelta(days=58), None, id="58 days old to the second"),
        pytest.param(timedelta(days=58, microseconds=1), "expired", id="a moment older than 58 days"),
        pytest.param(timedelta(days=3000), "expired", id="years old"),
        pytest.param(timedelta(minutes=-5), None, id="5 minutes ahead"),
        pytest.param(
            timedelta(minutes=-5, microseconds=-1), "created_at_in_future", id="a moment more than 5 minutes ahead"
        ),
        pytest.param(timedelta(hours=-2), "created_at_in_future", id="a zone ahead"),
    ],
)
def test_the_window_in_which_adjust_takes_events(age: timedelta, reason: str | None) -> None:
    if reason is None:
        assert parse(created_at=NOW - age).occurred_at == NOW - age
    else:
        assert refusal(created_at=NOW - age).reason == reason


def test_a_refused_age_says_how_old_and_a_refused_future_how_far() -> None:
    assert "70 days old; Adjust takes none older than 58" in refusal(created_at=NOW - timedelta(days=70)).detail
    ahead = refusal(created_at=pendulum.instance(NOW) + timedelta(hours=2)).detail
    assert "2:00:00 ahead of now; check its time zone" in ahead


def test_age_is_measured_by_the_clock_where_no_time_is_given() -> None:
    assert parse_event({**ROW, "created_at": datetime.now(UTC)}).params["app_token"] == APP
    with pytest.raises(InvalidEvent, match="expired"):
        parse_event({**ROW, "created_at": "2020-01-01T00:00:00Z"})


@table("order", [1, -1], ids=["as written", "columns reversed"])
def test_both_names_may_be_given_for_one_second_and_the_fraction_counts(order: int) -> None:
    columns = {**row(created_at=...), "created_at_unix": SECOND, "created_at": NOW.replace(microsecond=250_000)}
    event = parse_event(dict(list(columns.items())[::order]), now=NOW)
    assert event.occurred_at == NOW.replace(microsecond=250_000)
    assert event.params["created_at_unix"] == str(SECOND)


def test_both_names_for_different_seconds_are_refused() -> None:
    assert refusal(created_at=NOW, created_at_unix=SECOND - 1).reason == "conflicting_created_at"


# --- revenue and currency ---------------------------------------------------------------------------------------------


@table(
    ("value", "sent"),
    [
        pytest.param(Decimal("149.99"), "149.99", id="Decimal"),
        pytest.param(Decimal("5.00"), "5.00", id="Decimal with trailing zeros"),
        pytest.param(Decimal("1E+3"), "1000", id="Decimal with an exponent"),
        pytest.param(Decimal("123456789.123456789123456789"), "123456789.123456789123456789", id="every digit"),
        pytest.param(10, "10", id="int"),
        pytest.param(0.1, "0.1", id="float without binary noise"),
        pytest.param(0.1 + 0.2, "0.30000000000000004", id="float as repr says it"),
        pytest.param(1e10, "10000000000.0", id="float with an exponent"),
        pytest.param(Float32("0.1"), "0.1", id="float32 as it prints"),
        pytest.param(1.5e-3, "0.0015", id="float with a negative exponent"),
        pytest.param("149.99", "149.99", id="text"),
        pytest.param(" 149.90 ", "149.90", id="text with space around and trailing zero"),
        pytest.param("1.5e2", "150", id="text with an exponent"),
        pytest.param("1.5E+02", "150", id="text with a signed exponent"),
        pytest.param("+7", "7", id="text with a plus"),
        pytest.param(".5", "0.5", id="text without a leading zero"),
        pytest.param("7.", "7", id="text that ends in a point"),
        pytest.param("0.001", "0.001", id="the least, as text"),
        pytest.param(Decimal("0.001"), "0.001", id="the least, as Decimal"),
        pytest.param(0.001, "0.001", id="the least, as float"),
        pytest.param(100_000_000_000, "100000000000", id="the most"),
        pytest.param(Decimal("1e11"), "100000000000", id="the most with an exponent"),
        pytest.param("100000000000.00", "100000000000.00", id="the most with zeros"),
    ],
)
def test_revenue_becomes_plain_digits(value: Any, sent: str) -> None:
    event = parse(revenue=value, currency="USD")
    assert event.params["revenue"] == sent
    assert event.revenue == Decimal(sent)


@table(
    ("value", "says"),
    [
        pytest.param(0, "below 0.001", id="zero"),
        pytest.param("0.0009", "below 0.001", id="below the least"),
        pytest.param(Decimal("0.00099999"), "below 0.001", id="just below the least"),
        pytest.param("1e-9999", "below 0.001", id="far below the least"),
        pytest.param(-5, "below 0.001", id="a refund"),
        pytest.param("-149.99", "below 0.001", id="a refund as text"),
        pytest.param("100000000000.001", "above 100,000,000,000", id="just above the most"),
        pytest.param("1e9999", "above 100,000,000,000", id="far above the most"),
        pytest.param(Decimal("1E+999999"), "above 100,000,000,000", id="a Decimal far above the most"),
        pytest.param(NAN, "(NULL) where there is no amount", id="NaN"),
        pytest.param(Decimal("NaN"), "(NULL) where there is no amount", id="Decimal NaN"),
        pytest.param(Decimal("sNaN"), "(NULL) where there is no amount", id="signalling NaN"),
        pytest.param(float("inf"), "(NULL) where there is no amount", id="infinite"),
        pytest.param(Decimal("-Infinity"), "(NULL) where there is no amount", id="negative infinite"),
        pytest.param("NaN", "plain digits", id="NaN as text"),
        pytest.param("Infinity", "plain digits", id="infinite as text"),
        pytest.param(True, "is a bool", id="boolean"),
        pytest.param("1,234", "plain digits", id="thousands separator"),
        pytest.param("12,50", "plain digits", id="decimal comma"),
        pytest.param("1_000", "plain digits", id="underscores"),
        pytest.param("$5", "plain digits", id="currency sign"),
        pytest.param("٥", "plain digits", id="Arabic digits"),
        pytest.param("１２", "plain digits", id="full-width digits"),
        pytest.param("   ", "plain digits", id="blank"),
        pytest.param("1e99999", "plain digits", id="exponent of five digits"),
        pytest.param("9" * 101, "plain digits", id="a text longer than any amount"),
        pytest.param(Decimal("1." + "0" * 100), "has 102 digits", id="a Decimal longer than any amount"),
        pytest.param(Fraction(1, 3), "is a Fraction", id="a fraction"),
        pytest.param([5], "is a list", id="list"),
    ],
)
def test_refused_revenue(value: Any, says: str) -> None:
    refused = refusal(revenue=value, currency="USD")
    assert refused.reason == "invalid_revenue"
    assert says in refused.detail


@table(("value", "sent"), [("usd", "USD"), (" Eur ", "EUR"), ("JPY", "JPY")])
def test_currency_is_upper_cased(value: str, sent: str) -> None:
    assert parse(revenue=1, currency=value).params["currency"] == sent


@table("value", ["US", "DOLLAR", "XXX", "€", "USD,EUR", "  ", 840, True, Other()])
def test_refused_currencies(value: Any) -> None:
    refused = refusal(revenue=1, currency=value)
    assert refused.reason == "invalid_currency"
    assert "ISO 4217" in refused.detail


@table("changes", [{}, {"currency": None}, {"currency": NAN}], ids=["absent", "None", "NaN"])
def test_revenue_needs_its_currency(changes: dict[str, Any]) -> None:
    assert refusal(revenue="1.00", **changes).reason == "missing_currency"


# --- addresses --------------------------------------------------------------------------------------------------------


@table(
    ("value", "sent"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        (IPv4Address("192.0.2.1"), "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.1/255.255.255.255", "192.0.2.1"),
        (IPv4Interface("192.0.2.1/32"), "192.0.2.1"),
        (IPv4Network("192.0.2.1/32"), "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201/128", "192.0.2.1"),
        (IPv6Address("::ffff:192.0.2.1"), "192.0.2.1"),
    ],
)
def test_an_ipv4_address_is_sent(value: Any, sent: str) -> None:
    assert parse(ip_address=value).params["ip_address"] == sent


@table("value", ["2001:db8::1", "::1", "2001:db8::1/64", "fe80::1%eth0", IPv6Address("2001:db8::1")])
def test_an_ipv6_address_is_left_out_and_counted(value: Any) -> None:
    event = parse(ip_address=value)
    assert "ip_address" not in event.params
    assert event.left_out == ("ip_address",)


@table(
    "value",
    [
        *("192.0.2", "192.0.2.256", "192.0.2.1:443", "192.0.2.1, 192.0.2.2", "192.0.2.0/24", "::ffff:192.0.2.1/120"),
        *("localhost", 1, True, "  ", "192.0.2.1" + " " * 100 + "x"),
    ],
)
def test_anything_else_is_refused_as_an_address(value: Any) -> None:
    refused = refusal(ip_address=value)
    assert refused.reason == "invalid_ip_address"
    assert "no port, no list" in refused.detail


# --- callback and partner parameters ----------------------------------------------------------------------------------


@table(
    ("value", "entries"),
    [
        pytest.param({"f0o": "bar", "bar": "baz"}, {"f0o": "bar", "bar": "baz"}, id="mapping"),
        pytest.param('{"f0o": "bar", "bar": "baz"}', {"f0o": "bar", "bar": "baz"}, id="JSON text"),
        pytest.param(OrderedDict(a="1"), {"a": "1"}, id="any mapping"),
        pytest.param({"a": True, "b": False}, {"a": "true", "b": "false"}, id="booleans"),
        pytest.param('{"a": true, "b": false}', {"a": "true", "b": "false"}, id="booleans in JSON text"),
        pytest.param(
            {"a": 5, "b": 2.5, "c": 3.0, "d": 1e5}, {"a": "5", "b": "2.5", "c": "3", "d": "100000"}, id="numbers"
        ),
        pytest.param({"a": Decimal("1.50"), "b": Decimal("1E+3")}, {"a": "1.50", "b": "1000"}, id="Decimals"),
        pytest.param('{"a": 1.50, "b": 0.1e1}', {"a": "1.50", "b": "1"}, id="numbers in JSON text keep their digits"),
        pytest.param(
            {"a": NOW, "b": date(2026, 5, 1)}, {"a": "2026-05-01T12:00:00+00:00", "b": "2026-05-01"}, id="times"
        ),
        pytest.param({"a": uuid.UUID(GPS_ADID)}, {"a": GPS_ADID}, id="uuid"),
        pytest.param({"a": IPv4Address("192.0.2.1")}, {"a": "192.0.2.1"}, id="address"),
        pytest.param({"a": "", "b": "x"}, {"a": "", "b": "x"}, id="empty text is a value here"),
        pytest.param({"a": None, "b": NAN, "c": Decimal("NaN"), "d": NA, "e": NAT, "f": 1}, {"f": "1"}, id="nulls"),
        pytest.param('{"a": null, "b": 1}', {"b": "1"}, id="null in JSON text"),
        pytest.param({"ids": ["76524", "62599"]}, {"ids": '["76524","62599"]'}, id="list"),
        pytest.param('{"ids": ["76524", "62599"]}', {"ids": '["76524","62599"]'}, id="list in JSON text"),
        pytest.param({"ids": (1, 2.5, None, True)}, {"ids": "[1,2.5,null,true]"}, id="tuple"),
        pytest.param({"ids": [[1], {"a": 2}]}, {"ids": '[[1],{"a":2}]'}, id="a list may nest inside its text"),
        pytest.param(
            {"ids": [Decimal("2.5"), NOW]}, {"ids": '[2.5,"2026-05-01T12:00:00+00:00"]'}, id="scalars in a list"
        ),
        pytest.param('{"ids": [1.5, 2]}', {"ids": "[1.5,2]"}, id="numbers in a list in JSON text stay numbers"),
        pytest.param(
            {"ids": [Decimal("0.1234567890123456789")]},
            {"ids": '["0.1234567890123456789"]'},
            id="a number finer than a float",
        ),
        pytest.param({"ids": []}, {"ids": "[]"}, id="empty list"),
        pytest.param({"ü": "ß 👍"}, {"ü": "ß 👍"}, id="Unicode"),
    ],
)
@table("name", ["callback_params", "partner_params"])
def test_parameters_of_ones_own_become_one_flat_object_of_text(name: str, value: Any, entries: dict[str, str]) -> None:
    assert json.loads(parse(**{name: value}).params[name]) == entries


@table(
    "value",
    [{}, "{}", "   ", {"a": None}, '{"a": null}'],
    ids=["mapping", "JSON text", "blank", "only None", "only null"],
)
def test_an_empty_object_is_left_out(value: Any) -> None:
    event = parse(callback_params=value)
    assert "callback_params" not in event.params
    assert event.left_out == ()


@table(
    ("value", "says"),
    [
        pytest.param({"order": {"id": 1}}, "a dict under 'order'", id="nested mapping"),
        pytest.param('{"order": {"id": 1}}', "a dict under 'order'", id="nested in JSON text"),
        pytest.param({"a": Other()}, "a Other under 'a'", id="object"),
        pytest.param({"a": b"x"}, "a bytes under 'a'", id="bytes"),
        pytest.param({"a": {1, 2}}, "a set under 'a'", id="set"),
        pytest.param({"a": float("inf")}, "a float under 'a'", id="infinite"),
        pytest.param({"a": Decimal("1E+999999")}, "a Decimal under 'a'", id="a number of a million digits"),
        pytest.param({"a": 1e200}, "a float under 'a'", id="a float of 200 digits"),
        pytest.param({"a": Fraction(1, 3)}, "a Fraction under 'a'", id="fraction"),
        pytest.param({"a": [NAN]}, "a list under 'a'", id="NaN in a list"),
        pytest.param({"a": [Decimal("NaN")]}, "a list under 'a'", id="Decimal NaN in a list"),
        pytest.param({"a": [Other()]}, "a list under 'a'", id="object in a list"),
        pytest.param({"a": [{(1, 2): 3}]}, "a list under 'a'", id="mapping in a list with an odd key"),
        pytest.param({1: "a"}, "a key that is a int", id="key that is no text"),
        pytest.param('{"a": NaN}', "NaN, which is not JSON", id="NaN in JSON text"),
        pytest.param('{"a": -Infinity}', "-Infinity, which is not JSON", id="Infinity in JSON text"),
        pytest.param('{"a": 1e99999999999999999999}', "not valid JSON", id="an exponent beyond any number"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "not valid JSON", id="an int of 5000 digits"),
        pytest.param("a=1&b=2", "not valid JSON", id="form text"),
        pytest.param("{'a': 1}", "not valid JSON", id="Python text"),
        pytest.param('{"a":' * 100_000, "not valid JSON", id="deep nesting"),
        pytest.param("[1, 2]", "one flat object", id="a JSON list"),
        pytest.param('"text"', "one flat object", id="a JSON text"),
        pytest.param([("a", 1), "b"], "one flat object", id="not only pairs"),
        pytest.param([(1, "a")], "a key that is a int", id="a pair's key that is no text"),
        pytest.param(5, "one flat object", id="number"),
        pytest.param({"a": "\ud800"}, "lone surrogate", id="lone surrogate"),
        pytest.param('{"a": "\\udfff"}', "lone surrogate", id="lone surrogate in JSON text"),
    ],
)
@table("name", ["callback_params", "partner_params"])
def test_refused_parameters_of_ones_own(name: str, value: Any, says: str) -> None:
    refused = refusal(**{name: value})
    assert refused.reason == f"invalid_{name}"
    assert says in refused.detail


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert refusal(callback_params={"a": loop}).reason == "invalid_callback_params"


# --- the other parameters ---------------------------------------------------------------------------------------------

FLAGS = [name for name, parameter in EVENT.parameters.items() if parameter.kind == "flag"]
INTEGERS = [name for name, parameter in EVENT.parameters.items() if parameter.kind == "integer"]
TEXTS = [name for name, parameter in EVENT.parameters.items() if parameter.kind == "text"]


@table("name", FLAGS)
@table(
    ("value", "sent"),
    [
        (True, "1"),
        (False, "0"),
        (1, "1"),
        (0, "0"),
        (1.0, "1"),
        ("1", "1"),
        (" TRUE ", "1"),
        ("false", "0"),
        (Decimal(0), "0"),
        ("t", "1"),
        ("F", "0"),
        ("yes", "1"),
        ("N", "0"),
        ("off", "0"),
        ("1.0", "1"),
        (Decimal("0.00"), "0"),
        (b"\x01", "1"),
        (bytearray(b"\x00"), "0"),
        (b"1", "1"),
    ],
    ids=repr,
)
def test_a_flag_becomes_0_or_1(name: str, value: Any, sent: str) -> None:
    assert parse(**{name: value}).params[name] == sent


@table("value", [2, "perhaps", "tt", -1, 0.5, "  ", b"\x02", b"\x00\x01", b"", "1" * 200, Other()], ids=repr)
def test_anything_else_is_refused_as_a_flag(value: Any) -> None:
    assert refusal(tracking_enabled=value).reason == "invalid_tracking_enabled"


@table("name", INTEGERS)
@table(
    ("value", "sent"),
    [(5, "5"), (0, "0"), (5.0, "5"), ("007", "7"), (Decimal("12"), "12"), ("5.0", "5"), (Decimal("5.000"), "5")],
    ids=repr,
)
def test_an_integer_becomes_its_digits(name: str, value: Any, sent: str) -> None:
    assert parse(**{name: value}).params[name] == sent


@table("value", [-1, 1.5, "1e3", True, "9" * 19, "five", ".0", "1.0.0", "5,0", b"5", "  ", Other()], ids=repr)
def test_refused_integers(value: Any) -> None:
    assert refusal(session_count=value).reason == "invalid_session_count"


@table("name", TEXTS)
@table(
    ("value", "sent"),
    [
        ("  as it is ", "  as it is "),
        (17, "17"),
        (17.0, "17"),
        (17.5, "17.5"),
        (True, "true"),
        (Decimal("1.10"), "1.10"),
    ],
    ids=repr,
)
def test_a_text_is_sent_as_it_is(name: str, value: Any, sent: str) -> None:
    assert parse(**{name: value}).params[name] == sent


@table(
    ("value", "says"),
    [
        pytest.param(b"x", "is a bytes; give text", id="bytes"),
        pytest.param(["x"], "is a list; give text", id="list"),
        pytest.param(Fraction(1, 3), "is a Fraction; give text", id="fraction"),
        pytest.param(float("inf"), "is a float; give text", id="infinite"),
        pytest.param("\ud800", "lone surrogate", id="lone surrogate"),
    ],
)
def test_refused_texts(value: Any, says: str) -> None:
    refused = refusal(os_version=value)
    assert refused.reason == "invalid_os_version"
    assert says in refused.detail


@table("value", ["android", "ios", "roku-os", " xbox ", "iOS", "ANDROID"])
def test_os_name_is_one_that_adjust_knows(value: str) -> None:
    assert parse(os_name=value).params["os_name"] == value.strip().lower()


@table("value", ["phone", "i0s", 5, Other()], ids=repr)
def test_refused_os_names(value: Any) -> None:
    refused = refusal(os_name=value)
    assert refused.reason == "invalid_os_name"
    assert "android-tv" in refused.detail


@table(("value", "sent"), [(0, "0"), (3, "3"), ("2", "2"), (1.0, "1"), ("3.0", "3")], ids=repr)
def test_att_status_is_ioss_own_number(value: Any, sent: str) -> None:
    assert parse(att_status=value).params["att_status"] == sent


@table("value", [4, -1, "authorized", True], ids=repr)
def test_refused_att_status(value: Any) -> None:
    assert refusal(att_status=value).reason == "invalid_att_status"


def test_att_status_and_tracking_enabled_exclude_each_other() -> None:
    assert refusal(att_status=3, tracking_enabled=True).reason == "conflicting_att_status"
    assert parse(att_status=3, tracking_enabled=None).params["att_status"] == "3"


# --- names ------------------------------------------------------------------------------------------------------------


@table(
    ("name", "meant"),
    [
        pytest.param("Revenue", "revenue", id="case"),
        pytest.param("gps_adId", "gps_adid", id="case inside"),
        pytest.param("curency", "currency", id="a slip"),
        pytest.param("callback_param", "callback_params", id="singular"),
    ],
)
def test_an_unknown_name_is_asked_whether_it_meant_a_known_one(name: str, meant: str) -> None:
    refused = refusal(**{name: "x"})
    assert refused.reason == "unknown_parameter"
    assert f"did you mean {meant} (names are case-sensitive)" in refused.detail


def test_an_unknown_name_like_no_other_is_to_be_dropped() -> None:
    assert "rename or drop the column" in refusal(warehouse_loaded_at="x").detail


def test_a_column_name_that_is_not_text_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="a column's name is a int"):
        parse_event({**ROW, 5: "x"}, now=NOW)


def test_extra_params_are_sent_as_text() -> None:
    event = parse({"extra_params": ["s2s_email", "order_id"]}, s2s_email="ab" * 32, order_id=1001)
    assert event.params["s2s_email"] == "ab" * 32
    assert event.params["order_id"] == "1001"
    assert {lane.id_name for lane in event.lanes} == {"gps_adid"}


def test_an_extra_param_is_refused_like_any_text() -> None:
    assert refusal({"extra_params": ["sku"]}, sku=[1]).reason == "invalid_sku"


def test_naming_a_known_parameter_extra_does_not_lift_its_rules() -> None:
    assert refusal({"extra_params": ["revenue"]}, revenue="much", currency="USD").reason == "invalid_revenue"


def test_ignored_columns_are_not_sent_and_known_ones_are_not_ignored() -> None:
    parser = EventParser(ignored=["shop", "os_name"])
    event = parser.parse(row(shop="x", os_name="ios"), now=NOW)
    assert "shop" not in event.params
    assert event.params["os_name"] == "ios"


def test_a_column_map_renames() -> None:
    options = {"column_map": {"gaid": "gps_adid", "total": "revenue"}}
    event = parse(options, gps_adid=..., gaid=GPS_ADID, total="1.00", currency="USD")
    assert event.params["gps_adid"] == GPS_ADID
    assert event.params["revenue"] == "1.00"


@table(
    ("column_map", "changes"),
    [
        pytest.param({"gaid": "gps_adid"}, {"gaid": GPS_ADID}, id="a renamed column and another"),
        pytest.param({"gaid": "idfa", "id": "idfa"}, {"gaid": GPS_ADID, "id": GPS_ADID}, id="two renamed columns"),
        pytest.param({"a": "gps_adid", "b": "gps_adid"}, {"a": None, "b": None}, id="three columns"),
    ],
)
def test_two_columns_for_one_parameter_are_refused(column_map: dict[str, str], changes: dict[str, Any]) -> None:
    assert refusal({"column_map": column_map}, **changes).reason == "repeated_parameter"


@table(
    ("given", "reason"),
    [
        pytest.param(None, "not_a_row", id="None"),
        pytest.param([("a", 1)], "not_a_row", id="list"),
        pytest.param("text", "not_a_row", id="text"),
        pytest.param(UnreadableRow("the line is not JSON"), "unreadable_row", id="unreadable"),
        pytest.param({}, "missing_created_at", id="empty"),
    ],
)
def test_anything_but_a_row_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(given, now=NOW)
    assert caught.value.reason == reason


def test_rows_of_ever_new_shapes_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (event_columns, event_parser):
        monkeypatch.setattr(module, "MOST_SHAPES", 3)
    parser = EventParser(RowOptions(event_id_param=None))
    for names in itertools.permutations(row()):
        assert parser.parse({name: row()[name] for name in names}, now=NOW).params == parse().params
        assert len(parser.columns._shapes) <= 3
        assert len(parser._names) <= 3


# --- identity ---------------------------------------------------------------------------------------------------------


def test_equal_rows_have_equal_ids_whatever_the_order_of_their_columns() -> None:
    columns = row(revenue="1.00", currency="USD", idfa=MIXED)
    backwards = dict(reversed(columns.items()))
    assert parse_event(columns, now=NOW).event_id == parse_event(backwards, now=NOW).event_id


def test_an_event_id_is_a_short_digest_that_does_not_change_between_versions() -> None:
    # Ledgers and raw data exports hold these ids: a change would send everything twice.
    assert parse().event_id == "85fdd8169ddc91367665faba88dd2be8"


@table(
    "changes",
    [
        pytest.param({"revenue": "1.00", "currency": "USD"}, id="revenue"),
        pytest.param({"gps_adid": GPS_ADID[:-1] + "9"}, id="device"),
        pytest.param({"created_at": NOW - timedelta(seconds=1)}, id="second"),
        pytest.param({"environment": "production"}, id="environment"),
        pytest.param({"event_token": "other1"}, id="event token"),
        pytest.param({"callback_params": {"order": 1}}, id="callback parameters"),
    ],
)
def test_different_rows_have_different_ids(changes: dict[str, Any]) -> None:
    assert parse(**changes).event_id != parse().event_id


def test_an_id_does_not_depend_on_how_a_value_was_spelled() -> None:
    spelled = parse(gps_adid=GPS_ADID.upper(), created_at=SECOND, callback_params={"a": 1})
    assert spelled.event_id == parse(callback_params='{"a": "1"}').event_id


def test_equal_events_are_distinguished_by_their_number() -> None:
    parser = EventParser()
    ids = [parser.parse(row(), now=NOW, count_equal=lambda *_, number=number: number).event_id for number in range(3)]
    # They are in ledgers, so they do not change between versions.
    assert ids == [parse().event_id, "28304a2dcc3ee3133c4f189932c7789c", "dfe6f7f0f09fe35c134f4aca069a14d0"]


def test_the_counter_is_asked_with_the_digest_and_the_time() -> None:
    asked: list[tuple[str, datetime]] = []
    EventParser().parse(row(), now=NOW, count_equal=lambda digest, at: asked.append((digest, at)) or 0)
    assert asked == [(parse().event_id, NOW)]


@table(
    ("value", "event_id"),
    [("A-1001", "A-1001"), (" A-1001 ", "A-1001"), (1001, "1001"), (uuid.UUID(GPS_ADID), GPS_ADID)],
    ids=repr,
)
def test_id_field_names_the_id_and_is_not_sent(value: Any, event_id: str) -> None:
    event = parse({"id_field": "order_no"}, order_no=value)
    assert event.event_id == event_id
    assert event.params == parse().params


def test_id_field_is_the_rows_own_name_also_where_column_map_renames_it() -> None:
    event = parse({"id_field": "order_no", "column_map": {"order_no": "order"}}, order_no="A-1001")
    assert (event.event_id, event.params) == ("A-1001", parse().params)


@table("value", [..., None, "", "  ", NAN, Other(), ["A"]], ids=repr)
def test_a_row_without_its_id_is_refused(value: Any) -> None:
    assert refusal({"id_field": "order_no"}, order_no=value).reason == "missing_event_id"


def test_a_refused_row_keeps_its_id() -> None:
    refused = refusal({"id_field": "order_no"}, order_no="A-1", revenue="much")
    assert refused.event_id == "A-1"
    assert refusal(revenue="much").event_id is None


def test_an_id_of_ones_own_is_not_numbered() -> None:
    parser = EventParser(RowOptions(id_field="order_no"))
    assert parser.parse(row(order_no="A-1"), now=NOW, count_equal=lambda *_: 7).event_id == "A-1"


def test_a_corrected_row_keeps_its_id() -> None:
    corrected = ResubmittedRow(row(revenue="2.00", currency="USD"), "first-id")
    assert EventParser(RowOptions(id_field="order_no")).parse(corrected, now=NOW).event_id == "first-id"


@table(
    ("changes", "entries"),
    [
        pytest.param({}, {}, id="no callback parameters"),
        pytest.param({"callback_params": {"a": 1}}, {"a": "1"}, id="beside others"),
        pytest.param({"callback_params": '{"a": "x\\"y"}'}, {"a": 'x"y'}, id="beside others in JSON text"),
        pytest.param({"callback_params": {"a": ""}}, {"a": ""}, id="beside empty text"),
        pytest.param({"callback_params": {}}, {}, id="empty object"),
        pytest.param({"callback_params": {"event_id": None}}, {}, id="its own key is null"),
    ],
)
def test_the_id_is_added_to_the_callback_parameters(changes: dict[str, Any], entries: dict[str, str]) -> None:
    event = parse_event(row(**changes), now=NOW)
    assert json.loads(event.params["callback_params"]) == {**entries, "event_id": event.event_id}
    assert event.own_params == parse(**changes).params
    assert event.event_id == parse(**changes).event_id


def test_event_id_param_names_another_key_or_none() -> None:
    given = row(order="A-1", callback_params={"event_id": 5, "x": "y"})
    for name, entries in {
        "order": {"event_id": "5", "x": "y", "order": "A-1"},
        None: {"event_id": "5", "x": "y"},
        "": {"event_id": "5", "x": "y"},
    }.items():
        event = parse_event(given, RowOptions(id_field="order", event_id_param=name), now=NOW)
        assert json.loads(event.params["callback_params"]) == entries, name


def test_the_id_does_not_overwrite_a_key_with_another_value() -> None:
    refused = refusal({"event_id_param": "order"}, callback_params={"order": 5})
    assert refused.reason == "invalid_callback_params"
    assert "already has the key 'order'" in refused.detail
    assert "name another key in event_id_param, or None" in refused.detail
    known = parse({"event_id_param": "order", "id_field": "nr"}, nr="5", callback_params={"order": 5})
    assert known.params["callback_params"] == '{"order":"5"}'


# --- size -------------------------------------------------------------------------------------------------------------


@table("character", ["x", "ß", "👍", "&"])
def test_a_request_over_a_megabyte_is_refused_at_the_byte(character: str) -> None:
    encoded = {"x": 1, "ß": 6, "👍": 12, "&": 3}[character]
    room = 1_000_000 - len(parse(user_agent="_").body) + 1
    fits, pad = divmod(room, encoded)
    just_fits = parse(user_agent=character * fits + "x" * pad)
    assert len(just_fits.body) == 1_000_000
    refused = refusal(user_agent=character * fits + "x" * (pad + 1))
    assert refused.reason == "too_large"
    assert "1,000,001 bytes; Adjust takes 1,000,000" in refused.detail


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_an_events_repr_shows_no_device() -> None:
    shown = repr(parse(ip_address="192.0.2.1", idfa=MIXED, callback_params={"mail": "a@b.c"}))
    assert "event_id" in shown
    for secret in (GPS_ADID, MIXED.upper(), "192.0.2.1", "a@b.c", APP, TOKEN):
        assert secret not in shown


SECRET = "5ec2e7"
#: What may be wrong with a device id, an address, a token or the user's own data.
SECRETS = {
    "text": f"{SECRET} and more",
    "surrogate": f"{SECRET}\ud800",
    "too long": SECRET * 100,
    "list": [SECRET],
    "bytes": SECRET.encode(),
    "addresses": f"192.0.2.1, {SECRET}",
    "nested": {"key": {"key": SECRET}},
    "list of NaN": {"key": [SECRET, NAN]},
    "bytes inside": {"key": SECRET.encode()},
    "repeated key": f'{{"a": "{SECRET}", "a": "{SECRET}"}}',
}
SECRET_VALUES = st.one_of(
    st.sampled_from(list(SECRETS.values())),
    st.builds("{}{}".format, st.just(SECRET), st.text(max_size=600)),
    st.builds(lambda noise: f"{noise}{SECRET}", st.text(alphabet="-/.:% \ud800ü", max_size=8)),
)
PERSONAL = sorted(EVENT.personal)


@table("value", SECRETS.values(), ids=SECRETS.keys())
@table("name", [*PERSONAL, "sku"])
def test_no_refusal_reveals_personal_data(name: str, value: Any) -> None:
    assert SECRET not in _detail({**ROW, name: value})


@given(
    values=st.dictionaries(st.sampled_from([*PERSONAL, "sku"]), SECRET_VALUES, min_size=1, max_size=6),
    others=st.fixed_dictionaries(
        {},
        optional={
            "revenue": st.sampled_from(["-1", "much", 5]),
            "created_at": st.sampled_from([None, "now", NOW - timedelta(days=90), NOW + timedelta(days=1)]),
            "att_status": st.just("9"),
            "Revenue": st.just(5),
        },
    ),
)
def test_no_refusal_reveals_a_device_an_address_or_a_token(values: dict[str, Any], others: dict[str, Any]) -> None:
    detail = _detail({**ROW, **values, **others})
    for secret in (SECRET, GPS_ADID, APP):
        assert secret not in detail


def _detail(given_row: dict[str, Any]) -> str:
    """What is said of a row that is refused."""
    try:
        parse_event(given_row, RowOptions(extra_params=["sku"]), now=NOW)
    except InvalidEvent as refused:
        return f"{refused} {refused.detail}"
    return ""


# --- properties -------------------------------------------------------------------------------------------------------

JSON_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=20),
    st.datetimes(),
    st.fractions(),
)
ANYTHING = st.one_of(
    JSON_SCALARS,
    st.text(max_size=60),
    st.binary(max_size=10),
    st.dates(),
    st.times(),
    st.uuids(),
    st.ip_addresses(),
    st.ip_addresses().map(str),
    st.sampled_from(
        [NA, NAT, ZERO_ID, MIXED, "USD", "usd", "ios", "sandbox", "0", "1", SECOND, str(SECOND), "NaN", "1e5"]
    ),
    st.lists(JSON_SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=5), st.one_of(JSON_SCALARS, st.lists(JSON_SCALARS, max_size=3)), max_size=4),
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.integers(), st.text()), max_size=4).map(
        json.dumps
    ),
)
ROWS = st.dictionaries(st.sampled_from(sorted(EVENT.parameters)), ANYTHING, max_size=8)
#: Values of which most rows become events, so that the properties below are not about refusals only.
GOOD_ROWS = st.fixed_dictionaries(
    {
        **{name: st.just(value) for name, value in ROW.items()},
        "created_at": st.one_of(
            st.datetimes(NOW.replace(tzinfo=None) - timedelta(days=58), NOW.replace(tzinfo=None)),
            st.integers(SECOND - 86400, SECOND),
            st.decimals(SECOND - 86400, SECOND, places=6),
        ),
        "currency": st.sampled_from(["usd", "EUR", " jpy"]),
    },
    optional={
        "revenue": st.one_of(
            st.floats(0.001, 1e11), st.decimals("0.001", "1e11", places=6), st.integers(1, 10**11), st.just("1.50e3")
        ),
        "idfa": st.one_of(st.uuids(), st.just(ZERO_ID), st.text(max_size=40)),
        "android_id": st.text(max_size=40),
        "ip_address": st.ip_addresses(),
        "callback_params": st.dictionaries(
            st.text(max_size=5), st.one_of(JSON_SCALARS, st.lists(JSON_SCALARS, max_size=3)), max_size=4
        ),
        "user_agent": st.text(max_size=40),
        "tracking_enabled": st.booleans(),
        "session_count": st.integers(0, 10**18 - 1),
        "sku": JSON_SCALARS,
    },
)


def _parsed(given_row: dict[str, Any]) -> Event | None:
    try:
        return parse_event(
            given_row,
            RowOptions(
                extra_params=["sku"], app_token=APP, event_token=TOKEN, environment="sandbox", event_id_param=None
            ),
            now=NOW,
        )
    except InvalidEvent:
        return None


@given(st.one_of(ROWS, GOOD_ROWS))
@example({**ROW, "created_at": Fraction(1, 3)})
@example({**ROW, "revenue": Fraction(1, 3), "currency": "USD"})
@example({**ROW, "callback_params": '{"a": 1e99999999999999999999}'})
@example({**ROW, "created_at": Decimal(f"{SECOND}." + "9" * 60)})
def test_a_row_is_an_event_of_nothing_but_text_or_it_is_refused(given_row: dict[str, Any]) -> None:
    event = _parsed(given_row)
    if event is not None:
        assert all(type(name) is str and type(text) is str for name, text in event.params.items())
        assert all(event.params.values())
        assert event.params.keys() <= EVENT.parameters.keys() | {"sku"}
        assert event.lanes
        assert EVENT.validator.is_valid(event.params)
        assert dict(parse_qsl(event.body, strict_parsing=True, keep_blank_values=True)) == event.params


@given(GOOD_ROWS)
def test_what_is_sent_reads_back_as_what_is_sent(given_row: dict[str, Any]) -> None:
    event = _parsed(given_row)
    assume(event is not None)
    assert event is not None
    again = parse_event(event.params, RowOptions(extra_params=["sku"], event_id_param=None), now=NOW)
    assert again.params == event.params
    assert again.event_id == event.event_id
    assert set(again.lanes) == set(event.lanes)


@given(GOOD_ROWS, st.randoms(use_true_random=False))
def test_the_order_of_columns_changes_nothing(given_row: dict[str, Any], shuffler: Any) -> None:
    items = list(given_row.items())
    shuffler.shuffle(items)
    event, shuffled = _parsed(given_row), _parsed(dict(items))
    assert (event is None) == (shuffled is None)
    if event is not None and shuffled is not None:
        assert shuffled.params == event.params
        assert shuffled.event_id == event.event_id
        assert shuffled.occurred_at == event.occurred_at


@given(st.decimals("0.001", "1e11", allow_nan=False))
def test_revenue_is_sent_to_the_last_digit(amount: Decimal) -> None:
    assume(len(format(amount, "f")) <= 100)
    assert parse(revenue=amount, currency="USD").revenue == amount


# --- the schema as documentation --------------------------------------------------------------------------------------


def test_the_schema_lists_every_device_id_as_sufficient_and_no_other() -> None:
    listed = [alternative["required"][0] for alternative in EVENT.schema["anyOf"]]
    assert sorted(listed) == sorted(EVENT.device_ids)


def test_every_parameter_has_a_meaning_and_a_source() -> None:
    for parameter in EVENT.parameters.values():
        assert parameter.description.endswith(".")
        assert parameter.source.startswith("https://")


def test_the_endpoint_knows_its_limits() -> None:
    assert EVENT.path == "/event"
    assert EVENT.max_age == timedelta(days=58)
    assert EVENT.max_ahead == timedelta(minutes=5)
    assert EVENT.max_bytes == 1_000_000


def test_what_identifies_a_person_or_an_app_is_personal() -> None:
    assert EVENT.personal >= EVENT.device_ids | {
        "app_token",
        "event_token",
        "ip_address",
        "user_agent",
        "callback_params",
        "partner_params",
        "primary_dedupe_token",
        "install_receipt",
        "persistent_ios_uuid",
        "push_token",
    }
    assert EVENT.personal.isdisjoint({"revenue", "currency", "created_at_unix", "os_name", "environment"})
