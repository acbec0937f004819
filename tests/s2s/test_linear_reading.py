"""Reading a row takes time that grows with its length and no faster: a user of the app may have written its values."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from s2s_case import row
from table import table

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import EventParser

#: Texts of any length on which a pattern that tries every split would not end.
SHAPES: dict[str, Callable[[int], str]] = {
    "zeros and hyphens": lambda length: "0-" * (length // 2) + "x",
    "zeros": lambda length: "0" * length + "x",
    "nines": lambda length: "9" * length + "x",
    "digits and points": lambda length: "1." * (length // 2) + "x",
    "a number with an exponent": lambda length: "1" * length + "e",
    "a time with a long fraction": lambda length: "2026-05-01T12:00:00." + "9" * length + "x",
    "a date and spaces": lambda length: "2026-05-01" + " " * length + "x",
    "spaces": lambda length: " " * length + "x",
    "colons": lambda length: ":" * length + "x",
    "letters": lambda length: "a" * length + "!",
    "brackets": lambda length: "[" * length,
    "quotes": lambda length: '"' * length,
    "an object of many keys": lambda length: "{" + ",".join(f'"{n}":1' for n in range(length // 9)) + "}",
    "backslashes": lambda length: '{"a":"' + "\\" * length,
    "null": lambda length: "null" * (length // 4),
}
NAMES = [*EVENT.parameters, "sku", "event", "order_id"]
#: So much longer is the longer text. Time that grows with the square of the length grows by this again.
FACTOR = 8
SHORT = 10_000
#: Seconds in which no machine is so slow that a linear reading of the longer text takes them.
FAST = 0.02


def _seconds(parser: EventParser, given: dict[str, Any]) -> float:
    started = time.perf_counter()
    with suppress(InvalidEvent):
        parser.parse(given)
    return time.perf_counter() - started


@table("shape", SHAPES)
def test_a_longer_value_takes_no_more_than_its_share_of_time(shape: str) -> None:
    parser = EventParser(RowOptions(id_field="order_id", extra_params=["sku"], event_tokens={"purchase": "f0ob4r"}))
    short, long = (SHAPES[shape](length) for length in (SHORT, FACTOR * SHORT))
    slow = []
    for name in NAMES:
        # The shortest of several times: another process may take the processor away.
        took, took_longer = (
            min(_seconds(parser, {**row(order_id="A-1"), name: text}) for _ in range(3)) for text in (short, long)
        )
        if took_longer > FAST and took_longer > 3 * FACTOR * took:
            slow.append(f"{name}: {took:.4f} s, then {took_longer:.4f} s")
    assert slow == []
