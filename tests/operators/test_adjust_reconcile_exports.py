"""AdjustReconcileExportsOperator: what was really sent to a stand-in, against the exports that it writes."""

from __future__ import annotations

import csv
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, START, Said, purchase
from operators.sending import send

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_reconcile_exports import (
    AdjustReconcileExportsOperator,
    ExportsDiffer,
    ExportsUnreadable,
)
from airflow_provider_adjust.sandbox import SandboxServer

WINDOW = (START - timedelta(hours=1), START + timedelta(hours=1))
SQL = "SELECT event_id, created_at, revenue, currency FROM purchases"


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture(autouse=True)
def ledger_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "proof_ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_PROOF_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE purchases (event_id, created_at, revenue, currency, event_token)")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def prove(exports: Path, **arguments: Any) -> dict[str, Any]:
    given = {"task_id": "prove", "exports": str(exports), "window": WINDOW}
    if "sql" not in arguments:
        given |= {"ledger_conn_id": "proof_ledger"}
    return AdjustReconcileExportsOperator(**(given | arguments)).execute({})


def now_settled() -> dict[str, Any]:
    """What was sent a moment ago may be judged, in an export without a file for the hour that comes next."""
    return {"settle_for": timedelta(0), "every_hour_has_files": False}


def test_what_was_sent_is_proven_event_by_event(adjust: SandboxServer, exports: Path, said: Said) -> None:
    send([purchase(number) for number in range(10)], ledger_conn_id="proof_ledger")
    adjust.write_exports(exports, parts=3)
    (exports / "notes.txt").write_text("no export")
    result = prove(exports, differences_path=str(exports.parent / "differences.csv"))
    assert (result["events"]["sent"], result["events"]["booked"], result["files"]) == (10, 10, 3)
    assert result["revenue"] == {"sent": {"EUR": "12.5"}, "booked": {"EUR": "12.5"}}
    assert result["differences_path"] == str(exports.parent / "differences.csv")
    assert len(Path(result["differences_path"]).read_text().splitlines()) == 1
    assert json.loads(json.dumps(result)) == result
    assert "booked once, as sent" in str(said)


def test_lost_and_doubled_lines_fail_the_task_and_are_listed(adjust: SandboxServer, exports: Path) -> None:
    send([purchase(number) for number in range(20)], ledger_conn_id="proof_ledger")
    adjust.write_exports(exports, parts=4, lost=1, doubled=0.4)
    path = exports.parent / "differences.csv"
    with pytest.raises(ExportsDiffer, match=r"differ from what was sent in \d+ of 20 events") as caught:
        prove(exports, differences_path=str(path), **now_settled())
    assert "sent, not in the exports" in str(caught.value)
    listed = {row["event_id"]: row["verdict"] for row in csv.DictReader(path.read_text().splitlines())}
    assert set(listed.values()) == {"missing", "booked_more"}
    assert prove(exports, tolerance=len(listed), **now_settled())["events"]["missing"] > 0
    assert prove(exports, tolerate=("missing", "booked_more"), **now_settled())["differences_path"] is None


