"""A ledger that an older provider made comes to the present shape, whoever is first, and keeps what it knows."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import VERSION, deliveries, held, prepare, versions

#: What version 1 wrote to a database.
VERSION_1 = (
    """CREATE TABLE adjust_delivery (
        app_token VARCHAR(64) NOT NULL, event_token VARCHAR(64) NOT NULL, environment VARCHAR(16) NOT NULL,
        event_id VARCHAR(255) NOT NULL, status VARCHAR(16) NOT NULL, reason VARCHAR(64) NOT NULL, http_status INTEGER,
        content VARCHAR(32) NOT NULL, occurred_at TIMESTAMP NOT NULL, revenue NUMERIC(38, 10), currency VARCHAR(3),
        claim VARCHAR(32) NOT NULL, dag_id VARCHAR(250) NOT NULL, run_id VARCHAR(250) NOT NULL,
        task_id VARCHAR(250) NOT NULL, map_index INTEGER NOT NULL, updated_at TIMESTAMP NOT NULL,
        PRIMARY KEY (app_token, event_token, environment, event_id))""",
    "CREATE INDEX ix_adjust_delivery_occurred_at ON adjust_delivery (occurred_at)",
    "CREATE TABLE adjust_ledger_version (version INTEGER NOT NULL, PRIMARY KEY (version))",
    "INSERT INTO adjust_ledger_version VALUES (1)",
    """INSERT INTO adjust_delivery VALUES ('app1', 'event1', 'sandbox', 'order-1', 'delivered', '', 200, 'digest',
        '2026-05-01 07:00:00', 1.10, 'USD', 'claim', 'dag', 'run-1', 'send', -1, '2026-05-01 12:00:00')""",
)
INDEXES = {"ix_adjust_delivery_occurred_at", "ix_adjust_delivery_dag", "ix_adjust_delivery_run"}


def shape(engine: sa.Engine) -> tuple[set[str], set[str | None], list[int]]:
    """The tables, the indexes of the deliveries, and the versions that are noted."""
    inspector = sa.inspect(engine)
    with engine.connect() as connection:
        noted = list(connection.scalars(sa.select(versions.c.version)))
    return (
        {name for name in inspector.get_table_names() if name.startswith("adjust_")},
        {index["name"] for index in inspector.get_indexes("adjust_delivery")},
        noted,
    )


PRESENT = ({"adjust_delivery", "adjust_held", "adjust_ledger_version"}, INDEXES, [VERSION])


@pytest.fixture
def version_1(ledger_engine: sa.Engine) -> sa.Engine:
    with ledger_engine.begin() as connection:
        for statement in VERSION_1:
            connection.exec_driver_sql(statement)
    return ledger_engine


def test_a_new_ledger_has_the_present_shape(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    assert shape(ledger_engine) == PRESENT


def test_an_old_ledger_is_upgraded_and_keeps_its_events(version_1: sa.Engine) -> None:
    prepare(version_1)
    assert shape(version_1) == PRESENT
    with version_1.connect() as connection:
        [event] = connection.execute(sa.select(deliveries)).all()
        assert (event.event_id, event.status, event.occurred_at) == ("order-1", "delivered", datetime(2026, 5, 1, 7))
        assert connection.scalar(sa.select(sa.func.count()).select_from(held)) == 0


def test_an_upgrade_that_was_cut_short_is_finished(version_1: sa.Engine) -> None:
    """MySQL commits after each CREATE, so a lost worker may leave the half of it."""
    with version_1.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX ix_adjust_delivery_run ON adjust_delivery (dag_id, run_id)")
    prepare(version_1)
    assert shape(version_1) == PRESENT


def test_tasks_that_begin_at_once_upgrade_it_once(version_1: sa.Engine) -> None:
    failures: list[Exception] = []
    together = threading.Barrier(6)

    def begin() -> None:
        engine = sa.create_engine(version_1.url)
        try:
            together.wait()
            prepare(engine)
        except Exception as error:
            failures.append(error)
        finally:
            engine.dispose()

    tasks = [threading.Thread(target=begin) for _ in range(6)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert failures == []
    assert shape(version_1) == PRESENT
