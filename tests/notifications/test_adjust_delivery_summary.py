"""AdjustDeliverySummaryNotifier: real messages to a mail server and to a stand-in for Slack, after real deliveries."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
import structlog
from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse
from airflow.sdk.definitions.deadline import AsyncCallback, SyncCallback
from airflow.sdk.execution_time.callback_supervisor import execute_callback
from airflow.triggers.callback import CallbackTrigger
from notifications.conftest import Inbox, Slack
from operators.adjust_account import EVENT_TOKEN, device, purchase, reveals
from warm_airflow import airflow_command

from airflow_provider_adjust.notifications.adjust_delivery_summary import AdjustDeliverySummaryNotifier
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer

TI = {"dag_id": "revenue", "task_id": "send", "run_id": "night", "map_index": -1, "try_number": 1}


def after_a_delivery(task_id: str = "send", **arguments: Any) -> dict[str, Any]:
    """What Airflow hands to a callback after a task has run."""
    given = {"events": [purchase(1), purchase(2)], "event_token": EVENT_TOKEN, "id_field": "order_id"} | arguments
    task = AdjustSendEventsOperator(task_id=task_id, **given)
    context: dict[str, Any] = {"task": task, "ti": SimpleNamespace(**(TI | {"task_id": task_id}), log_url="http://log")}
    try:
        task.execute({})
    except Exception as error:
        context["exception"] = error
    return context


def test_an_email_reports_a_delivery(adjust: SandboxServer, inbox: Inbox) -> None:
    AdjustDeliverySummaryNotifier(email_to=["data@example.com", "ops@example.com"])(after_a_delivery())
    [message] = inbox.messages
    assert message["Subject"] == "[Adjust] OK (rehearsal): 2 of 2 events delivered, 2.50 EUR (revenue.send)"
    assert message["To"] == "data@example.com, ops@example.com"
    assert message["From"] == "airflow@example.com"
    [html] = [part.get_content() for part in message.walk() if part.get_content_type() == "text/html"]
    assert ">delivered</td>" in html
    assert '<a href="http://log">' in html
    assert not reveals(message.as_string())


def test_slack_is_notified_through_a_webhook_and_through_the_api(adjust: SandboxServer, slack: Slack) -> None:
    adjust.configure(unknown_devices=[device(2)])
    AdjustDeliverySummaryNotifier(
        slack_webhook_conn_id="slack_webhook", slack_conn_id="slack_api", slack_channel="#{{ ti.dag_id }}"
    )(after_a_delivery())
    (webhook_path, by_webhook), (api_path, by_api) = slack.posts
    assert (webhook_path, api_path) == ("/services/T000/B000/XXXX", "/api/chat.postMessage")
    assert by_webhook["text"] == by_api["text"]
    assert by_api["channel"] == "#revenue"
    text = by_api["text"]
    assert text.startswith(
        "*[Adjust] FAILED (rehearsal): 1 of 2 events not delivered, 1.25 EUR missing (revenue.send)*\n"
    )
    assert "RejectedBudgetExceeded: 1 of 2 events were refused" in text
    assert "*1 rejected: device_not_found, 1.25 EUR*" in text
    assert not reveals(text)


def test_subject_and_texts_can_be_templates_of_the_user(adjust: SandboxServer, inbox: Inbox, slack: Slack) -> None:
    AdjustDeliverySummaryNotifier(
        email_to="data@example.com",
        subject="{{ ti.dag_id }}: {{ delivery.result.revenue.EUR }}",
        html="<pre>{{ delivery.text }}</pre>",
        slack_webhook_conn_id="slack_webhook",
        text="{{ delivery.result.delivered }} delivered",
    )(after_a_delivery())
    [message] = inbox.messages
    assert message["Subject"] == "revenue: 2.50"
    [(_, post)] = slack.posts
    assert post["text"] == "2 delivered"


def test_one_notifier_reports_on_each_task_by_itself(adjust: SandboxServer, slack: Slack) -> None:
    notifier = AdjustDeliverySummaryNotifier(slack_webhook_conn_id="slack_webhook")
    for task_id in ("first", "second"):
        notifier(after_a_delivery(task_id))
    assert [post["text"].splitlines()[0].split()[-1] for _, post in slack.posts] == [
        "(revenue.first)*",
        "(revenue.second)*",
    ]


def test_a_message_is_not_rendered_as_a_template(adjust: SandboxServer, inbox: Inbox) -> None:
    """Users name runs; Jinja in a run's id is not evaluated."""
    context = after_a_delivery()
    context["ti"].dag_id = "{{ 6 * 7 }}"
    AdjustDeliverySummaryNotifier(email_to="data@example.com")(context)
    [message] = inbox.messages
    assert message["Subject"] == "[Adjust] OK (rehearsal): 2 of 2 events delivered, 2.50 EUR ({{ 6 * 7 }}.send)"


