"""Ad revenue against Adjust's report: by its revenue alone, since the report does not count it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import Said
from reconcile.reading_account import Connect
from reconcile.report_case import DAY, receive

from airflow_provider_adjust.adjust_api.errors import RevenueDiffers
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor

SQL = "SELECT day, events, revenue, currency FROM totals"
NOON = datetime.combine(DAY, time(12), UTC)


@pytest.fixture(autouse=True)
def adjust(
    reporting: SandboxServer, connect_reader: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> SandboxServer:
    with sqlite3.connect(tmp_path / "warehouse.db") as connection:
        connection.execute("CREATE TABLE totals (day, events, revenue, currency)")
    for name in ("warehouse", "ledger"):
        given = {"conn_type": "sqlite", "host": str(tmp_path / f"{name}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(given))
    return reporting


def send(count: int, **changes: Any) -> dict[str, Any]:
    rows = [
        {
            "impression_id": f"i-{number}",
            "gps_adid": "one-device",
            "created_at": NOON,
            "revenue": "0.5",
            "currency": "USD",
            "ad_impressions_count": 1,
            **changes,
        }
        for number in range(count)
    ]
    result: dict[str, Any] = AdjustSendEventsOperator(
        task_id="send", events=rows, endpoint="ad_revenue", id_field="impression_id", ledger_conn_id="ledger"
    ).execute({})
    return result


def reconcile(tmp_path: Path, *rows: tuple[Any, ...], **arguments: Any) -> dict[str, Any]:
    with sqlite3.connect(tmp_path / "warehouse.db") as connection:
        connection.execute("DELETE FROM totals")
        connection.executemany("INSERT INTO totals VALUES (?, ?, ?, ?)", [(str(DAY), *row) for row in rows])
    given = {"task_id": "reconcile", "sql": SQL, "sql_conn_id": "warehouse", "endpoint": "ad_revenue"}
    return AdjustReconcileOperator(**(given | arguments)).execute({})


def test_what_agrees_passes_whatever_events_there_are_beside(adjust: SandboxServer, tmp_path: Path, said: Said) -> None:
    send(4)
    receive(adjust, 3, revenue="7", currency="USD")  # purchases, which are not ad revenue
    assert reconcile(tmp_path, (4, "2.00", "USD"), ledger_conn_id="ledger") == {
        "compared": 1,
        "first_day": str(DAY),
        "last_day": str(DAY),
        "events": {"warehouse": 4, "adjust": None},
        "revenue": {"warehouse": {"USD": "2.00"}, "adjust": {"USD": "2.00"}},
    }
    assert "A report sums ad revenue and does not count it" in str(said)
    assert "event token" not in str(said).partition("The warehouse and Adjust")[2]


def test_a_difference_fails_and_the_ledger_says_where_it_is(adjust: SandboxServer, tmp_path: Path) -> None:
    send(3)
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(tmp_path, (None, "2.00", "USD"))
    assert "0.50 USD missing in Adjust" in str(failure.value)
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(tmp_path, (4, "2.00", "USD"), ledger_conn_id="ledger")
    assert "1 event and 0.50 USD not sent" in str(failure.value)
    adjust.reset()
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(tmp_path, (3, "1.50", "USD"), ledger_conn_id="ledger")
    assert "1.50 USD sent, not booked by Adjust" in str(failure.value)


def test_several_currencies_are_compared_with_the_ledger(adjust: SandboxServer, tmp_path: Path, said: Said) -> None:
    send(2)
    assert reconcile(tmp_path, (1, "0.50", "USD"), (1, "0.50", "USD"), ledger_conn_id="ledger")["compared"] == 1
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(tmp_path, (1, "0.50", "USD"), (1, "0.50", "EUR"), ledger_conn_id="ledger")
    assert "\nAd revenue is in EUR and USD" in str(failure.value)


def test_the_number_of_rows_is_compared_with_the_ledger_though_the_revenue_agrees(
    adjust: SandboxServer, tmp_path: Path
) -> None:
    send(3)
    for rows, says in ((4, "1 event not sent"), (2, "1 event sent, not in the warehouse")):
        with pytest.raises(RevenueDiffers, match=says):
            reconcile(tmp_path, (rows, "1.50", "USD"), ledger_conn_id="ledger")
        assert reconcile(tmp_path, (rows, "1.50", "USD"), ledger_conn_id="ledger", tolerance=1)["compared"] == 1
        assert reconcile(tmp_path, (rows, "1.50", "USD"))["compared"] == 1, "nothing counts them"
    assert reconcile(tmp_path, (None, "1.50", "USD"), ledger_conn_id="ledger")["compared"] == 1


def test_several_currencies_cannot_be_compared_without_a_ledger(adjust: SandboxServer, tmp_path: Path) -> None:
    """They would agree whatever Adjust has."""
    both = [(1, "0.50", "USD"), (1, "0.50", "EUR")]
    says = "is in EUR and USD; Adjust's report converts it into one currency"
    with pytest.raises(AirflowFailException, match=says):
        reconcile(tmp_path, *both)
    expected = [{"day": str(DAY), "revenue": {"USD": "1", "EUR": "1"}}]
    with pytest.raises(AirflowFailException, match=says):
        _sensor(expected=expected).execute({})


def test_a_baseline_in_another_currency_is_refused(adjust: SandboxServer, tmp_path: Path) -> None:
    send(2)
    for baseline in ({"revenue": "1", "currency": "EUR"}, {"revenue": {"USD": "1", "EUR": "1"}}):
        given = [{"day": str(DAY), "event_token": "ad_revenue", **baseline}]
        with pytest.raises(AirflowFailException, match="and what is expected is in USD; give both in one currency"):
            reconcile(tmp_path, (2, "1.00", "USD"), baseline=given)
    nothing = [{"day": str(DAY), "event_token": "ad_revenue", "revenue": "0", "currency": "EUR"}]
    assert reconcile(tmp_path, (2, "1.00", "USD"), baseline=nothing)["compared"] == 1


def test_what_adjust_had_before_is_subtracted(adjust: SandboxServer, tmp_path: Path) -> None:
    send(3)
    before = AdjustS2SHook().booked_events(["ad_revenue"], str(DAY), currency="USD")
    assert [total["revenue"] for total in before] == ["1.5"]
    send(5)
    for baseline in (before, [{"day": str(DAY), "revenue": "1.5", "currency": "USD"}]):
        assert reconcile(tmp_path, (None, "1.00", "USD"), baseline=baseline)["compared"] == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    for arguments, rows, says in (
        ({"sql": "SELECT day, events FROM totals"}, [(1, None, None)], "ad revenue is compared by its revenue alone"),
        ({}, [(1, "1", None)], "the sql has no revenue or no currency"),
        (
            {"sql": "SELECT day, 'f0ob4r' AS event_token, revenue, currency FROM totals"},
            [(1, "1", "USD")],
            "the sql has event_token, and ad revenue has none",
        ),
        ({"endpoint": "adrevenue"}, [], "endpoint='adrevenue' must be one of"),
    ):
        with pytest.raises(AirflowFailException, match=says):
            reconcile(tmp_path, *rows, **arguments)


def _sensor(**arguments: Any) -> AdjustEventsReportedSensor:
    given = {"task_id": "wait", "endpoint": "ad_revenue", "mode": "poke", "timeout": 0}
    return AdjustEventsReportedSensor(**(given | arguments))


def test_the_sensor_waits_for_the_revenue(adjust: SandboxServer) -> None:
    adjust.configure(report_delay=3600)
    waiting = _sensor(expected=send(4))
    assert not waiting.poke({}).is_done
    adjust.configure(report_delay=0)
    done = waiting.poke({})
    assert done.xcom_value == [
        {"period": str(DAY), "event_token": "ad_revenue", "events": None, "revenue": "2.0", "currency": "USD"}
    ]
    assert _sensor(expected=waiting.trigger(poke_interval=1, until=0).expected).poke({}).is_done
    for arguments, says in (
        ({"expected": send(1), "with_revenue": False}, "compared by its revenue alone"),
        ({"expected": [], "event_token": "f0ob4r"}, "event_token cannot be given with endpoint='ad_revenue'"),
    ):
        with pytest.raises(AirflowFailException, match=says):
            _sensor(**arguments).execute({})
