"""docs/guides/privacy.md says what is kept where: a real run is compared with it, file by file and column by column."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import airflow
import pytest
from operators.adjust_account import device, purchase, reveals
from operators.dag_run import DagRun, run_dag
from packaging.version import Version

pytestmark = pytest.mark.airflow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "privacy.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## What is kept where")[2].partition("\n## ")[0]
DAG_ID = "kept_where"

DAG = """
from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.sdk import Asset, dag, task

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

EVENT = {"event_token": "f0ob4r", "id_field": "order_id", "max_rejected": 9}
FILES = {
    "rejected_path": "rejected/{{ dag.dag_id }}/{{ task.task_id }}.jsonl",
    "responses_path": "responses/{{ dag.dag_id }}/{{ task.task_id }}.jsonl",
}


@dag(schedule=None, default_args={"retries": 0})
def kept_where():
    @task(show_return_value_in_logs=False)
    def load():
        return json.loads((Path(os.environ["TEST_FOLDER"]) / "purchases.json").read_text())

    rows = load()
    with_ledger = AdjustSendEventsOperator(
        task_id="with_ledger", events=rows, ledger_conn_id="adjust_ledger", outlets=[Asset("kept_where")], **FILES, **EVENT
    )
    with_ledger >> AdjustSendEventsOperator(task_id="with_checkpoint", events=rows, **FILES, **EVENT)


kept_where()
"""


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading; of a page without it, nothing."""
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", SECTION.partition(heading)[2], re.MULTILINE)
    return [
        [cell.strip() for cell in row.strip("|\n").split(" | ")] for row in (table[1] if table else "").splitlines()
    ]


def named(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


PLACES = {name for place, *_ in rows_of(", and for how long") for name in named(place)}


@pytest.fixture(scope="module")
def run(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> DagRun:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "tmp").mkdir()
    rows = [purchase(number, order_id=f"kept-where-{number}") for number in range(5)]
    rows[1]["revenue"] = "1,25"
    (folder / "purchases.json").write_text(json.dumps(rows))
    done = run_dag(
        DAG,
        DAG_ID,
        folder,
        airflow_db,
        AIRFLOW__ADJUST__FILES_FOLDER=str(folder / "files"),
        AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(folder / "logs"),
        AIRFLOW_CONN_ADJUST_LEDGER=json.dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
        TMPDIR=str(folder / "tmp"),
    )
    assert done.code == 0, done.log[-5000:]
    return done


def test_every_file_is_one_that_the_page_has(run: DagRun) -> None:
    places = {
        "rejected_path": "files/rejected/",
        "responses_path": "files/responses/",
        "ledger_conn_id": "ledger.db",
        "base_log_folder": "logs/",
    }
    given = ("purchases.json", "log.txt", "dags/")
    written = [path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if not path.is_dir()]
    for name in (name for name in written if not name.startswith(given)):
        assert any(name.startswith(where) for place, where in places.items() if place in PLACES), name
    for task_id in ("with_ledger", "with_checkpoint"):
        for kind in ("rejected", "responses"):
            assert f"files/{kind}/{DAG_ID}/{task_id}.jsonl" in written
    assert "ledger.db" in written


def test_the_page_has_the_ledgers_tables_and_columns_and_no_others(run: DagRun) -> None:
    with closing(sqlite3.connect(run.folder / "ledger.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        written = {name: {row[1] for row in database.execute(f"PRAGMA table_info({name})")} for name in tables}
        assert database.execute("SELECT COUNT(*) FROM adjust_event").fetchone() == (4,)
        [(view,)] = database.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    on_page = {table.strip("`"): named(columns) for table, columns, _ in rows_of("### The ledger's columns")}
    assert written == on_page
    assert f"`{view}` is a view" in SECTION


def test_every_key_in_airflows_database_is_one_that_the_page_has(run: DagRun) -> None:
    query = f"SELECT key, value FROM xcom WHERE dag_id = '{DAG_ID}' AND task_id != 'load'"
    kept = [(key, json.loads(value)) for key, value in run.kept(query)]
    results = [value if isinstance(value, dict) else json.loads(value) for key, value in kept if key == "return_value"]
    keys = {key for key, _ in kept} | {key for result in results for key in result}
    if Version(airflow.__version__) >= Version("3.3"):
        keys |= {key for (key,) in run.kept(f"SELECT key FROM task_state_store WHERE dag_id = '{DAG_ID}'")}
        assert "adjust_checkpoint" in keys
    assert len(results) == 2
    paragraph = SECTION.partition("Keys in `xcom`")[2].partition("###")[0]
    assert keys <= named(paragraph), keys - named(paragraph)


def test_what_airflows_database_has_of_an_event_is_in_tables_that_the_page_has(run: DagRun) -> None:
    """Event ids, device ids, and what leads to the files."""
    #: Of these the page says that they may have rows.
    with_rows = {"xcom"}
    marks = ("kept-where-", f"rejected/{DAG_ID}/", device(0)[:24])
    found: dict[str, str] = {}
    for (table,) in run.kept("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in run.kept(f'SELECT * FROM "{table}"'):
            if any(mark in str(row) for mark in marks):
                found[table] = found.get(table, "") + str(row)
    assert found.keys() >= {"xcom", "rendered_task_instance_fields", "asset_event"}
    assert found.keys() <= PLACES, found.keys() - PLACES
    assert {table for table, text in found.items() if device(0)[:24] in text} <= with_rows


def test_the_log_and_the_ledger_have_no_device_and_the_files_do(run: DagRun) -> None:
    logs = [path.read_text() for path in (run.folder / "logs").rglob("*.log")]
    assert not reveals("".join([run.log, *logs]).replace("f0ob4r", ""))
    ledger: Any = (run.folder / "ledger.db").read_bytes().decode("latin-1")
    assert device(0)[:24] not in ledger
    rejected = (run.folder / "files" / "rejected" / DAG_ID / "with_ledger.jsonl").read_text()
    assert device(1) in rejected


def test_the_page_says_for_each_place_how_long() -> None:
    rows = rows_of(", and for how long")
    assert len(rows) >= 12
    assert all(len(row) == 4 and all(row) for row in rows)
    for place in ("Ledger", "Checkpoint", "Rejected file", "Responses file", "XCom", "Task log", "Rendered fields"):
        assert any(place in row[0] for row in rows), place
    for place in ("Connection", "Sandbox", "OpenLineage", "triggerer"):
        assert any(place in row[0] for row in rows), place
