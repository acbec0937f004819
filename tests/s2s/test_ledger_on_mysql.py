"""What the ledger does on MySQL and MariaDB only, where no server may be installed; with one, every ledger test runs on it."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import call, create_autospec

import pymysql
import pytest
import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger import migration, schema


def connection_to_mysql() -> Any:
    connection = create_autospec(sa.Connection, instance=True)
    connection.dialect = SimpleNamespace(name="mysql")
    return connection


def test_one_task_at_a_time_changes_the_tables() -> None:
    connection = connection_to_mysql()
    connection.scalar.return_value = 1
    with migration._locked(connection):
        assert "GET_LOCK" in str(connection.scalar.call_args.args[0])
        connection.execute.assert_not_called()
    assert "RELEASE_LOCK" in str(connection.execute.call_args.args[0])


def test_a_lock_that_is_never_free_is_an_error_that_says_so() -> None:
    connection = connection_to_mysql()
    connection.scalar.return_value = 0
    with pytest.raises(AdjustConfigurationError, match="another task has been changing"), migration._locked(connection):
        pytest.fail("it is locked")
    connection.execute.assert_not_called()


def test_the_old_table_is_dropped_once_the_copy_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    connection = connection_to_mysql()
    connection.begin.return_value.__exit__.side_effect = lambda *_: steps.append("commit")
    monkeypatch.setattr(migration, "_version", lambda _: 2)
    monkeypatch.setattr(migration, "_to_present_shape", lambda *_: steps.append("copy"))
    monkeypatch.setattr(migration, "_drop_old", lambda _: steps.append("drop"))
    migration._migrate(connection)
    assert steps == ["copy", "commit", "drop", "commit"]


def test_its_own_clock_and_its_isolation_are_asked_for() -> None:
    connection = connection_to_mysql()
    connection.scalar.return_value = now = datetime(2026, 5, 1, 12, 0, 0, 250_000)
    assert schema.database_now(connection) == now
    engine = sa.create_engine("mysql+pymysql://127.0.0.1/ledger")
    for _ in range(2):
        schema.set_up(engine)
    assert sa.event.contains(engine, "connect", schema._read_committed)
    driver = create_autospec(pymysql.connections.Connection, instance=True)
    schema._read_committed(driver, None)
    cursor = driver.cursor.return_value.__enter__.return_value
    assert cursor.execute.call_args == call("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
