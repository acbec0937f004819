"""AdjustEventsReadySensor in the triggerer: the same query, and everything that needs a worker returns to one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, TaskDeferred
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseTrigger
from operators.adjust_account import Said
from operators.dag_run import run_dag
from structlog.testing import capture_logs

from airflow_provider_adjust.airflow_versions import AirflowFailException, AirflowSensorTimeout
from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.triggers import adjust_events_ready
from airflow_provider_adjust.triggers.encryption import WrongKey, decrypt_with, encrypt_with

CONNECTION = "AIRFLOW_CONN_WAREHOUSE"
SQL = "SELECT COUNT(*), MAX(loaded_at) FROM purchases WHERE shop <> 'literal-of-a-customer'"


@pytest.fixture(autouse=True)
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The connection `warehouse`: an SQLite file with an empty table."""
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE purchases (loaded_at, shop)")
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def load(path: Path, count: int = 1, shop: str = "north") -> None:
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO purchases VALUES ('2026-05-01 00:00:00', ?)", [(shop,)] * count)


def sensor(**arguments: Any) -> AdjustEventsReadySensor:
    given = {"task_id": "wait", "sql": SQL, "sql_conn_id": "warehouse", "mode": "poke", "timeout": 3600}
    return AdjustEventsReadySensor(**(given | {"deferrable": True} | arguments))


