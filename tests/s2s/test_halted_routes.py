"""One app's token is wrong: its events wait, the other apps' go on, and the task fails at the end and names the app."""

from __future__ import annotations

from typing import Any

from fake_transport import OK, WRONG_TOKEN, FakeTransport
from s2s_case import NOW

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import DeliveryHalted
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Target

APPS = ("ios", "android")


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "app": APPS[number % 2],
            "order_id": number,
            "adid": f"device-{number % 6}",
            "created_at": NOW.timestamp() - 1000 + number,
        }
        for number in range(count)
    ]


def deliver(transport: FakeTransport, count: int) -> tuple[list[Receipt], Exception | None]:
    routes: dict[str | None, Route] = {
        app: Route(
            EventParser(
                RowOptions(app_token=f"{app}app", event_token="event1", environment="sandbox", id_field="order_id"),
                ignored=("app",),
            ),
            Target("http://127.0.0.1/event"),
            connection=f"adjust_{app}",
        )
        for app in APPS
    }
    sender = Sender(routes, transport, SendOptions(max_in_flight=4), route_by="app", now=lambda: NOW)
    receipts: list[Receipt] = []
    try:
        for receipt in sender.send(rows(count)):
            receipts.append(receipt)
    except DeliveryHalted as error:
        return receipts, error
    return receipts, None


def test_the_events_of_the_other_apps_go_on_when_one_app_is_refused() -> None:
    transport = FakeTransport({1: [WRONG_TOKEN] * 9}, otherwise=OK)
    receipts, error = deliver(transport, 20)
    by_route: dict[str | None, set[str]] = {}
    for receipt in receipts:
        by_route.setdefault(receipt.route, set()).add(receipt.outcome.value)
    assert by_route == {"ios": {"held"}, "android": {"delivered"}}
    assert len(receipts) == 20
    assert isinstance(error, DeliveryHalted)
    assert "route 'ios' (connection adjust_ios)" in str(error)
    # A wrong token costs one request, and nothing of the app follows.
    assert transport.positions.count(1) == 1
    assert len(transport.positions) == 11


def test_the_delivery_stops_when_every_app_is_refused() -> None:
    transport = FakeTransport({1: [WRONG_TOKEN], 2: [WRONG_TOKEN]}, otherwise=OK)
    receipts, error = deliver(transport, 20)
    assert isinstance(error, DeliveryHalted)
    assert {receipt.outcome.value for receipt in receipts} == {"held"}
    assert len(transport.positions) == 2
