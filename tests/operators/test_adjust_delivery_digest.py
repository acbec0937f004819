"""AdjustDeliveryDigestOperator: one message on the deliveries of several DAGs, out of a real ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import write_deliveries, write_totals
from notifications.conftest import Inbox, Slack, inbox, slack
from operators.adjust_account import EVENT_TOKEN, device, purchase, reveals

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.notifications.digest_ledger import read_window
from airflow_provider_adjust.operators.adjust_delivery_digest import AdjustDeliveryDigestOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.schema import drop_all, metadata, tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.sandbox import SandboxServer

__all__ = ["inbox", "slack"]
NIGHT = datetime(2026, 5, 6, 2)
CONTEXT: dict[str, Any] = {
    "data_interval_start": datetime(2026, 5, 5, 8, tzinfo=UTC),
    "data_interval_end": datetime(2026, 5, 6, 8, tzinfo=UTC),
    "ti": SimpleNamespace(log_url="https://airflow.example.com/dags/digest/runs/r/tasks/digest"),
}


def digest(context: dict[str, Any] = CONTEXT, **arguments: Any) -> dict[str, Any]:
    operator = AdjustDeliveryDigestOperator(task_id="digest", **({"ledger_conn_id": "adjust_ledger"} | arguments))
    return operator.execute(context)  # type: ignore[arg-type]


def lines(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (line["verdict"], line["dag_id"], line["environment"], line["delivered"], line["missing"])
        for line in result["lines"]
    ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> sa.Engine:
    """The connection `adjust_ledger`, with empty tables."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_ADJUST_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "l.db")})
    )
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'l.db'}")
    metadata.create_all(engine)
    return engine


def add_try(engine: sa.Engine, dag_id: str, counts: list[dict[str, Any]], **values: Any) -> None:
    """A try with totals, each of an outcome, a reason and so on."""
    known = {
        "dag_id": dag_id,
        "run_id": "night",
        "task_id": "send",
        "map_index": -1,
        "try_number": 1,
        "state": "success",
    }
    times = {"started_at": NIGHT, "heartbeat_at": NIGHT, "lease_until": NIGHT, "ended_at": NIGHT}
    more = {"is_latest": True, "read": 0, "error": "", "rejected_path": ""}
    scope = {"app_token": "4w565xzmb54d", "event_token": "f0ob4r", "environment": "production", "day": date(2026, 5, 5)}
    with engine.begin() as connection:
        made = connection.execute(tries.insert().values(**known | times | more | values))
        write_totals(connection, [scope | {"try_id": made.inserted_primary_key[0]} | each for each in counts])  # type: ignore[index]


def good(events: int, revenue: str = "1.25", **more: Any) -> dict[str, Any]:
    return {"outcome": "delivered", "events": events, "revenue": Decimal(revenue), "currency": "USD"} | more


