"""A row may hold anything: it spoils only itself, smuggles nothing into the request, and forges no line in a log."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from s2s_case import GPS_ADID, NOW, job, parse, row
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.account.rejected import rejected_line
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.intake import Intake
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import InvalidEvent, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Unspeakable:
    """An object of which nothing can be asked."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("nobody may see this")

    __str__ = __repr__ = __eq__ = __bool__ = __format__ = _raise  # type: ignore[assignment]
    __hash__ = object.__hash__


class UnspeakableNumber(int):
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class UnspeakableText(str):
    def strip(self, *_: Any) -> str:
        raise RuntimeError


class NoZone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError


VALUES: dict[str, Any] = {
    "1 MB": "x" * 1_000_000,
    "1 MB of JSON": '{"a": "' + "x" * 1_000_000 + '"}',
    "nested a little": _nested(400),
    "nested a lot": _nested(100_000),
    "nested mapping": {"a": _nested(100_000)},
    "nested JSON": "[" * 100_000,
    "endless": _endless(),
    "unspeakable": Unspeakable(),
    "unspeakable number": UnspeakableNumber(3),
    "unspeakable text": UnspeakableText("x"),
    "5,000 digits": 10**5000,
    "minus 5,000 digits": -(10**5000),
    "1E+1000000": Decimal("1E+1000000"),
    "1E-1000000": Decimal("1E-1000000"),
    "sNaN": Decimal("sNaN"),
    "NaN": math.nan,
    "infinite": -math.inf,
    "no zone": datetime(2026, 5, 1, tzinfo=NoZone()),
    "first moment": datetime.min,
    "last moment": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    "bytes": b"\xff\x00\r\n",
    "set": {1},
    "complex": 1j,
    "lone surrogate": "\udcff",
    "control characters": "a\x00\x1b[2J\r\nb\x85\u2028",
    "bidi": "\u202egpj.exe\u2066",
    "SQL": "'; DROP TABLE adjust_delivery; --",
    "Jinja": "{{ conn.adjust_default.password }}{% raw %}",
    "form": "a&app_token=evil=1;b#?%00+",
}
NAMES = ["gps_adid", "created_at", "created_at_unix", "revenue", "currency", "ip_address", "user_agent"]
NAMES += ["callback_params", "partner_params", "environment", "att_status", "tracking_enabled", "app_token"]
NAMES += ["event_token", "event", "order_id", "os_name", "extra", "unknown"]
OPTIONS: dict[str, Any] = {"id_field": "order_id", "extra_params": ["extra"], "event_tokens": {"purchase": "f0ob4r"}}


def take(rows: list[Any], *, route_by: str | None = None) -> list[Job | Receipt]:
    """The items that rows become, checkpoint included, each also as a rejected line."""
    parser = EventParser(RowOptions(**OPTIONS), ignored=() if route_by is None else (route_by,))
    intake = Intake({None if route_by is None else "android": parser}, route_by=route_by, now=lambda: NOW)
    checkpoint = Checkpoint(MemoryStore())
    items = list(checkpoint.resume(intake.stream(iter(rows))))
    checkpoint.save()
    for item in items:
        receipt = (
            item if isinstance(item, Receipt) else Receipt(Outcome.HELD, "", "", 1, event=item.event, row=item.row)
        )
        line = rejected_line(receipt)
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["row"] is not None
    return items


@table("value", VALUES.values(), ids=VALUES)
@table("name", NAMES)
@table("route_by", [None, "os_name"])
def test_a_row_spoils_only_itself(name: str, value: Any, route_by: str | None) -> None:
    route = {"os_name": "android"} if route_by else {}
    good = row(order_id="o-1", **route)
    hostile = row(order_id="o-2", **route) | {name: value}
    if name == "created_at_unix":
        del hostile["created_at"]
    items = take([good, hostile, good | {"order_id": "o-3"}], route_by=route_by)
    assert [isinstance(item, Job) for item in (items[0], items[2])] == [True, True]
    if isinstance(items[1], Receipt):
        assert items[1].detail.isprintable()
        assert len(items[1].detail) < 500
        assert "nobody may see this" not in items[1].detail
    else:
        sent = parse_qsl(items[1].event.body, keep_blank_values=True, strict_parsing=True)
        assert dict(sent) == items[1].event.params
        assert len(sent) == len(items[1].event.params), "no value becomes a parameter of its own"
        assert items[1].event.body.isprintable()
        assert items[1].event.body.isascii()


