"""A ledger of an older provider is migrated by the first task, without loss."""

from __future__ import annotations

import threading
from datetime import date, datetime
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import pytest
import sqlalchemy as sa
from s2s_case import NOW, job

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.job import Claim
from airflow_provider_adjust.s2s.ledger import migration
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import (
    VERSION,
    deliveries,
    drop_all,
    events,
    existing,
    retry_once,
    scopes,
    totals,
    tries,
    versions,
)
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

#: What version 1 wrote to a database; version 2 added indexes and the table of held events.
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
)
VERSION_2 = (
    *VERSION_1[:-1],
    "INSERT INTO adjust_ledger_version VALUES (2)",
    """CREATE TABLE adjust_held (dag_id VARCHAR(250) NOT NULL, run_id VARCHAR(250) NOT NULL, task_id VARCHAR(250) NOT NULL,
        map_index INTEGER NOT NULL, app_token VARCHAR(64) NOT NULL, event_token VARCHAR(64) NOT NULL,
        environment VARCHAR(16) NOT NULL, day DATE NOT NULL, events INTEGER NOT NULL)""",
    "INSERT INTO adjust_held VALUES ('dag', 'run-1', 'send', -1, 'app1', 'event1', 'sandbox', '2026-05-01', 7)",
    "INSERT INTO adjust_held VALUES ('dag', 'run-9', 'send', -1, 'app1', 'event9', 'sandbox', '2026-05-02', 3)",
)
#: Digests of the content as versions 1 and 2 wrote them.
OLD_DIGEST = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
EVENTS = (
    ("event1", "order-1", "delivered", "", 200, OLD_DIGEST, "2026-05-01 07:00:00", "1.10", "USD", "run-1"),
    (
        "event1",
        "order-2",
        "rejected",
        "device_not_found",
        404,
        "0" * 32,
        "2026-05-01 07:00:01.25",
        "2.20",
        "USD",
        "run-1",
    ),
    ("event1", "Order-2", "sending", "", None, "1" * 32, "2026-05-02 07:00:02", None, None, "run-1"),
    ("first1", "order-1", "duplicate", "duplicate", 400, "2" * 32, "2026-05-01 07:00:00", "1.10", "EUR", "run-1"),
    ("event1", "order-4", "in_doubt", "no_answer", None, "no digest", "2026-05-01 08:00:00", None, None, "run-2"),
)
PRESENT = {
    ("VIEW", "adjust_delivery"),
    *(("TABLE", name) for name in ("adjust_event", "adjust_ledger_version", "adjust_reason", "adjust_scope")),
    *(
        ("TABLE", name)
        for name in ("adjust_total", "adjust_try", "adjust_suppression", "adjust_lane", "adjust_erasure")
    ),
    ("TABLE", "adjust_verdict"),
}


def shape(engine: sa.Engine) -> tuple[set[tuple[str, str]], list[int]]:
    """The tables and views, and the version that is noted."""
    with engine.connect() as connection:
        return set(existing(connection)), list(connection.scalars(sa.select(versions.c.version)))


def make(engine: sa.Engine, statements: tuple[str, ...]) -> None:
    wide = engine.dialect.name in {"mysql", "mariadb"}
    with engine.begin() as connection:
        for statement in statements:
            # As SQLAlchemy writes a time for MySQL.
            connection.exec_driver_sql(statement.replace("TIMESTAMP", "DATETIME") if wide else statement)
        columns = (
            *("event_token", "event_id", "status", "reason", "http_status", "content", "occurred_at", "revenue"),
            *("currency", "run_id"),
        )
        insert = sa.text(
            f"INSERT INTO adjust_delivery ({', '.join(columns)}, app_token, environment, claim, dag_id, task_id, map_index,"
            f" updated_at) VALUES ({', '.join(f':{name}' for name in columns)}, 'app1', 'sandbox', 'c', 'dag', 'send', -1,"
            " '2026-05-02 12:00:00')"
        )
        connection.execute(insert, [dict(zip(columns, event, strict=True)) for event in EVENTS])


