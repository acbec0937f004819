"""AdjustReconcileOperator: the warehouse against Adjust's report, with the ledger between them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from operators.adjust_account import Said
from reconcile.reading_account import Connect
from reconcile.report_case import DAY, EVENT_TOKEN, receive

from airflow_provider_adjust.adjust_api.errors import ReportUnavailable, RevenueDiffers
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.routes import ledger_engine
from airflow_provider_adjust.s2s.ledger.schema import drop_all, scopes, verdicts
from airflow_provider_adjust.sandbox import SandboxServer

NEXT = DAY + timedelta(days=1)
SQL = "SELECT day, event_token, events, revenue, currency FROM totals"
NOON = datetime.combine(DAY, time(12), UTC)

BASELINE = {"day": str(DAY), "event_token": EVENT_TOKEN, "events": 2, "revenue": 2.5, "currency": "EUR"}


@pytest.fixture(autouse=True)
def adjust(reporting: SandboxServer, connect_reader: Connect) -> SandboxServer:
    return reporting


@pytest.fixture(autouse=True)
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The connection `warehouse`: an SQLite file with an empty table of totals."""
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE totals (day, event_token, events, revenue, currency)")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def book(path: Path, *rows: tuple[Any, ...]) -> None:
    """Each row is events and revenue in EUR of the day; what is missing is taken from there."""
    given = ((str(DAY), EVENT_TOKEN, 0, None, "EUR"), *rows)[1:]
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO totals VALUES (?, ?, ?, ?, ?)",
            [(str(DAY), EVENT_TOKEN, *row, "EUR") if len(row) == 2 else row for row in given],
        )


def reconcile(**arguments: Any) -> dict[str, Any]:
    given = {"task_id": "reconcile", "sql": SQL, "sql_conn_id": "warehouse"}
    return AdjustReconcileOperator(**(given | arguments)).execute({})


def lines_of(text: object) -> list[str]:
    return [" ".join(line.split()) for line in str(text).splitlines()]


def test_what_agrees_passes_and_is_summed_up(adjust: SandboxServer, warehouse: Path, said: Said) -> None:
    receive(adjust, 3)
    receive(adjust, 2, at=NOON + timedelta(days=1))
    receive(adjust, 1, event_token="abc123", revenue=None, currency=None)
    book(warehouse, (3, 3.75), (str(NEXT), EVENT_TOKEN, 2, "2.50", "EUR"), (str(DAY), "abc123", 1, None, None))
    assert reconcile() == {
        "compared": 4,
        "first_day": str(DAY),
        "last_day": str(NEXT),
        "events": {"warehouse": 6, "adjust": 6},
        "revenue": {"warehouse": {"EUR": "6.25"}, "adjust": {"EUR": "6.25"}},
    }
    assert f"{DAY}  f0ob4r" in str(said)


