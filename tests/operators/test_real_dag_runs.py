"""AdjustSendEventsOperator in a real DAG run: upstream output, templates, mapped tasks, and what Airflow shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from operators.adjust_account import device, purchase, reveals
from operators.dag_run import DagRun, run_dag
from operators.sending import jsonl

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


@pytest.fixture(scope="module")
def run(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> DagRun:
    """One run of the DAG above; the tests look at what it left behind."""
    folder = tmp_path_factory.mktemp("run")
    rows = [purchase(number) for number in range(12)]
    rows[9]["revenue"] = "-1"
    (folder / "purchases.json").write_text(json.dumps(rows))
    (folder / "more.jsonl").write_text(jsonl([purchase(number) for number in range(4, 6)]))
    run = run_dag(DAG, "send_in_many_ways", folder, airflow_db)
    assert run.code == 0, [line for line in run.log.splitlines() if "error" in line.lower()]
    return run


def shown(run: DagRun, task_id: str) -> list[str]:
    """What Airflow shows of a task's rendered fields."""
    where = f"WHERE dag_id = 'send_in_many_ways' AND task_id = '{task_id}'"
    return [row[0] for row in run.kept(f"SELECT rendered_fields FROM rendered_task_instance_fields {where}")]


def test_every_way_of_giving_events_delivers_them(run: DagRun) -> None:
    assert sorted(filter(None, run.recorded)) == [device(number) for number in range(12) if number != 9]
    delivered = {name: result["delivered"] for name, result in run.results.items() if name != "mapped"}
    assert delivered == {"output": 2, "template": 2, "path": 2, "lazy": 2}
    assert [result["delivered"] for result in run.results["mapped"]] == [2, 1]


def test_a_mapped_task_writes_a_rejected_file_of_its_own(run: DagRun) -> None:
    files = sorted(path.name for path in run.folder.glob("send_in_many_ways*"))
    assert files == ["send_in_many_ways.map1.jsonl"]
    [line] = (run.folder / files[0]).read_text().splitlines()
    assert json.loads(line)["event_id"] == "o-9"
    paths = [result["rejected_path"] for result in run.results["mapped"]]
    assert paths == [None, (run.folder / files[0]).as_uri()]


@pytest.mark.parametrize("task_id", ["output", "template", "mapped", "lazy"])
def test_rendered_fields_show_how_many_events_there_are_and_none_of_them(run: DagRun, task_id: str) -> None:
    fields = shown(run, task_id)
    assert fields
    assert all("events (not shown: they hold device ids)" in each for each in fields), fields
    assert not reveals(fields)


def test_a_path_is_shown(run: DagRun) -> None:
    [fields] = shown(run, "path")
    assert (run.folder / "more.jsonl").as_uri() in fields


def test_the_log_reveals_nothing(run: DagRun) -> None:
    assert "Delivery ended" in run.log
    assert not reveals(run.log)