@pytest.fixture(params=[VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def old(request: pytest.FixtureRequest, ledger_engine: sa.Engine) -> sa.Engine:
    if ledger_engine.dialect.name == "mysql":
        pytest.skip("its older ledgers compared ids without case, and could not hold these events")
    make(ledger_engine, request.param)
    return ledger_engine


def shown(engine: sa.Engine) -> set[tuple[Any, ...]]:
    c = deliveries.c
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(c.event_token, c.event_id, c.status, c.reason, c.http_status, c.revenue, c.currency, c.run_id)
        ).all()
    return {tuple(each) for each in found}


def test_a_new_ledger_has_the_present_shape(ledger_engine: sa.Engine) -> None:
    for _ in range(2):
        prepare(ledger_engine)
        assert shape(ledger_engine) == (PRESENT, [VERSION])


def test_an_older_ledger_keeps_every_event(old: sa.Engine) -> None:
    prepare(old)
    assert shape(old) == (PRESENT, [VERSION])
    expected = {
        # What was being sent has no live try, so it is in doubt.
        (token, event_id, "in_doubt" if status == "sending" else status, reason, http, amount, currency, run)
        for token, event_id, status, reason, http, _, _, amount, currency, run in (
            (*event[:7], None if event[7] is None else Decimal(event[7]), *event[8:]) for event in EVENTS
        )
    }
    assert shown(old) == expected
    with old.connect() as connection:
        content = dict(connection.execute(sa.select(events.c.event_id, events.c.content)).all())
        moments = set(connection.scalars(sa.select(events.c.occurred_at).where(events.c.event_id == "order-2")))
        sums = {
            (day, outcome, int(count), amount)
            for day, outcome, count, amount in connection.execute(
                sa.select(totals.c.day, totals.c.outcome, totals.c.events, totals.c.revenue)
                .join(scopes, scopes.c.id == totals.c.scope_id)
                .where(scopes.c.event_key == "event1", totals.c.outcome != "held")
            )
        }
    assert content["order-4"] is None, "it was no digest"
    assert content["order-2"] == 0
    assert moments == {datetime(2026, 5, 1, 7, 0, 1, 250_000)}
    assert sums == {
        (date(2026, 5, 1), "delivered", 1, Decimal("1.1")),
        (date(2026, 5, 1), "rejected", 1, Decimal("2.2")),
        (date(2026, 5, 2), "in_doubt", 1, None),
        (date(2026, 5, 1), "in_doubt", 1, None),
    }


def test_a_ledger_without_the_newest_tables_and_columns_gets_them(ledger_engine: sa.Engine) -> None:
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW)
    assert ledger.begin_claim([job(1, "d", params={"environment": "sandbox"})]).result() == [Claim()]
    ledger.end()
    ledger.close()
    newest = {scopes.name: ("event_name", "conn_id"), tries.name: ("rate_group",)}
    with ledger_engine.begin() as connection:
        for name in ("adjust_suppression", "adjust_lane", "adjust_erasure", "adjust_verdict"):
            connection.exec_driver_sql(f"DROP TABLE {name}")
        for index in tries.indexes:
            if "rate_group" in index.columns:
                index.drop(connection)
        for table, columns in newest.items():
            for column in columns:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(versions.update().values(version=4))
    prepare(ledger_engine)
    assert shape(ledger_engine) == (PRESENT, [VERSION])
    indexes = {each["name"] for each in sa.inspect(ledger_engine).get_indexes(tries.name)}
    assert indexes >= {index.name for index in tries.indexes}
    with ledger_engine.connect() as connection:
        assert connection.execute(sa.select(scopes.c.event_name, scopes.c.conn_id)).all() == [("", "")]
        assert connection.scalars(sa.select(tries.c.rate_group)).all() == [""]


def test_held_events_of_an_older_ledger_stay_counted(ledger_engine: sa.Engine) -> None:
    make(ledger_engine, VERSION_2) if ledger_engine.dialect.name != "mysql" else pytest.skip("see above")
    prepare(ledger_engine)
    query = (
        sa.select(tries.c.run_id, totals.c.day, totals.c.events)
        .join(totals, totals.c.try_id == tries.c.id)
        .where(totals.c.outcome == "held")
    )
    with ledger_engine.connect() as connection:
        held = {tuple(each) for each in connection.execute(query)}
    assert held == {("run-1", date(2026, 5, 1), 7), ("run-9", date(2026, 5, 2), 3)}


def test_an_older_ledger_knows_what_was_delivered_and_to_whom(old: sa.Engine) -> None:
    """It did not keep the host. The first task that sends to a real one takes it over; a rehearsal does not."""
    delivered = job(1, "d1", event_id="order-1", token="event1", params={"app_token": "app1", "environment": "sandbox"})

    def claim(host: str, run: str) -> Any:
        ledger = Ledger(old, TaskInstanceId("dag", run, "send"), now=lambda: NOW)
        ledger.attach({None: host})
        [answer] = ledger.begin_claim([delivered]).result()
        ledger.end()
        ledger.close()
        return answer

    assert claim("127.0.0.1", "rehearsal") == Claim()
    assert claim("s2s.adjust.com", "night").reason == "differs_from_delivered"
    assert claim("s2s.eu.adjust.com", "other host") == Claim()


