"""An endpoint is a value: the core delivers to one without order, key, age limit and minimum like to ``/event``."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fake_transport import FakeTransport, by_outcome
from s2s_case import APP, NOW

from airflow_provider_adjust.s2s import EventParser, Ledger, Route, RowOptions, Sender, SendOptions, TaskInstanceId
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.transports import Target

_MADE_UP_FACTS = {
    "name": "tip",
    "path": "/tip",
    "ordered": False,
    "time": "optional",
    "key": None,
    "amounts": ["tip"],
    "max_ahead_minutes": 5,
    "max_bytes": 10_000,
    "sources": EVENT.schema["x-adjust"]["sources"],
}
#: Tips: their amount has another name than ``revenue`` and no floor, and there is no event token.
TIP = Endpoint.of(
    {
        "x-adjust": _MADE_UP_FACTS,
        "required": ["s2s", "app_token", "environment", "tip"],
        "anyOf": [{"required": ["gps_adid"]}],
        "dependentRequired": {"tip": ["currency"]},
        "properties": {
            **{
                name: EVENT.schema["properties"][name]
                for name in ("s2s", "app_token", "environment", "created_at", "created_at_unix", "gps_adid", "currency")
            },
            "tip": EVENT.schema["properties"]["revenue"],
        },
    }
)


def _rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Tips of one device."""
    return [
        {"tip_id": str(number), "gps_adid": "one-device", "tip": "0.0000001", "currency": "USD", **changes}
        for number in range(count)
    ]


def _sender(transport: FakeTransport, **memory: Any) -> Sender:
    options = RowOptions(app_token=APP, environment="sandbox", id_field="tip_id")
    route = Route(EventParser(options, endpoint=TIP), Target("https://s2s.adjust.test/tip"))
    return Sender({None: route}, transport, SendOptions(max_in_flight=8), now=lambda: NOW, **memory)


def test_events_of_one_device_are_in_flight_together() -> None:
    transport = FakeTransport()
    receipts = list(_sender(transport).send(_rows(40)))
    assert len(by_outcome(receipts)["delivered"]) == 40
    assert transport.most_in_flight == 8
    # One went ahead, so that a wrong token would cost one request.
    assert transport.sent[1][0] > transport.sent[0][0]


def test_an_amount_without_a_floor_is_sent_digit_by_digit_and_counted() -> None:
    sender = _sender(transport := FakeTransport())
    list(sender.send(_rows(3)))
    assert "tip=0.0000001&" in transport.bodies[0]
    assert sender.sink.summary.revenue == {"USD": Decimal("0.0000003")}


def test_an_event_may_be_of_any_age_or_without_a_time() -> None:
    transport = FakeTransport()
    rows = _rows(1, created_at=NOW - timedelta(days=5000)) + _rows(1, tip_id="another")
    assert len(by_outcome(_sender(transport).send(rows))["delivered"]) == 2
    assert [body.count("created_at_unix") for body in transport.bodies] == [1, 0]


def test_neither_an_event_token_is_asked_for_nor_one_taken() -> None:
    with pytest.raises(AdjustConfigurationError, match="unknown columns: 'event_token'"):
        list(_sender(FakeTransport()).send(_rows(1, event_token="f0ob4r")))


def test_the_ledger_keeps_it_apart_from_events_and_sends_it_once(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    for run, sent in (("one", 5), ("two", 0)):
        ledger = Ledger(engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW)
        sender = _sender(transport := FakeTransport(), ledger=ledger)
        list(sender.send(_rows(5)))
        sender.save()
        ledger.end()
        ledger.close()
        assert len(transport.sent) == sent
    with engine.connect() as connection:
        assert set(connection.execute(sa.text("SELECT endpoint, event_token FROM adjust_delivery")).all()) == {
            ("tip", "")
        }
    engine.dispose()
