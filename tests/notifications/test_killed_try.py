"""A try that was killed with retries left: Airflow's Dag processor calls for it, with a task that never ran."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from airflow.api_fastapi.execution_api.datamodels import taskinstance as datamodel
from airflow.callbacks.callback_requests import TaskCallbackRequest
from airflow.dag_processing.processor import _execute_task_callbacks
from airflow.sdk import DAG
from airflow.utils.state import TaskInstanceState
from notifications.conftest import Slack
from operators.adjust_account import EVENT_TOKEN, START, device, purchase
from operators.old_ledger import ledger

from airflow_provider_adjust.notifications import killed_try
from airflow_provider_adjust.notifications.adjust_delivery_summary import AdjustDeliverySummaryNotifier
from airflow_provider_adjust.notifications.delivery_report import DeliveryReport
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.ledger.schema import events, totals, tries
from airflow_provider_adjust.sandbox import SandboxServer

__all__ = ["ledger"]

EVENTS = [purchase(number) for number in range(1, 6)]
SEND: dict[str, Any] = {"task_id": "send", "event_token": EVENT_TOKEN, "id_field": "order_id", "max_rejected": 5}


def kill(engine: sa.Engine, *, sending: int = 0) -> None:
    """As after a kill -9: the try has no end, and its last events are being sent."""
    with engine.begin() as connection:
        connection.execute(tries.update().values(state="running", ended_at=None))
        ids = list(connection.scalars(sa.select(events.c.event_id).where(events.c.status == 1).limit(sending)))
        connection.execute(events.update().where(events.c.event_id.in_(ids)).values(status=0))
        is_delivered = totals.c.outcome == "delivered"
        paid = totals.c.revenue - sending * 1.25
        connection.execute(totals.update().where(is_delivered).values(events=totals.c.events - sending, revenue=paid))


def ran(engine: sa.Engine, try_number: int = 1, **arguments: Any) -> None:
    """A try of the task ``revenue.send`` in the run ``night``."""
    task = AdjustSendEventsOperator(**SEND, events=EVENTS, ledger_conn_id="adjust_ledger", **arguments)
    ti = SimpleNamespace(dag_id="revenue", run_id="night", task_id="send", map_index=-1, try_number=try_number)
    task.execute({"ti": ti})  # type: ignore[typeddict-item]


def called_by_the_dag_processor(slack: Slack, *, mapped: bool = False, **arguments: Any) -> str:
    """The text that Airflow's own code has the notifier post for a try that was killed."""
    notifier = AdjustDeliverySummaryNotifier(slack_webhook_conn_id="slack_webhook")
    with DAG("revenue", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        given = {**SEND, **arguments, "on_retry_callback": notifier, "retries": 2}
        if mapped:
            AdjustSendEventsOperator.partial(**given).expand(events=[EVENTS])
        else:
            AdjustSendEventsOperator(**given, events=EVENTS)
    ti = datamodel.TaskInstance(
        id=uuid.uuid4(),
        dag_id="revenue",
        task_id="send",
        run_id="night",
        try_number=1,
        map_index=-1,
        dag_version_id=uuid.uuid4(),
    )
    request = TaskCallbackRequest(
        filepath="revenue.py",
        bundle_name="dags",
        bundle_version=None,
        ti=ti,
        msg="the heartbeat stopped",
        task_callback_type=TaskInstanceState.UP_FOR_RETRY,
    )
    bag: Any = SimpleNamespace(dags={"revenue": dag}, get_dag=lambda dag_id: dag)
    _execute_task_callbacks(bag, request, structlog.get_logger())
    [(_, post)] = slack.posts
    text: str = post["text"]
    return text


def test_it_is_called_killed_and_never_a_success(slack: Slack) -> None:
    text = called_by_the_dag_processor(slack)
    assert text.startswith("*[Adjust] KILLED: what it had delivered is not known (revenue.send)*\nRun night, try 1\n")
    assert "its worker was lost, or the task was killed" in text
    assert "succeeded" not in text


@pytest.mark.parametrize("mapped", [False, True], ids=["a task", "a mapped task"])
@pytest.mark.parametrize("conn_id", ["adjust_ledger", "adjust_{{ 'ledger' }}"], ids=["given", "a template"])
def test_the_ledger_says_what_it_had_delivered(
    adjust: SandboxServer, ledger: sa.Engine, slack: Slack, mapped: bool, conn_id: str
) -> None:
    adjust.configure(unknown_devices=[device(2)])
    ran(ledger)
    kill(ledger, sending=1)
    text = called_by_the_dag_processor(slack, mapped=mapped, ledger_conn_id=conn_id)
    assert text.startswith("*[Adjust] KILLED (rehearsal): 3 events delivered before that, 3.75 EUR (revenue.send)*\n")
    words = " ".join(text.split())
    assert "counted 5 delivered 3 3.75 EUR in_doubt 1 rejected 1" in words or (
        "counted 5 delivered 3 3.75 EUR rejected 1 in_doubt 1" in words
    )
    assert "*1 rejected: device_not_found, 1.25 EUR* A retry cannot help; " in words


def test_only_the_try_that_was_killed_counts(adjust: SandboxServer, ledger: sa.Engine, slack: Slack) -> None:
    ran(ledger, try_number=1)
    ran(ledger, try_number=2)
    kill(ledger)
    text = called_by_the_dag_processor(slack, ledger_conn_id="adjust_ledger")
    assert "5 events delivered before that, 6.25 EUR" in text


@pytest.mark.parametrize("name", ["no try of it", "no ledger yet", "no connection", "no database"])
def test_a_ledger_that_says_nothing_leaves_the_message_without_numbers(
    ledger: sa.Engine, slack: Slack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    if name == "no ledger yet":
        new = {"conn_type": "sqlite", "host": str(tmp_path / "new.db")}
        monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps(new))
    elif name == "no connection":
        monkeypatch.delenv("AIRFLOW_CONN_ADJUST_LEDGER")
    elif name == "no database":
        monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps({"conn_type": "adjust"}))
    text = called_by_the_dag_processor(slack, ledger_conn_id="adjust_ledger")
    assert text.startswith("*[Adjust] KILLED: what it had delivered is not known (revenue.send)*\n")