def test_doubts_of_a_sending_task_are_resolved_and_the_missing_event_is_sent(
    adjust: SandboxServer, exports: Path
) -> None:
    rows = [purchase(number) for number in range(10)]
    adjust.configure(fault_plan=[None, "reset_after", "reset_before", None, "reset_after"])
    sending = {"ledger_conn_id": "proof_ledger", "on_in_doubt": "hold", "max_in_flight": 1, "durable": False}
    first = send(rows, tolerate=("in_doubt", "held", "duplicate"), **sending)
    assert (first["in_doubt"], first["delivered"]) == (3, 7)
    adjust.write_exports(exports, empty_hours=[f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H}"])
    result = prove(exports, **now_settled())
    assert result["doubt"] == {"settled": 2, "released": 1, "left": 0}
    again = send(rows, {"ti": None}, **sending)
    assert (again["delivered"], again["in_doubt"]) == (10, 0), "the result covers all tries of the task"
    assert adjust.stats()["recorded"] == 10
    assert adjust.stats()["repeated_event_ids"] == 0


def test_late_files_are_read_the_next_time(adjust: SandboxServer, exports: Path) -> None:
    send([purchase(number) for number in range(10)], ledger_conn_id="proof_ledger")
    adjust.write_exports(exports, parts=2, late=1)
    assert prove(exports)["events"]["too_recent"] == 5
    adjust.write_exports(exports)
    assert prove(exports)["events"]["booked"] == 10


def test_without_a_ledger_a_query_says_what_was_sent(adjust: SandboxServer, exports: Path, warehouse: Path) -> None:
    send([purchase(number) for number in range(4)])
    adjust.write_exports(exports)
    rows = [
        (f"o-{number}", (START + timedelta(seconds=number)).isoformat(), 1.25, "eur", EVENT_TOKEN)
        for number in range(4)
    ]
    with sqlite3.connect(warehouse) as connection:
        connection.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", rows)
    query = {"sql": SQL, "sql_conn_id": "warehouse", "event_token": EVENT_TOKEN}
    assert prove(exports, **query)["events"]["booked"] == 4
    named = {
        **query,
        "sql": f"{SQL}, event_token".replace(" FROM purchases, event_token", ", event_token FROM purchases"),
    }
    assert prove(exports, **named)["events"]["booked"] == 4
    assert prove(exports, **{**query, "sql": "SELECT event_id, created_at FROM purchases"})["events"]["booked"] == 4
    with pytest.raises(ExportsDiffer):
        prove(exports, **{**query, "sql": f"{SQL} WHERE event_id <> 'o-3'"})
    for changes, said in {
        "NULL AS event_id": "without event_id",
        "NULL AS created_at": "without created_at",
        "'much' AS revenue": "has revenue 'much'",
        "'noon' AS created_at": "event 'o-0' of the sql: ",
        "'2020-01-01 00:00' AS created_at": "outside the window",
        "'other1' AS event_token": "event token 'other1'; name it",
    }.items():
        name = changes.rpartition(" ")[2]
        others = ", ".join(each for each in ("event_id", "created_at", "revenue", "currency") if each != name)
        with pytest.raises(AirflowFailException, match=said):
            prove(exports, **{**query, "sql": f"SELECT {changes}, {others} FROM purchases"})


def test_files_that_cannot_be_read_are_named(adjust: SandboxServer, exports: Path) -> None:
    with pytest.raises(ExportsUnreadable, match="there is no export of the app"):
        prove(exports)
    send([purchase(number) for number in range(50)], ledger_conn_id="proof_ledger")
    adjust.write_exports(exports, parts=2, cut=1)
    with pytest.raises(
        ExportsUnreadable, match=r"1 files cannot be read; .*csv\.gz: the file ends early or is damaged"
    ):
        prove(exports)
    send([purchase(99)], ledger_conn_id="proof_ledger")
    adjust.write_exports(exports, definition="{event},{created_at}")
    with pytest.raises(
        AirflowFailException, match=r"has no column \[event_id\]; .* Set this CSV definition in Adjust: "
    ):
        prove(exports)


def test_a_definition_of_ones_own_is_read(adjust: SandboxServer, exports: Path) -> None:
    send([purchase(number) for number in range(3)], ledger_conn_id="proof_ledger", event_id_param="order")
    adjust.write_exports(exports, definition='"shop",{event},[order],{revenue},{created_at},{currency}')
    assert prove(exports, columns={"event_id": "[order]"})["events"]["booked"] == 3
    (all_in_one := exports.parent / "all").mkdir()
    adjust.write_exports(all_in_one, definition="{event},{callback_parameters}")
    assert prove(all_in_one, columns={})["without_event_id"] == 3


def test_arguments_that_cannot_be_used_are_refused(adjust: SandboxServer, connect: Any, exports: Path) -> None:
    for arguments, said in (
        ({"ledger_conn_id": None}, "give ledger_conn_id, or sql"),
        ({"sql": SQL, "ledger_conn_id": "proof_ledger"}, "give ledger_conn_id, or sql"),
        ({"sql": SQL}, "sql needs sql_conn_id"),
        ({"sql": SQL, "sql_conn_id": "warehouse"}, "event_token names the events"),
        ({"tolerate": ["everything"]}, "tolerate has 'everything'; known are booked_more,"),
        ({"columns": {"id": "x"}}, "columns has 'id'"),
        ({"window": "soon"}, "window is 'soon'"),
        ({"exports": "bucket"}, "exports is 'bucket'; name a URL"),
        ({"exports": "nosuch://bucket"}, "a storage that cannot be opened"),
        ({"amount_tolerance": -1}, "revenue_tolerance is"),
    ):
        with pytest.raises(AirflowFailException, match=said):
            prove(**({"exports": exports} | arguments))
    connect(adjust.url, environment=None)
    with pytest.raises(AirflowFailException, match="app_token and environment say"):
        prove(exports)


def test_its_arguments_are_templates(exports: Path) -> None:
    with DAG("prove_dag", schedule=None):
        task = AdjustReconcileExportsOperator(
            task_id="prove",
            exports="{{ folder }}",
            window="{{ start }}/{{ end }}",
            ledger_conn_id="proof_ledger",
            differences_path="exports/{{ ds }}.csv",
        )
    task.render_template_fields(
        {"folder": str(exports), "start": WINDOW[0], "end": WINDOW[1], "ds": "2026-05-01"}  # type: ignore[typeddict-unknown-key]
    )
    assert (task.exports, task.differences_path) == (str(exports), "exports/2026-05-01.csv")
    assert task.window == f"{WINDOW[0]}/{WINDOW[1]}"
    assert APP_TOKEN not in str(task.window)
