"""AdjustEventsReadySensor: when the events are there, and when they have settled."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor

CONNECTION = "AIRFLOW_CONN_WAREHOUSE"
SQL = "SELECT COUNT(*), MAX(loaded_at) FROM purchases"
HOUR = timedelta(hours=1)
TWO_HOURS_AGO = datetime.now(UTC) - 2 * HOUR
JUST_NOW = datetime.now(UTC) - timedelta(minutes=1)
EAST = timezone(2 * HOUR)


@pytest.fixture(autouse=True)
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The connection `warehouse`: an SQLite file with an empty table."""
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE purchases (loaded_at)")
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def load(path: Path, *loaded_at: Any) -> None:
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO purchases VALUES (?)", [(time,) for time in loaded_at])


def sensor(**arguments: Any) -> AdjustEventsReadySensor:
    return AdjustEventsReadySensor(**({"task_id": "wait", "sql": SQL, "sql_conn_id": "warehouse"} | arguments))


def poll(**arguments: Any) -> tuple[bool, Any]:
    found = sensor(**arguments).poke({})
    return found.is_done, found.xcom_value


@pytest.mark.parametrize(
    ("count", "min_events", "ready"),
    [(0, 1, False), (1, 1, True), (2, 1, True), (2, 3, False), (3, 3, True), (0, 0, True), (2, 0, True)],
)
def test_it_waits_for_as_many_events_as_there_must_be(
    warehouse: Path, count: int, min_events: int, ready: bool
) -> None:
    load(warehouse, *["2026-05-01 00:00:00"] * count)
    assert poll(min_events=min_events) == (ready, count if ready else None)


@pytest.mark.parametrize(
    ("loaded_at", "settle_for", "zone", "ready"),
    [
        (TWO_HOURS_AGO.isoformat(), HOUR, "UTC", True),
        (JUST_NOW.isoformat(), HOUR, "UTC", False),
        (JUST_NOW.isoformat(), timedelta(seconds=1), "UTC", True),
        (JUST_NOW.isoformat(), timedelta(0), "UTC", True),
        (JUST_NOW.isoformat(), None, "UTC", True),
        # A clock that runs ahead has not settled.
        ((datetime.now(UTC) + HOUR).isoformat(), HOUR, "UTC", False),
        # An offset counts; without one, the zone does.
        (TWO_HOURS_AGO.astimezone(EAST).isoformat(), HOUR, "UTC", True),
        (TWO_HOURS_AGO.replace(tzinfo=None).isoformat(" ", "seconds"), HOUR, "UTC", True),
        (JUST_NOW.astimezone(EAST).replace(tzinfo=None).isoformat(), HOUR, "Etc/GMT-2", False),
        (TWO_HOURS_AGO.astimezone(EAST).replace(tzinfo=None).isoformat(), HOUR, "Etc/GMT-2", True),
        (int(TWO_HOURS_AGO.timestamp()), HOUR, "Etc/GMT-2", True),
        (JUST_NOW.timestamp(), HOUR, "UTC", False),
    ],
    ids=[
        "settled",
        "not settled",
        "a second is enough",
        "none is enough",
        "without settle_for",
        "in the future",
        "offset",
        "no offset",
        "the zone's, not settled",
        "the zone's, settled",
        "epoch",
        "epoch, not settled",
    ],
)
def test_it_waits_until_nothing_was_loaded_for_a_while(
    warehouse: Path, loaded_at: Any, settle_for: timedelta | None, zone: str, ready: bool
) -> None:
    load(warehouse, loaded_at, None)
    assert poll(settle_for=settle_for, timezone=zone) == (ready, 2 if ready else None)


def test_an_empty_interval_that_may_pass_has_no_load_time_to_wait_for() -> None:
    assert poll(min_events=0, settle_for=HOUR) == (True, 0)


