"""The resending example: it counts the corrected file, waits for a person's answer, and sends what is in the file."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import jsonschema
import pytest
from operators.adjust_account import (
    EVENT_TOKEN,
    adjust,
    connect,
    device,
    purchase,
    recorded,
    reveals,
)
from packaging.version import Version
from warm_airflow import airflow_command

from airflow_provider_adjust.files.folder import file_below
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer

__all__ = ["adjust", "connect"]

EXAMPLE = Path(__file__).resolve().parent.parent / "example_dags" / "adjust_resend_rejected.py"
DAG_ID = "adjust_resend_rejected"
HITL = "airflow.providers.standard.operators.hitl"
HOW_LONG = 120


def load_dag() -> Any:
    """The example's DAG, from a module of its own."""
    from airflow.sdk.definitions.dag import DAG

    spec = importlib.util.spec_from_file_location("resend_rejected", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    made: list[Any] = []
    original = DAG.__enter__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DAG, "__enter__", lambda self: (made.append(self), original(self))[1])
        spec.loader.exec_module(module)
    [dag] = made
    return dag


def count(path: Path) -> list[dict[str, Any]]:
    counted: list[dict[str, Any]] = load_dag().get_task("count_lines").python_callable(path.as_uri())
    return counted


def jsonl(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def corrected(adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rejected file that the sending operator wrote, three of four lines corrected, the device of the fourth unknown."""
    path = tmp_path / "corrected.jsonl"
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path))
    adjust.configure(unknown_devices=[device(4)])
    AdjustSendEventsOperator(
        task_id="send",
        events=[
            purchase(1, revenue="1,25"),
            purchase(2, revenue="1,25"),
            purchase(3, currency="Euro"),
            purchase(4),
            purchase(5),
        ],
        event_token=EVENT_TOKEN,
        id_field="order_id",
        event_id_param="event_id",
        rejected_path=path.as_uri(),
        max_rejected=4,
    ).execute({})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["row"] |= {"revenue": "1.25", "currency": "EUR"}
    path.write_text(jsonl(lines))
    assert recorded(adjust) == [device(5)]
    return path


# --- The parts --------------------------------------------------------------------------------------------------------


def test_a_person_is_asked_between_counting_and_sending() -> None:
    pytest.importorskip(HITL)
    dag = load_dag()
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "count_lines": {"approve"},
        "approve": {"send_corrected"},
        "send_corrected": set(),
    }


def test_without_the_approval_operator_the_file_is_sent_as_soon_as_it_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, HITL, None)
    dag = load_dag()
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "count_lines": {"send_corrected"},
        "send_corrected": set(),
    }


def test_the_lines_are_counted_by_outcome_and_reason(corrected: Path) -> None:
    assert sorted(count(corrected), key=str) == [
        {"outcome": "invalid", "reason": "invalid_currency", "events": 1},
        {"outcome": "invalid", "reason": "invalid_revenue", "events": 2},
        {"outcome": "rejected", "reason": "device_not_found", "events": 1},
    ]


def test_a_file_that_an_editor_has_been_at_is_counted(corrected: Path) -> None:
    before = count(corrected)
    corrected.write_text("\ufeff" + corrected.read_text().replace("\n", "\r\n\r\n"), encoding="utf-8")
    assert count(corrected) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing in the file"),
        ("\n\n", "nothing in the file"),
        ('\n{"outcome": "rejected"', "line 2 is not a line of a rejected file"),
        (json.dumps(purchase(1)), "line 1 is not a line of a rejected file"),
        (json.dumps([purchase(1)]), "line 1 is not a line of a rejected file"),
    ],
)
def test_anything_but_a_rejected_file_is_refused_without_showing_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "corrected.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        count(path)
    assert not reveals(caught.value)


def test_the_request_shows_counts_and_reasons_and_no_device_ids(corrected: Path) -> None:
    pytest.importorskip(HITL)
    approve = load_dag().get_task("approve")
    counts = count(corrected)
    approve.render_template_fields(
        {"ti": SimpleNamespace(xcom_pull=lambda task_id: counts), "params": {"rejected_file": corrected.name}}
    )
    assert approve.subject == "Send 4 corrected events to Adjust?"
    table = [line for line in approve.body.splitlines() if line.startswith("|")]
    assert table[:2] == ["| Outcome | Reason | Events |", "|---|---|---|"]
    assert sorted(table[2:]) == [
        "| invalid | invalid_currency | 1 |",
        "| invalid | invalid_revenue | 2 |",
        "| rejected | device_not_found | 1 |",
    ]
    assert corrected.name in approve.body
    assert not reveals(approve.body)


def test_what_is_in_the_file_is_sent_and_nothing_else(adjust: SandboxServer, corrected: Path) -> None:
    adjust.configure(unknown_devices=[])
    # A line that must not be sent is deleted.
    lines = corrected.read_text().splitlines(keepends=True)
    corrected.write_text("".join(line for line in lines if json.loads(line)["event_id"] != "o-2"))
    send = load_dag().get_task("send_corrected")
    send.render_template_fields(
        {"params": {"rejected_file": corrected.name}, "dag": SimpleNamespace(dag_id=DAG_ID), "run_id": "by_hand"}
    )
    result = send.execute({})
    assert (result["read"], result["delivered"], result["rejected_path"]) == (3, 3, None)
    sent = [json.loads(text or "{}")["event_id"] for text in recorded(adjust, "callback_params")]
    assert sorted(sent) == ["o-1", "o-3", "o-4", "o-5"]
    assert adjust.stats()["repeated_event_ids"] == 0


# --- Names that lead elsewhere ----------------------------------------------------------------------------------------

#: What somebody who may trigger the DAG could give, to have another file read and sent.
HOSTILE = [
    "",
    "/etc/passwd",
    "//etc/passwd",
    "../corrected.jsonl",
    "rejected/../../corrected.jsonl",
    "..",
    ".",
    "rejected/./corrected.jsonl",
    "rejected//corrected.jsonl",
    "rejected/",
    "~/corrected.jsonl",
    "~root/corrected.jsonl",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "FILE:etc/passwd",
    "s3://other_conn@bucket/corrected.jsonl",
    "s3:bucket",
    "gs+x://bucket/corrected.jsonl",
    "simplecache::file:///etc/passwd",
    "rejected/a::file:///etc/passwd",
    "zip://a.jsonl::rejected/a.zip",
    "..\\corrected.jsonl",
    "rejected/*.jsonl",
    "rejected/corrected.jsonl?versionId=1",
    "rejected/corrected.jsonl#x",
    "corrected.jsonl\n",
    "corrected\x00.jsonl",
    "corrected\u202e.jsonl",
    "{{ var.value.secret }}",
]


def param() -> dict[str, Any]:
    schema: dict[str, Any] = load_dag().params.get_param("rejected_file").schema
    return schema


def test_a_name_that_leads_or_might_lead_to_another_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path / "files"))
    dag, schema = load_dag(), param()
    for name in HOSTILE:
        if not name.endswith("\n"):  # Python's $ matches before a last line end
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(name, schema)
        if name.startswith("{{"):
            continue  # a value is not rendered again: it is a name with odd characters
        for task in (dag.get_task("count_lines"), dag.get_task("send_corrected")):
            given = task.op_args[0] if hasattr(task, "op_args") else task.events
            with pytest.raises(AdjustConfigurationError, match=r"give a name below \[adjust\] files_folder"):
                task.render_template(given, {"params": {"rejected_file": name}}, dag.get_template_env())


def test_a_link_that_leads_outside_the_folder_is_refused_and_one_within_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    (folder / "rejected").mkdir(parents=True)
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(folder))
    (tmp_path / "outside.jsonl").write_text("")
    (folder / "file.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "nowhere.jsonl").symlink_to(tmp_path / "not there")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "sibling").symlink_to(tmp_path / "files2")
    for name in (
        "file.jsonl",
        "nowhere.jsonl",
        "folder/outside.jsonl",
        "folder/new/corrected.jsonl",
        "sibling/corrected.jsonl",
    ):
        with pytest.raises(AdjustConfigurationError, match="a link that leads outside"):
            file_below(name)
    (folder / "within").symlink_to(folder / "rejected")
    assert file_below("within/corrected.jsonl") == f"{folder}/within/corrected.jsonl"


def test_names_below_the_folder_are_taken_on_this_machine_and_on_object_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["corrected.jsonl", "rejected/adjust_revenue_sync/20261118T000000.jsonl", "a b/ümlaut=1/x.jsonl"]
    names.append("rejected/manual__2026-11-18T00:00:00+00:00.map2.try2.jsonl")
    for folder in (str(tmp_path), tmp_path.as_uri(), "s3://aws_default@bucket/adjust"):
        monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", f"{folder}/")
        for name in names:
            assert file_below(name) == f"{folder}/{name}"
            jsonschema.validate(name, param())


def test_a_folder_that_would_be_another_one_on_each_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", "adjust_rejected")
    with pytest.raises(AdjustConfigurationError, match="begins with /"):
        file_below("corrected.jsonl")


# --- The whole of it --------------------------------------------------------------------------------------------------


class Request:
    """What a person sees of a task that waits for an answer, and how the answer is given: Airflow's REST API."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._url = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"

    def shown(self) -> dict[str, Any]:
        response = self._client.get(self._url)
        assert response.status_code == 200, response.text
        shown: dict[str, Any] = response.json()
        return shown

    def answer(self, option: str) -> None:
        response = self._client.patch(self._url, json={"chosen_options": [option], "params_input": {}})
        assert response.status_code == 200, response.text


@pytest.fixture
def api(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Airflow's API server within this process, on the database of the tests, open to everybody."""
    pytest.importorskip(HITL)
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    with TestClient(create_app(apps="core")) as client:
        client.headers["Authorization"] = "Bearer " + client.get("/auth/token").json()["access_token"]
        yield client
    purge_cached_app()


#: Start the DAG; return its log, once it has ended, and what a person is asked.
RunUntilAsked = Callable[[Path], tuple[Future[str], Request]]


@pytest.fixture
def run_until_asked(adjust: SandboxServer, airflow_db: Path, api: Any, tmp_path: Path) -> Iterator[RunUntilAsked]:
    """Run the DAG on a real Airflow until it waits for an answer."""
    environment = os.environ | {"AIRFLOW__ADJUST__FILES_FOLDER": str(tmp_path)}

    def waiting() -> list[str]:
        query = """SELECT run_id FROM task_instance JOIN hitl_detail ON hitl_detail.ti_id = task_instance.id
            WHERE dag_id = ? AND state = 'awaiting_input' AND responded_at IS NULL"""
        with closing(sqlite3.connect(airflow_db / "airflow.db")) as database:
            return [run_id for (run_id,) in database.execute(query, [DAG_ID])]

    def test_dag(path: Path) -> str:
        conf = json.dumps({"rejected_file": path.name})
        done = airflow_command("dags", "test", DAG_ID, "--conf", conf, env=environment, timeout=HOW_LONG)
        return done.stdout + done.stderr

    with ThreadPoolExecutor() as threads:

        def run(path: Path) -> tuple[Future[str], Request]:
            log = threads.submit(test_dag, path)
            while not (found := waiting()):
                assert not log.done(), log.result()[-5000:]
                time.sleep(0.05)
            [run_id] = found
            return log, Request(api, run_id)

        yield run


from_3_3 = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3"), reason="before 3.3 the answer goes through the triggerer"
)


@pytest.mark.airflow
@from_3_3
@pytest.mark.filterwarnings("ignore:Using `httpx` with")  # of the test client
def test_the_file_is_sent_once_a_person_has_approved_it(
    adjust: SandboxServer, corrected: Path, run_until_asked: RunUntilAsked, tmp_path: Path
) -> None:
    running, request = run_until_asked(corrected)
    assert request.shown()["subject"] == "Send 4 corrected events to Adjust?"
    assert not reveals(request.shown())
    assert recorded(adjust) == [device(5)], "something was sent before anybody approved it"

    request.answer("Approve")
    log = running.result()
    assert sorted(filter(None, recorded(adjust))) == [device(number) for number in (1, 2, 3, 5)]
    assert adjust.stats()["repeated_event_ids"] == 0
    # The device of the fourth is still unknown, so it is listed again, in a file of this run's own.
    [rejected] = (tmp_path / "rejected" / DAG_ID).iterdir()
    [line] = rejected.read_text().splitlines()
    assert (json.loads(line)["event_id"], json.loads(line)["reason"]) == ("o-4", "device_not_found")
    assert "RejectedBudgetExceeded" in log
    assert not reveals(log)


@pytest.mark.airflow
@from_3_3
@pytest.mark.filterwarnings("ignore:Using `httpx` with")  # of the test client
def test_nothing_is_sent_if_a_person_says_no(
    adjust: SandboxServer, corrected: Path, run_until_asked: RunUntilAsked, tmp_path: Path
) -> None:
    running, request = run_until_asked(corrected)
    request.answer("Reject")
    assert "Skipping downstream tasks" in running.result()
    assert recorded(adjust) == [device(5)]
    assert not (tmp_path / "rejected").exists()