DIFFERENCES: dict[str, tuple[int, tuple[int, Any], dict[str, Any], str | None]] = {
    # events in Adjust; the warehouse's totals; the operator's arguments; the verdict, None where it passes
    "agree": (3, (3, 3.75), {}, None),
    "one is missing": (2, (3, 3.75), {}, "1 event and 1.25 EUR missing in Adjust"),
    "one is too many": (4, (3, 3.75), {}, "1 event and 1.25 EUR too many in Adjust"),
    "revenue alone": (3, (3, 3.80), {}, "0.05 EUR missing in Adjust"),
    "a cent is rounding": (3, (3, 3.76), {}, None),
    "not a cent": (3, (3, 3.76), {"revenue_tolerance": 0}, "0.01 EUR missing in Adjust"),
    "tolerated": (2, (3, 3.75), {"tolerance": 1, "revenue_tolerance": Decimal("1.25")}, None),
    "a share is tolerated": (2, (3, 3.75), {"tolerance": 0.34, "revenue_tolerance": 0.34}, None),
    "another environment": (3, (3, 3.75), {"environment": "production"}, "3 events and 3.75 EUR missing in Adjust"),
    "a baseline": (5, (3, 3.75), {"baseline": [BASELINE]}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_fails_the_task_and_is_shown(
    adjust: SandboxServer, warehouse: Path, said: Said, name: str
) -> None:
    count, (events, revenue), arguments, verdict = DIFFERENCES[name]
    receive(adjust, count)
    book(warehouse, (events, revenue))
    if verdict is None:
        assert reconcile(**arguments)["compared"] == 1
        return
    with pytest.raises(RevenueDiffers, match="Adjust differs from the warehouse in 1 of 1 lines") as failure:
        reconcile(**arguments)
    [line] = [line for line in lines_of(failure.value) if line.startswith(str(DAY))]
    assert line.endswith(verdict)
    assert verdict in str(said)


def test_a_day_that_the_query_leaves_out_has_no_events(adjust: SandboxServer, warehouse: Path) -> None:
    receive(adjust, 3)
    receive(adjust, 1, at=NOON + timedelta(days=1))
    book(warehouse, (3, 3.75))
    assert reconcile()["compared"] == 1
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(date_period=f"{DAY}:{NEXT}")
    assert f"{NEXT} f0ob4r 0 1 0.00 1.25 EUR 1 event and 1.25 EUR too many in Adjust" in lines_of(failure.value)


def test_days_are_those_of_the_zone(adjust: SandboxServer, warehouse: Path) -> None:
    receive(adjust, 3, at=datetime.combine(DAY, time(19), UTC))
    book(warehouse, (str(NEXT), EVENT_TOKEN, 3, 3.75, "EUR"))
    assert reconcile(timezone="Asia/Tokyo")["events"] == {"warehouse": 3, "adjust": 3}
    with pytest.raises(RevenueDiffers):
        reconcile()


# --- With the ledger --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The connection `ledger` to an empty database."""
    if request.param == "sqlite":
        connection = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
        yield from _with_connection(monkeypatch, connection)
        return
    address = sa.make_url(request.getfixturevalue("postgres_url"))
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    yield from _with_connection(monkeypatch, {"conn_type": "postgres", **fields})
    engine = sa.create_engine(address)
    with engine.begin() as database:
        drop_all(database)
    engine.dispose()


def _with_connection(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any]) -> Iterator[str]:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    yield "ledger"


def send(count: int, *, first: int = 0, **changes: Any) -> None:
    rows = [
        {
            "order_id": f"o-{number}",
            "gps_adid": f"device-{number}",
            "created_at": NOON,
            "revenue": "1.25",
            "currency": "EUR",
        }
        | changes
        for number in range(first, first + count)
    ]
    AdjustSendEventsOperator(
        task_id="send",
        events=rows,
        event_token=EVENT_TOKEN,
        id_field="order_id",
        ledger_conn_id="ledger",
        max_rejected=0.9,
    ).execute({})


def test_the_ledger_says_that_all_three_agree(adjust: SandboxServer, warehouse: Path, ledger: str, said: Said) -> None:
    send(3)
    book(warehouse, (3, 3.75))
    assert reconcile(ledger_conn_id=ledger)["events"] == {"warehouse": 3, "adjust": 3}
    assert "events ledger" in str(said)
    assert f"{DAY} f0ob4r 3 3 0 3 3.75 3.75 0.00 3.75 EUR" in " ".join(str(said).split())


def test_the_ledger_says_what_adjust_refused(adjust: SandboxServer, warehouse: Path, ledger: str) -> None:
    adjust.configure(unknown_devices=["device-0"])
    send(3)
    book(warehouse, (3, 3.75))
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(ledger_conn_id=ledger)
    [line] = [line for line in lines_of(failure.value) if line.startswith(str(DAY))]
    assert line == f"{DAY} f0ob4r 3 2 1 2 3.75 2.50 1.25 2.50 EUR 1 event and 1.25 EUR refused by Adjust"
    assert "\nCompared: events, and revenue in EUR.\n" in str(failure.value)


def test_the_ledger_says_what_was_not_sent(adjust: SandboxServer, warehouse: Path, ledger: str) -> None:
    send(2)
    book(warehouse, (3, 3.75))
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(ledger_conn_id=ledger)
    [line] = [line for line in lines_of(failure.value) if line.startswith(str(DAY))]
    assert line == f"{DAY} f0ob4r 3 2 0 2 3.75 2.50 0.00 2.50 EUR 1 event and 1.25 EUR not sent"


def write(statement: sa.Executable) -> None:
    """Write to the ledger's database."""
    with ledger_engine("ledger") as engine, engine.begin() as connection:
        connection.execute(statement)


def kept_verdicts() -> list[tuple[Any, ...]]:
    """What the ledger keeps for the page."""
    columns = ("day", "verdict", "currency", "sent_events", "seen_events", "zone")
    with ledger_engine("ledger") as engine, engine.connect() as connection:
        return [tuple(each) for each in connection.execute(sa.select(*(verdicts.c[name] for name in columns)))]


@pytest.mark.parametrize("destination", ["s2s.adjust.com", "localhost"])
def test_what_went_to_another_host_is_not_counted(
    adjust: SandboxServer, warehouse: Path, ledger: str, destination: str
) -> None:
    send(3)
    book(warehouse, (3, 3.75))
    write(scopes.update().values(destination=destination))
    adjust.configure(report_faults={"fewer": 1.0})
    with pytest.raises(RevenueDiffers, match="not sent"):
        reconcile(ledger_conn_id=ledger)
    write(scopes.update().where(scopes.c.destination == destination).values(destination=""))
    with pytest.raises(RevenueDiffers, match="sent, not booked by Adjust"):
        reconcile(ledger_conn_id=ledger)


def test_two_currencies_under_one_event_token_are_compared_by_events_and_with_the_ledger(
    adjust: SandboxServer, warehouse: Path, ledger: str, said: Said
) -> None:
    send(3)
    send(2, first=10, currency="USD")
    book(warehouse, (3, 3.75), (str(DAY), EVENT_TOKEN, 2, 2.5, "USD"))
    assert reconcile()["revenue"] == {"warehouse": {"EUR": "3.75", "USD": "2.50"}, "adjust": {}}
    assert "so it is not compared." in str(said)
    assert reconcile(ledger_conn_id=ledger)["events"] == {"warehouse": 5, "adjust": 5}
    assert "so it is compared by currency with the ledger." in str(said)
    book(warehouse, (str(DAY), EVENT_TOKEN, 0, 1, "USD"))
    with pytest.raises(RevenueDiffers, match=r"1\.00 USD not sent"):
        reconcile(ledger_conn_id=ledger)
    assert kept_verdicts() == [(DAY, "not_sent", "", 5, 5, "UTC")]


def test_the_ledger_says_what_adjust_did_not_book(adjust: SandboxServer, warehouse: Path, ledger: str) -> None:
    adjust.configure(report_faults={"fewer": 1.0})
    send(4)
    book(warehouse, (4, 5.00))
    with pytest.raises(RevenueDiffers) as failure:
        reconcile(ledger_conn_id=ledger)
    [line] = [line for line in lines_of(failure.value) if line.startswith(str(DAY))]
    assert line == f"{DAY} f0ob4r 4 4 0 2 5.00 5.00 0.00 2.50 EUR 2 events and 2.50 EUR sent, not booked by Adjust"
    assert kept_verdicts() == [(DAY, "not_booked", "EUR", 4, 2, "UTC")]


def test_the_ledgers_days_are_those_of_the_report(
    adjust: SandboxServer, warehouse: Path, ledger: str, said: Said
) -> None:
    send(3, created_at=datetime.combine(DAY, time(19), UTC))
    book(warehouse, (str(NEXT), EVENT_TOKEN, 3, 3.75, "EUR"))
    assert reconcile(ledger_conn_id=ledger, timezone="Asia/Tokyo")["compared"] == 1
    assert f"{NEXT} f0ob4r 3 3 0 3 3.75 3.75 0.00 3.75 EUR" in " ".join(str(said).split())
    assert kept_verdicts() == [(NEXT, "equal", "EUR", 3, 3, "Asia/Tokyo")]


def test_an_empty_ledger_delivered_nothing(adjust: SandboxServer, warehouse: Path, ledger: str) -> None:
    receive(adjust, 1)
    book(warehouse, (1, 1.25))
    # Adjust and the warehouse agree, so nothing is missing; somebody else has sent it.
    assert reconcile(ledger_conn_id=ledger)["compared"] == 1


# --- What cannot be compared ------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[list[tuple[Any, ...]], dict[str, Any], str]] = {
    "no rows": ([], {}, "the sql returned no rows, so there is nothing to compare"),
    "a day outside of the period": ([(3, 3.75)], {"date_period": NEXT}, "which is outside date_period"),
    "no such columns": ([(3, 3.75)], {"sql": "SELECT 1 AS one"}, "the sql has a row without event_token"),
    "a connection that is not a database": ([(3, 3.75)], {"sql_conn_id": "adjust_default"}, "must be a database connection"),
    "an unknown event": ([(str(DAY), "xyz789", 1, None, None)], {}, "knows no event xyz789"),
    "a tolerance that is not a number": ([(3, 3.75)], {"tolerance": "some"}, "tolerance is 'some'"),
    "no such zone": ([(3, 3.75)], {"timezone": "Mars/Olympus"}, "is not an IANA name"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused_and_not_retried(warehouse: Path, name: str) -> None:
    rows, arguments, words = REFUSED[name]
    book(warehouse, *rows)
    with pytest.raises(AirflowFailException, match=f"AdjustConfigurationError: .*{words}"):
        reconcile(**arguments)


def test_a_busy_report_service_fails_the_task_so_that_airflow_retries_it(
    adjust: SandboxServer, warehouse: Path
) -> None:
    book(warehouse, (3, 3.75))
    adjust.configure(report_faults={"429": 1.0}, retry_after=0)
    with pytest.raises(ReportUnavailable, match="asked 5 times; try again later"):
        reconcile()


def test_arguments_and_a_sql_file_are_rendered(adjust: SandboxServer, warehouse: Path, tmp_path: Path) -> None:
    receive(adjust, 3)
    book(warehouse, (3, 3.75))
    (tmp_path / "totals.sql").write_text(f"{SQL} WHERE day = '{{{{ day }}}}' AND event_token = ?")
    with DAG("from_a_file", schedule=None, template_searchpath=str(tmp_path)):
        task = AdjustReconcileOperator(
            task_id="reconcile",
            sql="totals.sql",
            sql_conn_id="{{ conn_id }}",
            parameters=["{{ token }}"],
            date_period="{{ day }}",
        )
    task.resolve_template_files()
    task.render_template_fields({"day": str(DAY), "conn_id": "warehouse", "token": EVENT_TOKEN})
    assert task.execute({})["compared"] == 1