def bad(reason: str, events: int, revenue: str | None = None, outcome: str = "rejected", **more: Any) -> dict[str, Any]:
    money = {} if revenue is None else {"revenue": Decimal(revenue), "currency": "USD"}
    return {"outcome": outcome, "reason": reason, "events": events} | money | more


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Iterator[sa.Engine]:
    """The same on Postgres, with the driver that has parameters on the server's side."""
    address = sa.make_url(postgres_url)
    known = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps({"conn_type": "postgres", **known}))
    engine = sa.create_engine(address.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        drop_all(connection)
        metadata.create_all(connection)
    yield engine
    with engine.begin() as connection:
        drop_all(connection)
    engine.dispose()


def test_the_queries_run_on_postgres(postgres: sa.Engine) -> None:
    add_try(postgres, "partly", [good(5), bad("not_a_row", 2, outcome="invalid", scope_id=None, day=None)])
    row = {"app_token": "a", "event_token": "t", "environment": "sandbox", "event_id": "1", "dag_id": "lost"}
    with postgres.begin() as connection:
        more = {"status": "sending", "occurred_at": NIGHT, "revenue": Decimal(4), "currency": "USD"}
        write_deliveries(connection, [row | more])
    found = [("KILLED", "lost", "sandbox", 0, 1), ("INCOMPLETE", "partly", "production", 5, 2)]
    assert lines(digest()) == found
    with postgres.connect() as connection:
        start, end = (CONTEXT[name].replace(tzinfo=None) for name in ("data_interval_start", "data_interval_end"))
        dags, missing = read_window(connection, start, end, None)
    assert ([dag.dag_id for dag in dags], missing) == (["lost", "partly"], [])


def test_each_dag_and_environment_has_a_line_and_the_worst_comes_first(engine: sa.Engine) -> None:
    add_try(engine, "fine", [good(1000, "99.5")])
    add_try(engine, "partly", [good(5), bad("device_not_found", 2, "1200"), bad("bad_event_state", 7, "49", day=None)])
    add_try(engine, "partly", [good(3, environment="sandbox"), bad("x", 1, "7", environment="sandbox")], task_id="two")
    add_try(engine, "broken", [], state="failed", error="DeliveryHalted: Adjust refuses the whole batch")
    add_try(engine, "silent", [good(1)], started_at=NIGHT - timedelta(days=3))
    add_try(engine, "forgotten", [good(1)], started_at=NIGHT - timedelta(days=9))
    add_try(engine, "", [good(1)])  # the command line
    result = digest()
    assert result["subject"] == (
        "[Adjust] 1 of 4 DAGs MISSING, 1 FAILED, 1 INCOMPLETE, 1,249.00 USD missing (production), "
        "7.00 USD missing (sandbox)"
    )
    assert lines(result) == [
        ("MISSING", "silent", None, 0, 0),
        ("FAILED", "broken", None, 0, 0),
        ("INCOMPLETE", "partly", "production", 5, 9),
        ("INCOMPLETE", "partly", "sandbox", 3, 1),
        ("OK", "fine", "production", 1000, 0),
    ]
    assert result["lines"][2]["missing_revenue"] == {"USD": "1249.00"}


@pytest.mark.parametrize(
    ("dag_ids", "subject"),
    [
        (["fine"], "[Adjust] OK: 1 DAG, 1,000 events delivered, 99.50 USD"),
        ("fine", "[Adjust] OK: 1 DAG, 1,000 events delivered, 99.50 USD"),
        (["fine", "partly"], "[Adjust] 1 of 2 DAGs INCOMPLETE, 3 events missing"),
        (["fine", "never"], "[Adjust] 1 of 2 DAGs MISSING"),
        (["slow"], "[Adjust] 1 of 1 DAG RUNNING"),
        (["lost"], "[Adjust] 1 of 1 DAG KILLED, 4.00 USD missing"),
        ([], "[Adjust] OK: no DAG was expected to send, and none did"),
    ],
)
def test_the_subject_begins_with_the_verdicts(engine: sa.Engine, dag_ids: Any, subject: str) -> None:
    running = {"state": "running", "ended_at": None}
    add_try(engine, "fine", [good(1000, "99.5")])
    add_try(engine, "partly", [good(5), bad("not_a_row", 3, outcome="invalid", scope_id=None, day=None)])
    add_try(
        engine, "slow", [good(2)], **running, lease_until=datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    )
    row = {"app_token": "a", "event_token": "t", "environment": "production", "event_id": "1", "dag_id": "lost"}
    with engine.begin() as connection:
        more = {"status": "sending", "occurred_at": NIGHT, "revenue": Decimal(4), "currency": "USD"}
        write_deliveries(connection, [row | more])
    assert digest(dag_ids=dag_ids)["subject"] == subject


TRIES: dict[str, tuple[list[list[dict[str, Any]]], tuple[str, int, int]]] = {
    "a retry that reads all rows again": (
        [
            [good(400), bad("device_not_found", 5), bad("x", 8, outcome="invalid"), bad("connection_failed", 87, outcome="held")],
            [good(87), bad("device_not_found", 5), bad("x", 8, outcome="invalid"), bad("by_earlier_try", 400, outcome="skipped")],
        ],
        ("INCOMPLETE", 487, 13),
    ),
    "rows that were corrected in between": (
        [[bad("invalid_currency", 500, outcome="invalid")], [good(500)]],
        ("OK", 500, 0),
    ),
    "a retry that a checkpoint continues": (
        [[good(400), bad("x", 8, outcome="invalid"), bad("lane_held", 20, outcome="held")], [good(20)]],
        ("INCOMPLETE", 420, 8),
    ),
    "all refused, and a checkpoint with nothing left to read": (
        [[bad("invalid_currency", 500, outcome="invalid")], []],
        ("INCOMPLETE", 0, 500),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIES)
def test_the_tries_of_a_task_are_one_delivery(engine: sa.Engine, name: str) -> None:
    its_tries, (verdict, delivered, missing) = TRIES[name]
    for number, counts in enumerate(its_tries, start=1):
        is_last = number == len(its_tries)
        state = "success" if is_last else "failed"
        add_try(engine, "dag", counts, try_number=number, state=state, is_latest=is_last)
    assert lines(digest()) == [(verdict, "dag", "production", delivered, missing)]


def test_the_window_is_the_data_interval_or_the_argument_or_a_day(engine: sa.Engine) -> None:
    for hours in (1, 30, 50):
        add_try(engine, f"h{hours}", [good(1)], started_at=datetime(2026, 5, 6, 8) - timedelta(hours=hours))
    no_length = CONTEXT | {"data_interval_start": CONTEXT["data_interval_end"]}
    by_hand = {"dag_run": SimpleNamespace(run_after=CONTEXT["data_interval_end"])}
    for context, window, names in (
        (CONTEXT, None, {"h1"}),
        (no_length, None, {"h1"}),
        (by_hand, None, {"h1"}),
        (CONTEXT, timedelta(hours=31), {"h1", "h30"}),
        (CONTEXT, timedelta(days=6), {"h1", "h30", "h50"}),
    ):
        found = digest(context, window=window)
        assert {line["dag_id"] for line in found["lines"] if line["verdict"] == "OK"} == names
        assert len(found["lines"]) == 3
    with pytest.raises(AdjustConfigurationError, match="window must be above 0"):
        digest(window=timedelta(0))


def test_the_message_is_sent_as_the_notifier_sends_it(engine: sa.Engine, inbox: Inbox, slack: Slack) -> None:
    add_try(engine, "shop_{{ ds }}<b>", [good(5), bad("device_not_found", 2, "1200.5")])
    digest(email_to=["data@example.com"], slack_webhook_conn_id="slack_webhook", dag_ids=["shop_{{ ds }}<b>", "never"])
    [message] = inbox.messages
    assert message["Subject"] == "[Adjust] 1 of 2 DAGs MISSING, 1 INCOMPLETE, 1,200.50 USD missing"
    [html] = [part.get_content() for part in message.walk() if part.get_content_type() == "text/html"]
    [(_, post)] = slack.posts
    assert ">shop_{{ ds }}&lt;b&gt;</td>" in html
    for text in (html, post["text"]):
        assert "never: MISSING" in text
        assert "2 rejected: device_not_found, 1,200.50 USD" in text
        assert "A retry cannot help; check the environment and the app token" in text
        assert "https://airflow.example.com/adjust/?ledger=adjust_ledger" in text


def test_a_rehearsal_in_production_is_not_added_to_revenue(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = {"destination": "127.0.0.1"}
    add_try(engine, "fine", [good(10, "99.5")])
    add_try(engine, "fine", [good(70, "7000", **stand_in), bad("x", 1, "5", **stand_in)], task_id="rehearse")
    add_try(engine, "gate", [good(4, "40", destination="gateway.example.com")])
    result = digest()
    assert result["subject"] == "[Adjust] 1 of 2 DAGs INCOMPLETE, 5.00 USD missing (rehearsal)"
    assert lines(result) == [
        ("INCOMPLETE", "fine", "rehearsal", 70, 1),
        ("OK", "fine", "production", 10, 0),
        ("OK", "gate", "rehearsal", 4, 0),
    ]
    monkeypatch.setenv("AIRFLOW__ADJUST__ALLOWED_HOSTS", "*.adjust.com, gateway.example.com")
    assert lines(digest())[1:] == [("OK", "fine", "production", 10, 0), ("OK", "gate", "production", 4, 0)]


def test_real_deliveries_are_told_and_reveal_nothing(
    adjust: SandboxServer, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    metadata.drop_all(engine)
    adjust.configure(unknown_devices=[device(2)])
    now = datetime.now(UTC)
    context = {"data_interval_start": now - timedelta(hours=1), "data_interval_end": now + timedelta(hours=1)}
    assert digest(context, dag_ids="revenue")["subject"] == "[Adjust] 1 of 1 DAG MISSING"
    for number in (1, 2):
        ti = SimpleNamespace(dag_id="revenue", run_id="r", task_id="send", map_index=-1, try_number=number)
        rows = [purchase(1), purchase(2), purchase(3, revenue="-1")]
        task = AdjustSendEventsOperator(
            task_id="send", events=rows, event_token=EVENT_TOKEN, id_field="order_id", ledger_conn_id="adjust_ledger"
        )
        with pytest.raises(AirflowFailException):
            task.execute({"ti": ti})  # type: ignore[typeddict-item]
    result = digest(context)
    assert result["subject"] == "[Adjust] 1 of 1 DAG FAILED, 1.25 EUR missing (rehearsal)"
    assert lines(result) == [("FAILED", "revenue", "rehearsal", 1, 2)]
    assert not reveals(json.dumps(result) + caplog.text)


def test_a_ledger_or_a_recipient_that_cannot_be_used_fails_the_task(engine: sa.Engine) -> None:
    with pytest.raises(AirflowFailException, match="slack_conn_id needs slack_channel"):
        digest(slack_conn_id="slack_api")


def test_what_was_not_read_is_of_the_environment_that_its_try_was_set_up_for(engine: sa.Engine) -> None:
    unread = bad("not_a_row", 3, outcome="invalid", scope_id=None, day=None)
    add_try(engine, "rows", [good(1), unread], environment="sandbox")
    add_try(engine, "nothing", [], environment="production", state="failed", error="SourceUnavailable: it is away")
    assert lines(digest()) == [
        ("FAILED", "nothing", "production", 0, 0),
        ("INCOMPLETE", "rows", "sandbox", 0, 3),
        ("OK", "rows", "production", 1, 0),
    ]
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE adjust_try DROP COLUMN environment")  # an older ledger
    assert lines(digest())[1:] == [("INCOMPLETE", "rows", "production", 1, 3)]


def test_a_task_that_runs_now_is_running(engine: sa.Engine) -> None:
    metadata.drop_all(engine)
    task = TaskInstanceId("dag", "run", "send", -1, 1)
    ledger = Ledger(engine, task, on_in_doubt="resend", max_resends=32, id_scope="event", batch_size=64)
    now = datetime.now(UTC)
    context = {"data_interval_start": now - timedelta(hours=1), "data_interval_end": now + timedelta(hours=1)}
    assert lines(digest(context)) == [("RUNNING", "dag", None, 0, 0)]
    ledger.close()
