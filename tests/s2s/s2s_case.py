"""The row, the moment and the devices that the tests of the protocol share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.event import Event, Lane, form_encoded
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import parse_event

#: The moment at which every test happens.
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())

APP = "abc123abc123"
TOKEN = "f0ob4r"
GPS_ADID = "3f0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"
#: The smallest complete row.
ROW: dict[str, Any] = {
    "app_token": APP,
    "event_token": TOKEN,
    "environment": "sandbox",
    "created_at": NOW,
    "gps_adid": GPS_ADID,
}


class NAType:
    """Stands for pandas.NA, which is recognised by the name of its type, and of which no comparison has a truth."""

    def __eq__(self, other: object) -> NAType:  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    def __hash__(self) -> int:
        return 0


class NaTType(datetime):
    """Stands for pandas.NaT, a missing value of type datetime."""

    def isoformat(self, *_: Any) -> str:  # type: ignore[override]
        return "NaT"


NA = NAType()
NAT = NaTType(2026, 1, 1)


def row(**changes: Any) -> dict[str, Any]:
    """The smallest complete row with changes; a change to ``...`` leaves the column out."""
    return {name: value for name, value in {**ROW, **changes}.items() if value is not ...}


def parse(options: dict[str, Any] | None = None, **changes: Any) -> Event:
    """The row's event, without its id among what is sent unless the options ask for it."""
    return parse_event(row(**changes), RowOptions(**{"event_id_param": None, **(options or {})}), now=NOW)


def refusal(options: dict[str, Any] | None = None, **changes: Any) -> InvalidEvent:
    """The refusal of the row with changes; a row that is not refused is a failure."""
    with pytest.raises(InvalidEvent) as caught:
        parse(options, **changes)
    return caught.value


def until_raised(items: Iterable[Any], error: type[Exception]) -> tuple[list[Any], Any]:
    """What came before the error, and the error; none at all is a failure."""
    seen: list[Any] = []
    try:
        for item in items:
            seen.append(item)
    except error as raised:
        return seen, raised
    return pytest.fail(f"no {error.__name__} after {len(seen)} items")


def event(
    *devices: str,
    at: float = 0,
    app: str = APP,
    token: str = TOKEN,
    event_id: str = "",
    params: dict[str, str] | None = None,
) -> Event:
    """An event of these devices, ``at`` seconds after NOW, without the cost of parsing."""
    ids = {f"id{number}": device for number, device in enumerate(devices or ("d",))}
    # The same device always sits under the same name, or it would be in different lanes.
    lanes = tuple(Lane("adid", device, token) for device in ids.values())
    sent = {"app_token": app, "event_token": token, **ids, **(params or {})}
    moment = NOW + timedelta(seconds=at)
    return Event(
        sent,
        form_encoded(sent),
        moment,
        event_id or f"{token}-{'-'.join(devices)}-{at}",
        lanes,
        revenue=Decimal(sent["revenue"]) if "revenue" in sent else None,
    )


def job(position: int, *devices: str, **facts: Any) -> Job:
    return Job(event(*devices, at=facts.pop("at", position), **facts), position)


def pending(position: int, *devices: str, **facts: Any) -> Pending:
    return Pending(job(position, *devices, **facts))