NO_ROWS = ["1 MB", "nested a lot", "endless", "unspeakable", "unspeakable number", "unspeakable text"]
NO_ROWS += ["5,000 digits", "no zone", "bytes", "set", "lone surrogate", "control characters", "bidi"]


@table("value", [VALUES[name] for name in NO_ROWS], ids=NO_ROWS)
def test_a_value_in_place_of_a_row_affects_only_itself(value: Any) -> None:
    items = take([row(order_id="o-1"), value, row(order_id="o-3")])
    assert [isinstance(item, Job) for item in items] == [True, False, True]
    assert items[1].reason == "not_a_row"


@table("name", ["a&app_token", "revenue=1&x", "a\r\nHost: evil", "\u202e", "\udcff", "a" * 1_000_000, ""])
def test_a_name_smuggles_nothing(name: str) -> None:
    (refused, _) = take([row(order_id="o-1", **{name: "1"}), row(order_id="o-2")])
    assert isinstance(refused, Receipt)
    assert (refused.reason, refused.detail.isprintable(), len(refused.detail) < 300) == (
        "unknown_parameter",
        True,
        True,
    )
    if "\udcff" not in name and len(name) < 1000:
        event = parse({"extra_params": [name]}, **{name: "1"})
        assert dict(parse_qsl(event.body, keep_blank_values=True, strict_parsing=True)) == event.params


@table("event_id", [None, "", ["o-1"], Unspeakable()], ids=lambda value: type(value).__name__)
def test_a_line_without_its_event_id_is_refused(event_id: Any) -> None:
    with pytest.raises(InvalidEvent) as refused:
        EventParser().parse(ResubmittedRow(row(), event_id), now=NOW)
    assert refused.value.reason in {"missing_event_id", "unreadable_row"}


def test_an_event_id_that_became_a_number_is_read_as_text() -> None:
    assert EventParser().parse(ResubmittedRow(row(), 5), now=NOW).event_id == "5"  # type: ignore[arg-type]


def test_an_event_id_forges_no_line_in_a_message() -> None:
    forged = "o-1\n[2026-05-01] ERROR \x1b[31mall is lost"
    rows = [row(order_id=forged), row(order_id=forged + "2" * 200, created_at=NOW - timedelta(seconds=1))]
    with pytest.raises(StreamOutOfOrder) as stopped:
        take(rows)
    message = str(stopped.value)
    assert message.isprintable()
    assert r"o-1\n[2026-05-01]" in message
    assert len(message) < 700


@table("event_id", ["o\x00-1", "o\udcff-1", "o\r\n-1", "'; DROP TABLE adjust_delivery; --", "o" * 9999])
def test_the_ledger_keeps_any_event_id(ledger_engine: sa.Engine, event_id: str) -> None:
    def first_claim(run_id: str) -> Claim | Receipt:
        ledger = Ledger(ledger_engine, TaskInstanceId("dag", run_id, "task"))
        sent = job(1, "a", event_id=event_id, params={"environment": "sandbox"})
        (answer,) = ledger.begin_claim([sent]).result()
        if isinstance(answer, Claim):
            ledger.settle(Receipt(Outcome.DELIVERED, "", event_id, 1, event=sent.event))
        ledger.end()
        ledger.close()
        return answer

    assert first_claim("one") == Claim()
    again = first_claim("two")
    assert isinstance(again, Receipt)
    assert again.outcome is Outcome.SKIPPED


# -- fuzzed ------------------------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**6), max_value=10**20)
    | st.floats()
    | st.decimals()
    | st.text(alphabet=st.characters(codec=None, exclude_categories=()))
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.uuids()
    | st.ip_addresses(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from([*EVENT.parameters, "extra", "order_id", "event"]) | st.text(max_size=12)


@given(st.dictionaries(names, anything, max_size=8))
def test_any_row_is_an_event_or_a_refusal(changes: dict[str, Any]) -> None:
    items = take([row(order_id="o-1"), row(order_id="o-2") | changes])
    assert isinstance(items[0], Job)
    if isinstance(items[1], Job):
        event = items[1].event
        assert dict(parse_qsl(event.body, keep_blank_values=True, strict_parsing=True)) == event.params
    else:
        assert items[1].detail.isprintable()
        assert GPS_ADID not in items[1].detail