def test_a_migration_that_was_cut_short_is_finished(old: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for step in ("_copy", "_drop_old"):
        with monkeypatch.context() as patched:
            patched.setattr(migration, step, die)
            with pytest.raises(KeyboardInterrupt):
                prepare(old)
        # Whatever it did is undone, or may be done again.
        assert shape(old)[1] != [VERSION]
    prepare(old)
    assert shape(old) == (PRESENT, [VERSION])
    assert len(shown(old)) == len(EVENTS)


def test_tasks_that_begin_at_once_migrate_it_once(old: sa.Engine) -> None:
    failures: list[Exception] = []
    together = threading.Barrier(6)

    def begin() -> None:
        engine = sa.create_engine(old.url)
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
    assert shape(old) == (PRESENT, [VERSION])
    assert len(shown(old)) == len(EVENTS)


def test_a_database_that_cannot_hold_a_ledger_is_refused_before_a_table_is_made() -> None:
    made: list[str] = []
    engine = sa.create_mock_engine("mssql://", lambda statement, *_: made.append(str(statement)))
    engine.dialect.name = "redshift"
    with pytest.raises(AdjustConfigurationError, match=r"Postgres, SQLite, MySQL or MariaDB, .* redshift"):
        prepare(engine)  # type: ignore[arg-type]
    assert made == []


def test_ids_that_differ_by_case_accent_or_emoji_are_different_events(ledger_engine: sa.Engine) -> None:
    ids = ("order", "Order", "órder", "o\u0301rder", "order😀", "order😁", "order ", "ORDER")
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW)
    jobs = [
        job(place, "d", event_id=event_id, params={"environment": "sandbox"}) for place, event_id in enumerate(ids, 1)
    ]
    assert ledger.begin_claim(jobs).result() == [Claim()] * len(ids)
    ledger.end()
    ledger.close()
    other = Ledger(ledger_engine, TaskInstanceId("dag", "other", "send"), now=lambda: NOW, on_in_doubt="hold")
    answers = other.begin_claim(jobs[::-1]).result()
    other.close()
    assert {each.outcome for each in answers if not isinstance(each, Claim)} == {Outcome.IN_DOUBT}
    with ledger_engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == len(ids)


def test_a_table_of_that_name_that_no_ledger_made_is_left_alone(ledger_engine: sa.Engine) -> None:
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE adjust_delivery (parcel INTEGER)")
    with pytest.raises(AdjustConfigurationError, match="that no ledger made"):
        prepare(ledger_engine)
    assert sa.inspect(ledger_engine).has_table("adjust_delivery")


def test_a_ledger_that_another_task_made_meanwhile_is_taken_as_it_is(
    ledger_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(ledger_engine)
    looks = iter([None])
    present = migration._version
    # This task saw no ledger, and got the lock once the other had made it.
    monkeypatch.setattr(migration, "_version", lambda connection: next(looks, present(connection)))
    prepare(ledger_engine)
    assert shape(ledger_engine) == (PRESENT, [VERSION])


def test_a_first_error_of_tasks_that_begin_at_once_is_tried_again() -> None:
    attempts = iter([sa.exc.OperationalError("CREATE", {}, Exception("table exists")), None])

    def work() -> str:
        if error := next(attempts):
            raise error
        return "made"

    assert retry_once(work) == "made"


@pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg 3 is not installed")
def test_nothing_is_prepared_in_postgres(postgres_url: str) -> None:
    """A pooler in transaction mode gives each transaction another server."""
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        drop_all(connection)
    prepare(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.prepare_threshold is None  # type: ignore[union-attr]
    engine.dispose()


def test_a_ledger_works_through_a_pooler_in_transaction_mode(pgbouncer_url: str) -> None:
    engine = sa.create_engine(sa.make_url(pgbouncer_url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        drop_all(connection)
    ledger = Ledger(engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW)
    for place in range(1, 12):
        sent = job(place, "d", event_id=f"order-{place}", params={"environment": "sandbox"})
        assert ledger.begin_claim([sent]).result() == [Claim()]
    ledger.end()
    ledger.close()
    engine.dispose()


def test_tables_without_a_version_are_completed(ledger_engine: sa.Engine) -> None:
    """MySQL commits each of them by itself, so a task that was killed may leave them so."""
    prepare(ledger_engine)
    with ledger_engine.begin() as connection:
        connection.execute(versions.delete())
    prepare(ledger_engine)
    assert shape(ledger_engine) == (PRESENT, [VERSION])
