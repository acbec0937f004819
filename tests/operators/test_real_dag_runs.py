"""AdjustSendEventsOperator in a real DAG run: upstream output, templates, mapped tasks, and what Airflow shows of them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, device, purchase, recorded, reveals

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = pytest.mark.airflow

DAG = """
from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.sdk import dag, task

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

FOLDER = Path(os.environ["TEST_FOLDER"])
EVENT = {"event_token": "f0ob4r", "id_field": "order_id"}


@dag(schedule=None, default_args={"retries": 0})
def send_in_many_ways():
    @task(show_return_value_in_logs=False)
    def load(first, last):
        rows = json.loads((FOLDER / "purchases.json").read_text())
        return rows[first:last]

    @task(show_return_value_in_logs=False)
    def load_shards():
        rows = json.loads((FOLDER / "purchases.json").read_text())
        return [rows[6:8], rows[8:10]]

    @task(show_return_value_in_logs=False)
    def load_one(number):
        return json.loads((FOLDER / "purchases.json").read_text())[number]

    output = AdjustSendEventsOperator(task_id="output", events=load(0, 2), **EVENT)
    loaded = load.override(task_id="load_for_template")(2, 4)
    template = AdjustSendEventsOperator(
        task_id="template", events="{{ ti.xcom_pull('load_for_template') | tojson }}", **EVENT
    )
    loaded >> template
    path = AdjustSendEventsOperator(task_id="path", events=FOLDER.as_uri() + "/{{ 'more' }}.jsonl", **EVENT)
    mapped = AdjustSendEventsOperator.partial(
        task_id="mapped", rejected_path=FOLDER.as_uri() + "/{{ dag.dag_id }}.jsonl", max_rejected=9, **EVENT
    ).expand(events=load_shards())
    # What a mapped task hands on is a lazy sequence, not a list.
    lazy = AdjustSendEventsOperator(task_id="lazy", events=load_one.expand(number=[10, 11]), **EVENT)

    @task
    def keep(results):
        (FOLDER / "results.json").write_text(json.dumps(results, default=list))

    keep({
        "output": output.output,
        "template": template.output,
        "path": path.output,
        "mapped": mapped.output,
        "lazy": lazy.output,
    })


send_in_many_ways()
"""


class Run(NamedTuple):
    folder: Path
    log: str
    results: dict[str, Any]
    recorded: list[str | None]
    rendered: str


@pytest.fixture(scope="module")
def run(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the DAG above; the tests look at what it left behind."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "dags").mkdir()
    (folder / "dags" / "send_in_many_ways.py").write_text(DAG)
    rows = [purchase(number) for number in range(12)]
    rows[9]["revenue"] = "-1"
    (folder / "purchases.json").write_text(json.dumps(rows))
    rows = [purchase(number) for number in range(4, 6)]
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with SandboxServer(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN], event_tokens=[EVENT_TOKEN]) as sandbox:
        adjust = {"app_token": APP_TOKEN, "environment": "production"}
        connection = {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": adjust}
        environment = os.environ | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(connection),
            "TEST_FOLDER": str(folder),
        }
        command = [sys.executable, "-m", "airflow", "dags", "test", "send_in_many_ways"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        events = recorded(sandbox)
    log = done.stdout + done.stderr
    (folder / "log.txt").write_text(log)
    assert done.returncode == 0, [line for line in log.splitlines() if "error" in line.lower()]
    with sqlite3.connect(airflow_db / "airflow.db") as database:
        rendered = database.execute("SELECT task_id, map_index, rendered_fields FROM rendered_task_instance_fields")
        shown = "\n".join(str(row) for row in rendered)
    results = json.loads((folder / "results.json").read_text())
    return Run(folder, log, results, events, shown)


def test_every_way_of_giving_events_delivers_them(run: Run) -> None:
    assert sorted(filter(None, run.recorded)) == [device(number) for number in range(12) if number != 9]
    delivered = {name: result["delivered"] for name, result in run.results.items() if name != "mapped"}
    assert delivered == {"output": 2, "template": 2, "path": 2, "lazy": 2}
    assert [result["delivered"] for result in run.results["mapped"]] == [2, 1]


def test_a_mapped_task_writes_a_rejected_file_of_its_own(run: Run) -> None:
    files = sorted(path.name for path in run.folder.glob("send_in_many_ways*"))
    assert files == ["send_in_many_ways.map1.jsonl"]
    [line] = (run.folder / files[0]).read_text().splitlines()
    assert json.loads(line)["event_id"] == "o-9"
    paths = [result["rejected_path"] for result in run.results["mapped"]]
    assert paths == [None, (run.folder / files[0]).as_uri()]


@pytest.mark.parametrize("task_id", ["output", "template", "mapped", "lazy"])
def test_rendered_fields_show_how_many_events_there_are_and_none_of_them(run: Run, task_id: str) -> None:
    shown = [line for line in run.rendered.splitlines() if line.startswith(f"('{task_id}'")]
    assert shown
    assert all("events (not shown: they hold device ids)" in line for line in shown), shown
    assert not reveals(shown)


def test_a_path_is_shown(run: Run) -> None:
    [shown] = [line for line in run.rendered.splitlines() if line.startswith("('path'")]
    assert (run.folder / "more.jsonl").as_uri() in shown


def test_the_log_reveals_nothing(run: Run) -> None:
    assert "Delivery ended" in run.log
    assert not reveals(run.log)
