"""The buttons on a task: their addresses, when a button is missing, and that Airflow stores them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from operators.adjust_account import purchase
from operators.dag_run import run_dag

from airflow_provider_adjust.deliveries_page.filters import Filters
from airflow_provider_adjust.deliveries_page.plugin import external_views
from airflow_provider_adjust.links.adjust_links import (
    DASHBOARD_URL,
    AdjustDashboardLink,
    AdjustDeliveriesLink,
    AdjustRejectedFileLink,
    file_url,
)
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

TI = SimpleNamespace(dag_id="revenue", run_id="scheduled__2026-11-18T00:00:00+00:00", task_id="send", map_index=-1)


def operator(**arguments: Any) -> AdjustSendEventsOperator:
    return AdjustSendEventsOperator(task_id="send", events=[], **arguments)


def test_the_links_of_a_task() -> None:
    assert [link.name for link in operator().operator_extra_links] == [
        "Adjust deliveries",
        "Rejected file",
        "Adjust dashboard",
    ]


DELIVERIES = (
    "/adjust/?ledger=adjust_ledger&dag_id=revenue&run_id=scheduled__2026-11-18T00%3A00%3A00%2B00%3A00&task_id=send"
)


@pytest.mark.parametrize(
    ("base_url", "ledger_conn_id", "link"),
    [
        (None, "adjust_ledger", DELIVERIES),
        ("https://airflow.example.com", "adjust_ledger", DELIVERIES),
        ("https://example.com/airflow/", "adjust_ledger", "/airflow" + DELIVERIES),
        (None, None, ""),
    ],
)
def test_a_task_with_a_ledger_links_to_its_deliveries(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None, ledger_conn_id: str | None, link: str
) -> None:
    if base_url:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert AdjustDeliveriesLink().get_link(operator(ledger_conn_id=ledger_conn_id), ti_key=TI) == link


def test_where_airflow_has_the_tab_the_link_stays_inside_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other, adjust_ledger")
    tab = "/plugin/adjust-deliveries-of-dag-run"
    link = AdjustDeliveriesLink().get_link(operator(ledger_conn_id="adjust_ledger"), ti_key=TI)
    assert link == f"/airflow/dags/revenue/runs/scheduled__2026-11-18T00%3A00%3A00%2B00%3A00{tab}"
    assert tab.endswith(external_views()[-1]["url_route"])
    unknown = AdjustDeliveriesLink().get_link(operator(ledger_conn_id="a_third"), ti_key=TI)
    assert unknown.startswith("/airflow/adjust/?ledger=a_third&")


@pytest.mark.parametrize("map_index", [-1, 0, 3])
def test_the_page_understands_the_link(map_index: int) -> None:
    key = SimpleNamespace(**{**vars(TI), "map_index": map_index})
    link = AdjustDeliveriesLink().get_link(operator(ledger_conn_id="adjust_ledger"), ti_key=key)
    path, _, query = link.partition("?")
    assert path == "/adjust/"
    filters = Filters.model_validate(dict(parse_qsl(query)))
    assert (filters.ledger, filters.dag_id, filters.run_id, filters.task_id) == (
        "adjust_ledger",
        TI.dag_id,
        TI.run_id,
        TI.task_id,
    )
    assert filters.map_index == (None if map_index < 0 else map_index)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/a b/night.jsonl", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a%20b/night.jsonl"),
        ("s3://aws_default@bucket/n.jsonl", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=n.jsonl"),
        ("s3a://bucket/n.jsonl", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=n.jsonl"),
        (
            "s3://bucket/run+1#2?3.jsonl",
            "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=run%2B1%232%3F3.jsonl",
        ),
        ("gs://g@bucket/a/n.jsonl", "https://console.cloud.google.com/storage/browser/_details/bucket/a/n.jsonl"),
        ("gcs://bucket/n.jsonl", "https://console.cloud.google.com/storage/browser/_details/bucket/n.jsonl"),
        ("https://files.example.com/n.jsonl", "https://files.example.com/n.jsonl"),
        ("https://user:secret@files.example.com/n.jsonl", ""),
        ("file:///tmp/n.jsonl", ""),
        ("/tmp/n.jsonl", ""),
        ("abfs://container/n.jsonl", ""),
        ("", ""),
    ],
)
def test_a_file_has_a_link_if_its_storage_has_a_console(path: str, url: str) -> None:
    assert file_url(path) == url


def test_a_task_without_a_rejected_file_has_no_link_to_one() -> None:
    task = operator(rejected_path="s3://bucket/n.jsonl")
    assert AdjustRejectedFileLink().get_link(task, ti_key=TI) == ""
    task.delivery_result = {"rejected_path": None}
    assert AdjustRejectedFileLink().get_link(task, ti_key=TI) == ""
    task.delivery_result = {"rejected_path": "s3://bucket/n.jsonl"}
    assert AdjustRejectedFileLink().get_link(task, ti_key=TI).endswith("?prefix=n.jsonl")


def test_the_dashboard_link_leads_to_adjust() -> None:
    assert AdjustDashboardLink().get_link(operator(), ti_key=TI) == DASHBOARD_URL


DAG = """
import os
from pathlib import Path

from airflow.sdk import DAG
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

FOLDER = Path(os.environ["TEST_FOLDER"]).as_uri()

with DAG("linked", schedule=None, default_args={"retries": 0}):
    for name, ledger_conn_id in (("remembers", "ledger"), ("forgets", None)):
        AdjustSendEventsOperator(
            task_id=name,
            events=f"{FOLDER}/events.jsonl",
            event_token="f0ob4r",
            id_field="order_id",
            ledger_conn_id=ledger_conn_id,
            rejected_path=f"{FOLDER}/{name}.jsonl",
        )
"""


@pytest.mark.airflow
def test_airflow_keeps_the_links_of_a_try_even_when_it_fails(airflow_db: Path, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(json.dumps(purchase(1, revenue="-1")) + "\n")
    ledger = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")})
    run = run_dag(DAG, "linked", tmp_path, airflow_db, AIRFLOW_CONN_LEDGER=ledger)
    assert "RejectedBudgetExceeded" in run.log, run.log[-5000:]
    assert "Failed to push an xcom for task operator extra link" not in run.log
    query = "SELECT task_id, key, value FROM xcom WHERE dag_id = 'linked' AND key LIKE '\\_link%' ESCAPE '\\'"
    found = {(task_id, key): json.loads(value) for task_id, key, value in run.kept(query)}
    assert found["remembers", "_link_AdjustDeliveriesLink"].startswith(
        "/adjust/?ledger=ledger&dag_id=linked&run_id=manual"
    )
    assert found["forgets", "_link_AdjustDeliveriesLink"] == ""
    assert found["forgets", "_link_AdjustRejectedFileLink"] == ""
    assert {found[name, "_link_AdjustDashboardLink"] for name in ("remembers", "forgets")} == {DASHBOARD_URL}