@pytest.fixture
def slow_ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that does not answer until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(killed_try, "counts_of", lambda *_: over.wait())
    monkeypatch.setattr(killed_try, "TIMEOUT", 0.05)
    yield
    over.set()


def test_a_ledger_that_does_not_answer_delays_the_message_no_longer(
    ledger: sa.Engine, slow_ledger: None, slack: Slack
) -> None:
    text = called_by_the_dag_processor(slack, ledger_conn_id="adjust_ledger")
    assert "what it had delivered is not known" in text


@pytest.mark.parametrize(
    ("state", "headline"),
    [
        (None, "KILLED: what it had delivered is not known"),
        ("running", "KILLED: what it had delivered is not known"),
        ("up_for_retry", "FAILED: nothing was counted"),
        ("failed", "FAILED: nothing was counted"),
        ("skipped", "SKIPPED: nothing was counted"),
        ("success", "OK: nothing was counted"),
    ],
)
def test_only_a_success_is_called_one(state: str | None, headline: str) -> None:
    ti = SimpleNamespace(
        dag_id="revenue", task_id="send", run_id="night", map_index=-1, try_number=1, log_url="", state=state
    )
    task = SimpleNamespace(delivery_result=None)
    assert DeliveryReport.of({"ti": ti, "task": task}).subject == f"[Adjust] {headline} (revenue.send)"


def test_a_dry_run_is_called_one(adjust: SandboxServer) -> None:
    task = AdjustSendEventsOperator(**SEND, events=[*EVENTS, {"created_at": START}], dry_run=True)
    task.execute({})
    ti = SimpleNamespace(dag_id="revenue", task_id="send", run_id="night", map_index=-1, try_number=1, log_url="")
    subject = DeliveryReport.of({"ti": ti, "task": task}).subject
    assert subject == "[Adjust] DRY RUN (rehearsal): would have sent 5 of 6 events (revenue.send)"