@pytest.mark.parametrize("sql", ["SELECT 1 WHERE 1 = 0", "SELECT NULL", "SELECT SUM(loaded_at) FROM purchases"])
def test_a_missing_row_or_count_means_no_events(sql: str) -> None:
    assert poll(sql=sql) == (False, None)
    assert poll(sql=sql, min_events=0) == (True, 0)


@pytest.mark.parametrize("sql", ["SELECT 'many'", "SELECT x'00'", "SELECT 9e999"])
def test_a_count_that_is_not_a_number_is_refused(sql: str) -> None:
    with pytest.raises(AirflowFailException, match=r"the first column of the sql is a \w+; it must be the count"):
        poll(sql=sql)


@pytest.mark.parametrize("sql", ["SELECT COUNT(*) FROM purchases", "SELECT 1, NULL", "SELECT 1, ''"])
def test_settle_for_needs_a_load_time(warehouse: Path, sql: str) -> None:
    load(warehouse, "2026-05-01 00:00:00")
    assert poll(sql=sql) == (True, 1)
    with pytest.raises(AirflowFailException, match="settle_for needs the sql to return a second column"):
        poll(sql=sql, settle_for=HOUR)


@pytest.mark.parametrize(
    ("loaded_at", "words"),
    [
        ("yesterday", "the load time is 'yesterday'; give ISO 8601 text"),
        ("2026-05-01", "the load time is a date without a time of day"),
        (1777593600000, "the load time is in milliseconds"),
    ],
)
def test_a_load_time_that_cannot_be_read_is_refused(warehouse: Path, loaded_at: Any, words: str) -> None:
    load(warehouse, loaded_at)
    with pytest.raises(AirflowFailException, match=f"AdjustConfigurationError: {words}"):
        poll(settle_for=HOUR)


def test_a_zone_that_does_not_exist_is_refused(warehouse: Path) -> None:
    load(warehouse, JUST_NOW.isoformat())
    with pytest.raises(AirflowFailException, match="is not an IANA name"):
        poll(settle_for=HOUR, timezone="Mars/Olympus")


def test_parameters_and_a_sql_file_are_rendered(warehouse: Path, tmp_path: Path) -> None:
    load(warehouse, "a", "b", "b")
    (tmp_path / "ready.sql").write_text("SELECT COUNT(*) FROM {{ table }} WHERE loaded_at = ?")
    with DAG("from_a_file", schedule=None, template_searchpath=str(tmp_path)):
        task = sensor(sql="ready.sql", sql_conn_id="{{ conn_id }}", parameters=["{{ value }}"])
    task.resolve_template_files()
    task.render_template_fields({"table": "purchases", "conn_id": "warehouse", "value": "b"})
    assert task.poke({}).xcom_value == 2


def test_a_connection_that_is_not_a_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "adjust"}))
    with pytest.raises(AirflowFailException, match="is a AdjustS2SHook; it must be a database connection"):
        poll()


def test_postgres_returns_counts_and_times_too(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = sa.make_url(postgres_url)
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "postgres", **fields}))
    assert poll(sql="SELECT 3, now() - interval '2 hours'", settle_for=HOUR) == (True, 3)
    assert poll(sql="SELECT 3, now() - interval '2 minutes'", settle_for=HOUR) == (False, None)
    # The clocks showed it twice, and the later of the two is long ago as well.
    twice = "SELECT 3, timestamp '2025-10-26 02:30:00'"
    assert poll(sql=twice, settle_for=HOUR, timezone="Europe/Berlin") == (True, 3)
    assert poll(sql="SELECT sum(n), now() - interval '1 day' FROM (VALUES (1.0), (2.0)) v (n)", settle_for=HOUR) == (
        True,
        3,
    )


def test_it_gives_its_slot_back_between_two_polls_unless_told_otherwise() -> None:
    assert sensor().mode == "reschedule"
    assert sensor().reschedule
    assert sensor(mode="poke").mode == "poke"


def test_the_xcom_is_the_count(warehouse: Path) -> None:
    load(warehouse, "a", "b")
    assert sensor(mode="poke").execute({}) == 2
