"""The files that the campaigns send: purchases, with rows that are refused and devices that Adjust does not know."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EVENT_TOKEN = "f0ob4r"  # noqa: S105 - the example in Adjust's documentation
SECOND_TOKEN = "f1rst1"  # noqa: S105
#: The identity of an event: its event token and its id.
Key = tuple[str, str]
Row = dict[str, Any]


@dataclass
class Warehouse:
    """The rows of a file, and the events that Adjust should have, with the second of each."""

    rows: list[Row] = field(default_factory=list)
    expected: dict[Key, int] = field(default_factory=dict)
    unknown_devices: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))


def purchases(name: str, count: int, chance: random.Random) -> Warehouse:
    """One purchase a second, of devices that buy now and then, or again and again."""
    warehouse = Warehouse()
    devices = max(count // 4, 10)
    unknown = [devices - 1, devices - 2]
    warehouse.unknown_devices = [f"{name}-device-{device}" for device in unknown]
    for row, device in _rows(name, count, devices, chance):
        if chance.random() < 0.004:
            row |= chance.choice([{"currency": "XYZ"}, {"revenue": "many"}, {"gps_adid": "", "adid": ""}])
            row.pop("android_id", None)
        elif device not in unknown:
            warehouse.expected[key_of_row(row)] = second_of_row(row)
        warehouse.rows.append(row)
    return warehouse


def repeated_ids(name: str, count: int, chance: random.Random) -> Warehouse:
    """An order's number is repeated later: with another time and amount, or as the same row in the same second."""
    warehouse = Warehouse()
    for row, _ in _rows(name, count, max(count // 4, 10), chance):
        earlier = chance.choice(warehouse.rows) if warehouse.rows and chance.random() < 0.05 else None
        if earlier is not None:
            row["order_id"] = earlier["order_id"]
        else:
            warehouse.expected[key_of_row(row)] = second_of_row(row)
        warehouse.rows.append(row)
        if chance.random() < 0.02:
            warehouse.rows.append(dict(row))
    return warehouse


def two_tokens(name: str, count: int, chance: random.Random) -> Warehouse:
    """Each order is a purchase and, in the same second, a first purchase."""
    warehouse = Warehouse()
    for row, _ in _rows(name, count // 2, max(count // 8, 10), chance):
        for event_token in (EVENT_TOKEN, SECOND_TOKEN):
            warehouse.rows.append(row | {"event_token": event_token})
            warehouse.expected[event_token, row["order_id"]] = second_of_row(row)
    return warehouse


def carts(name: str, count: int, chance: random.Random) -> Warehouse:
    """Items of a cart are events of one device, one event token and one second."""
    warehouse = Warehouse()
    for row, _ in _rows(name, count // 3, max(count // 12, 10), chance):
        for item in range(chance.choice((2, 3, 4))):
            one = row | {"order_id": f"{row['order_id']}-{item}", "revenue": f"{1 + item}.25"}
            warehouse.rows.append(one)
            warehouse.expected[key_of_row(one)] = second_of_row(one)
    return warehouse


def _rows(name: str, count: int, devices: int, chance: random.Random) -> Iterator[tuple[Row, int]]:
    """Rows one second apart, each with the number of its device."""
    start = datetime.now(UTC) - timedelta(seconds=2 * count + 60)
    for place in range(count):
        # A few devices buy repeatedly at the same time, so that their lanes are always full.
        device = chance.choice((0, 1, 2)) if chance.random() < 0.05 else chance.randrange(devices)
        row: Row = {
            "order_id": f"{name}-order-{place}",
            "created_at": (start + timedelta(seconds=place)).isoformat(),
            "gps_adid": f"{name}-device-{device}",
            "revenue": f"{1 + place % 50}.25",
            "currency": "EUR",
        }
        if device % 10 == 0:
            # Two devices share the third id, so their lanes depend on one another.
            row |= {"adid": f"{name}-adid-{device}", "android_id": f"{name}-android-{device // 20}"}
        yield row, device


def key_of_row(row: Row) -> Key:
    return row.get("event_token") or EVENT_TOKEN, row["order_id"]


def second_of_row(row: Row) -> int:
    return int(datetime.fromisoformat(row["created_at"]).timestamp())
