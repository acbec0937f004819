"""A pair of tokens that the ledger knows as accepted sends no canary again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fake_transport import FakeTransport
from s2s_case import NOW, TOKEN, row

from airflow_provider_adjust.s2s import RowOptions, SendOptions
from airflow_provider_adjust.s2s.delivery.sender import Route, Sender
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target


def _row(number: int, token: str) -> dict[str, Any]:
    return row(
        order_id=f"o-{number}",
        created_at=NOW - timedelta(seconds=100 - number),
        gps_adid=f"device-{number}",
        event_token=token,
    )


def test_a_pair_of_tokens_that_delivered_before_costs_no_serial_request_again(tmp_path: Path) -> None:
    """A second run repeats one event of each pair. The other pair's answer opens the window, so nothing else waits."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")

    def run(run_id: str, rows: list[dict[str, Any]]) -> tuple[list[str], FakeTransport]:
        transport = FakeTransport()
        ledger = Ledger(engine, TaskInstanceId("dag", run_id, "task"))
        routes = {None: Route(EventParser(RowOptions(id_field="order_id")), Target("http://adjust.test/event", "T"))}
        sender = Sender(routes, transport, SendOptions(max_in_flight=8), ledger=ledger, now=lambda: NOW)
        outcomes = [receipt.outcome.value for receipt in sender.send(rows)]
        sender.save()
        ledger.close()
        return outcomes, transport

    known = [_row(1, TOKEN), _row(2, "other1")]
    assert run("first", known)[0] == ["delivered"] * 2
    new = [_row(number, "other1") for number in range(4, 12)]
    outcomes, transport = run("second", [*known, _row(3, TOKEN), *new])
    assert sorted(outcomes) == ["delivered"] * 9 + ["skipped"] * 2
    assert transport.positions[0] == 3
    assert len({at for at, _ in transport.sent[1:]}) == 1, "the new events of the known pair go together"
    engine.dispose()