def deferred(**arguments: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferral:
        sensor(**arguments).execute({})
    return deferral.value


def restarted(trigger: Any, **changes: Any) -> BaseTrigger:
    """The trigger as another triggerer has it: made from what Airflow's database keeps."""
    path, arguments = trigger.serialize()
    again: BaseTrigger = import_string(path)(**json.loads(json.dumps(arguments)) | {"poke_interval": 0.01} | changes)
    return again


def fire(trigger: BaseTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return (await anext(trigger.run())).payload  # type: ignore[call-overload]

    payload: dict[str, Any] = asyncio.run(first())
    return payload


def resumed(deferral: TaskDeferred, event: dict[str, Any], **arguments: Any) -> Any:
    """What the task does when the trigger has fired, through Airflow's own handling of it."""
    # Without the deferral's own arguments, which `dag.test()` loses.
    return sensor(**arguments).resume_execution(deferral.method_name, {"event": event}, {})  # type: ignore[arg-type]


def test_it_is_not_deferred_when_all_is_there(warehouse: Path) -> None:
    load(warehouse, 2)
    assert sensor().execute({}) == 2


def test_the_default_is_airflows_and_poke_and_reschedule_stay(warehouse: Path) -> None:
    assert AdjustEventsReadySensor(task_id="wait", sql=SQL, sql_conn_id="warehouse").deferrable is False
    assert sensor(deferrable=False).poke({}).is_done is False


def test_a_restarted_trigger_fires_with_the_count(warehouse: Path) -> None:
    deferral = deferred()
    trigger = restarted(restarted(deferral.trigger))
    load(warehouse, 3)
    event = fire(trigger)
    assert event == {"status": "done", "message": "3 events are ready", "value": 3}
    assert resumed(deferral, event) == 3


def test_it_waits_for_the_load_to_settle_and_keeps_every_argument(warehouse: Path) -> None:
    now = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=2)  # as clocks show it in the zone below
    parameters = {"day": date(2026, 5, 1), "at": now, "least": Decimal("0.10"), "shops": ["a", None, 5]}
    sql = "SELECT :count, :loaded_at"
    arguments: dict[str, Any] = {"sql": sql, "min_events": 2, "settle_for": timedelta(hours=1), "timezone": "Etc/GMT-2"}
    deferral = deferred(parameters={"count": 5, "loaded_at": now.isoformat()}, **arguments)
    loaded = now - timedelta(hours=1)
    ready = deferred(parameters={"count": 1, "loaded_at": loaded.isoformat()}, **arguments)
    assert fire(restarted(deferral.trigger, until=0))["status"] == "timeout"
    assert fire(restarted(ready.trigger, until=0))["message"] == "1 events are there; waiting for 2"
    trigger = deferred(parameters=parameters | {"count": 0, "loaded_at": None}, **arguments).trigger
    query = restarted(trigger)._decrypted()  # type: ignore[attr-defined]
    assert query.parameters == parameters | {"count": 0, "loaded_at": None}
    assert (query.min_events, query.settle_for, query.timezone) == (2, timedelta(hours=1), "Etc/GMT-2")
    positional = deferred(sql="SELECT ?", parameters=(0,)).trigger
    assert fire(restarted(positional, until=0))["status"] == "timeout"


def test_neither_the_query_nor_a_secret_is_in_what_airflow_stores(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    sql = "SELECT 0 WHERE 'literal-of-a-customer' <> ? AND 1 = 1"
    deferral = deferred(sql=sql, parameters=["secret-parameter"])
    stored = f"{deferral.trigger.serialize()} {deferral.trigger!r} {deferral.kwargs}"
    for text in ("literal", "SELECT", "secret-parameter", str(warehouse)):
        assert text not in stored
    with capture_logs() as logged:
        fire(restarted(deferral.trigger, until=0))
        warehouse.unlink()
        warehouse.mkdir()  # no database any more
        assert fire(restarted(deferral.trigger))["message"] == "the query failed, OperationalError"
    ours = [event for event in logged if "events_ready" in str(event.get("logger", ""))]
    assert "literal" not in str(ours)


def test_the_timeout_says_what_is_missing_and_may_skip(warehouse: Path) -> None:
    deferral = deferred(min_events=2)
    event = fire(restarted(deferral.trigger, until=0))
    assert event["status"] == "timeout"
    with pytest.raises(AirflowSensorTimeout, match=r"after 3600 seconds\.\n0 events are there; waiting for 2"):
        resumed(deferral, event)
    for flag in ("soft_fail", "never_fail"):
        with pytest.raises(AirflowSkipException):
            resumed(deferral, event, **{flag: True})


def test_the_time_counts_from_the_first_poll(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the task goes back to a worker."""
    deferral = deferred(timeout=100)
    until = deferral.trigger.serialize()[1]["until"]
    assert until == pytest.approx(time.time() + 100, abs=30)
    assert deferral.timeout is not None
    assert deferral.timeout > timedelta(seconds=100)
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "sqlite", "host": str(warehouse), "extra": {"timeout": 9}}))
    with pytest.raises(TaskDeferred) as again:
        resumed(deferral, fire(restarted(deferral.trigger)), timeout=100)
    assert again.value.trigger.serialize()[1]["until"] == until
    with pytest.raises(AirflowSensorTimeout, match="0 events are there; waiting for 1"):
        resumed(deferral, fire(restarted(deferral.trigger, until=time.time() - 1)), timeout=100)


def test_an_error_in_the_triggerer_is_a_workers_to_judge(warehouse: Path) -> None:
    deferral = deferred()
    with sqlite3.connect(warehouse) as connection:
        connection.execute("DROP TABLE purchases")
    event = fire(restarted(deferral.trigger))
    assert (event["status"], event["message"]) == ("poll", "the query failed, OperationalError")
    with pytest.raises(sqlite3.OperationalError):
        resumed(deferral, event)
    with pytest.raises(AirflowSkipException):
        resumed(deferral, event, never_fail=True)
    with sqlite3.connect(warehouse) as connection:
        connection.execute("CREATE TABLE purchases (loaded_at, shop)")
    load(warehouse)
    assert resumed(deferral, event) == 1


def test_a_connection_that_has_changed_is_a_workers_to_read(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may be a new one each time it is asked for."""
    deferral = deferred()
    load(warehouse)
    changed = {"conn_type": "sqlite", "host": str(warehouse), "extra": {"timeout": 9}}
    monkeypatch.setenv(CONNECTION, json.dumps(changed))
    event = fire(restarted(deferral.trigger))
    assert event["message"] == "the connection has changed since the task was deferred"
    assert resumed(deferral, event) == 1


def test_arguments_that_cannot_be_stored_are_waited_for_without_the_triggerer(warehouse: Path) -> None:
    class Ti:
        def get_first_reschedule_date(self, context: Any) -> None:
            return None

    waiting = sensor(sql="SELECT 0 WHERE ? IS NOT NULL", parameters=[b"bytes"], mode="reschedule")
    with capture_logs() as logged, pytest.raises(AirflowRescheduleException):
        waiting.execute({"ti": Ti()})  # type: ignore[typeddict-item]
    assert "not deferred" in str(logged)


def test_a_query_that_hangs_holds_up_neither_the_timeout_nor_other_triggers(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adjust_events_ready, "_SLOWEST_QUERY", 0.05)
    hanging, other = restarted(deferred().trigger, until=0), restarted(deferred().trigger)
    ended = threading.Event()
    monkeypatch.setattr(hanging, "_poll_in_thread", ended.wait)
    load(warehouse)

    async def both() -> list[Any]:
        events = [anext(trigger.run()) for trigger in (hanging, other)]  # type: ignore[call-overload]
        try:
            return [event.payload["message"] for event in await asyncio.gather(*events)]
        finally:
            ended.set()

    assert asyncio.run(both()) == ["the query failed, TimeoutError", "1 events are ready"]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT shop, COUNT(*) FROM purchases GROUP BY shop", "the sql returns more than one row; it must return one"),
        ("SELECT loaded_at, shop FROM purchases", "the sql returns more than one row"),
        ("SELECT 1, loaded_at, shop FROM purchases LIMIT 1", "the sql returns 3 columns; it must return one row"),
        ("CREATE TABLE more (x)", "the sql begins with CREATE; it must be one SELECT"),
        ("PRAGMA user_version = 1", "the sql returns no rows and no columns; it must be one SELECT"),
    ],
)
def test_a_query_of_another_shape_is_refused(warehouse: Path, sql: str, words: str, deferrable: bool) -> None:
    load(warehouse, 1, "north")
    load(warehouse, 1, "south")
    with pytest.raises(AirflowFailException, match=f"AdjustConfigurationError: {words}"):
        sensor(sql=sql, deferrable=deferrable).execute({})


def test_postgres_is_polled_in_the_triggerer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = sa.make_url(postgres_url)
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    for cursor in (None, "dictcursor"):
        extra = {"cursor": cursor} if cursor else {}
        connection = {"conn_type": "postgres", "password": "correct-horse-7", "extra": extra, **fields}
        monkeypatch.setenv(CONNECTION, json.dumps(connection))
        sql = "SELECT count(*), max(query_start) FROM pg_stat_activity WHERE application_name <> %s AND false"
        deferral = deferred(sql=sql, parameters=["a-parameter"])
        assert "correct-horse-7" not in str(deferral.trigger.serialize())
        assert fire(restarted(deferral.trigger, until=0))["message"] == "0 events are there; waiting for 1"
        assert sensor(sql="SELECT 3 AS n, now() AS loaded_at").execute({}) == 3


def test_what_was_encrypted_is_read_with_the_same_key_only() -> None:
    encrypted = encrypt_with("postgres://a:b@c", "SELECT 1")
    assert decrypt_with("postgres://a:b@c", encrypted) == "SELECT 1"
    assert encrypt_with("postgres://a:b@c", "SELECT 1") != encrypted
    for material, text in (("postgres://a:B@c", encrypted), ("postgres://a:b@c", encrypted[1:]), ("x", "no key")):
        with pytest.raises(WrongKey):
            decrypt_with(material, text)


DAG = """
from __future__ import annotations

import os
import sqlite3
from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor

PATH = os.environ["TEST_FOLDER"] + "/warehouse.db"
ARGUMENTS = {
    "sql": "SELECT COUNT(*) FROM purchases WHERE shop <> 'literal-of-a-customer'",
    "sql_conn_id": "warehouse", "deferrable": True, "poke_interval": 0.2,
}


class LoadsInTheMeantime(AdjustEventsReadySensor):
    def _defer(self, query, result):
        with sqlite3.connect(PATH) as connection:
            connection.executemany("INSERT INTO purchases VALUES ('', ?)", [("a",)] * 4)
        super()._defer(query, result)


@dag(schedule=None, default_args={"retries": 0})
def waits():
    ready = LoadsInTheMeantime(task_id="ready", min_events=4, timeout=60, **ARGUMENTS)
    late = AdjustEventsReadySensor(task_id="late", min_events=9, timeout=0.5, soft_fail=True, **ARGUMENTS)

    @task
    def keep(count):
        import json
        from pathlib import Path

        Path(os.environ["TEST_FOLDER"], "results.json").write_text(json.dumps(count))

    keep(ready.output)
    ready >> late


waits()
"""


@pytest.mark.airflow
def test_a_real_run_defers_and_resumes(tmp_path: Path, warehouse: Path, airflow_db: Path) -> None:
    run = run_dag(
        DAG, "waits", tmp_path, airflow_db, **{CONNECTION: json.dumps({"conn_type": "sqlite", "host": str(warehouse)})}
    )
    assert run.code == 0, run.log
    assert run.results == 4
    states = dict(run.kept("SELECT task_id, state FROM task_instance WHERE dag_id = 'waits'"))
    assert states == {"ready": "success", "late": "skipped", "keep": "success"}
    assert "4 events are ready" in run.log