def test_a_channel_that_fails_does_not_stop_the_other(
    adjust: SandboxServer, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"conn_type": "smtp", "host": "127.0.0.1", "port": 9, "extra": {"disable_ssl": True, "retry_limit": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(nobody))
    notifier = AdjustDeliverySummaryNotifier(
        email_to="data@example.com", email_from="airflow@example.com", slack_webhook_conn_id="slack_webhook"
    )
    with pytest.raises(Exception, match=r"(?i)connect|smtp"):
        notifier(after_a_delivery())
    assert len(slack.posts) == 1


#: The context of a run that has not ended in time: it has neither a task nor numbers.
LATE: dict[str, Any] = {
    "dag_run": {"dag_id": "revenue", "dag_run_id": "night"},
    "deadline": {"id": "1", "deadline_time": datetime(2026, 11, 19, 8, tzinfo=UTC)},
}
SUBJECT = "[Adjust] LATE: the run has not ended by its deadline, 2026-11-19 08:00:00+00:00 (revenue)"


def test_airflow_still_gives_these_fields_of_a_late_run() -> None:
    assert LATE["dag_run"].keys() <= DAGRunResponse.model_fields.keys()


def test_the_triggerer_reports_a_missed_deadline(inbox: Inbox, slack: Slack) -> None:
    channels = {
        "email_to": "{{ dag_run.dag_id }}@example.com",
        "slack_webhook_conn_id": "slack_webhook",
        "slack_conn_id": "slack_api",
        "slack_channel": "#revenue",
    }
    callback = AsyncCallback(AdjustDeliverySummaryNotifier, kwargs=channels)

    async def run() -> list[Any]:
        return [event async for event in CallbackTrigger(callback.path, callback.kwargs | {"context": LATE}).run()]

    *_, last = asyncio.run(run())
    assert last.payload["state"] == "success", last.payload
    [message] = inbox.messages
    assert (message["To"], message["Subject"]) == ("revenue@example.com", SUBJECT)
    assert [post["text"] for _, post in slack.posts] == [f"*{SUBJECT}*\nRun night"] * 2


def test_an_executor_reports_a_missed_deadline(slack: Slack) -> None:
    callback = SyncCallback(AdjustDeliverySummaryNotifier, kwargs={"slack_webhook_conn_id": "slack_webhook"})
    log = create_autospec(structlog.stdlib.BoundLogger, instance=True)
    assert execute_callback(callback.path, callback.kwargs | {"context": LATE}, "", None, log) == (True, None)
    [(_, post)] = slack.posts
    assert post["text"] == f"*{SUBJECT}*\nRun night"


def test_a_channel_that_fails_in_the_triggerer_does_not_stop_the_other(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"conn_type": "smtp", "host": "127.0.0.1", "port": 9, "extra": {"disable_ssl": True, "retry_limit": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(nobody))

    async def tell() -> None:
        await AdjustDeliverySummaryNotifier(
            email_to="a@example.com", email_from="b@example.com", slack_webhook_conn_id="slack_webhook", context=LATE
        )

    with pytest.raises(Exception, match=r"(?i)connect|smtp"):
        asyncio.run(tell())
    assert len(slack.posts) == 1


def test_the_error_in_a_dags_callback_names_the_right_places() -> None:
    with pytest.raises(AdjustConfigurationError, match="set the notifier on a task that sends"):
        AdjustDeliverySummaryNotifier(email_to="a@example.com")({"dag": None, "run_id": "night", "reason": "failed"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({}, "the notifier has no recipient"), ({"slack_conn_id": "slack_api"}, "slack_conn_id needs slack_channel")],
)
def test_a_notifier_without_a_recipient_is_refused(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(AdjustConfigurationError, match=words):
        AdjustDeliverySummaryNotifier(**arguments)({"ti": SimpleNamespace(**TI, log_url="")})


@pytest.mark.parametrize(
    ("module", "arguments", "distribution"),
    [
        ("smtp.notifications.smtp", {"email_to": "data@example.com"}, "apache-airflow-providers-smtp"),
        ("slack.notifications.slack_webhook", {"slack_webhook_conn_id": "s"}, "apache-airflow-providers-slack"),
        ("slack.notifications.slack", {"slack_conn_id": "s", "slack_channel": "#c"}, "apache-airflow-providers-slack"),
    ],
)
def test_a_missing_provider_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, arguments: dict[str, str], distribution: str
) -> None:
    monkeypatch.setitem(sys.modules, f"airflow.providers.{module}", None)
    with pytest.raises(AdjustConfigurationError, match=f"needs {distribution}; install it"):
        AdjustDeliverySummaryNotifier(**arguments)({"ti": SimpleNamespace(**TI, log_url="")})


def test_every_parameter_is_documented_with_its_default_and_is_templated() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "notifications.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", page, re.MULTILINE))
    parameters = inspect.signature(AdjustDeliverySummaryNotifier.__init__).parameters.values()
    defaults = {p.name: repr(p.default).replace("'", '"') for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert documented == defaults
    assert set(AdjustDeliverySummaryNotifier.template_fields) == documented.keys()


DAG = """
import os

from airflow.sdk import DAG

from airflow_provider_adjust.notifications.adjust_delivery_summary import AdjustDeliverySummaryNotifier
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

tell = AdjustDeliverySummaryNotifier(email_to="data@example.com", slack_webhook_conn_id="slack_webhook")

with DAG("told", schedule=None, default_args={"retries": 0, "on_success_callback": tell, "on_failure_callback": tell}):
    AdjustSendEventsOperator.partial(
        task_id="send",
        event_token="f0ob4r",
        id_field="order_id",
    ).expand(events=[os.environ["TEST_GOOD"], os.environ["TEST_BAD"]])
"""


@pytest.mark.airflow
def test_airflow_calls_it_when_a_task_has_ended(
    adjust: SandboxServer, inbox: Inbox, slack: Slack, airflow_db: Path, tmp_path: Path
) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "told.py").write_text(DAG)
    for name, row in (("good", purchase(1)), ("bad", purchase(2, revenue="-1"))):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    environment = os.environ | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "TEST_GOOD": (tmp_path / "good.jsonl").as_uri(),
        "TEST_BAD": (tmp_path / "bad.jsonl").as_uri(),
    }
    done = airflow_command("dags", "test", "told", env=environment)
    log = done.stdout + done.stderr
    assert "Failed to run task callback" not in log, log[-5000:]
    assert sorted(str(message["Subject"]) for message in inbox.messages) == [
        "[Adjust] FAILED (rehearsal): 1 of 1 events not delivered (told.send [1])",
        "[Adjust] OK (rehearsal): 1 of 1 events delivered, 1.25 EUR (told.send [0])",
    ]
    texts = sorted(post["text"] for _, post in slack.posts)
    assert len(texts) == 2
    assert "*1 invalid: invalid_revenue*" in texts[0]
    assert all("/dags/told/runs/" in text for text in texts)
    assert not reveals([message.as_string() for message in inbox.messages])
    assert not reveals(texts)
