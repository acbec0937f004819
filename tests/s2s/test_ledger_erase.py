"""What is erased is not in the ledger any more, except for an id that keeps the event from being sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import end_leases, write_deliveries
from s2s_case import NOW, job

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.ledger.erase import TASK_ID, erase
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.schema import database_now, deliveries, events, existing, tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

STATUSES = ("delivered", "duplicate", "rejected", "in_doubt", "sending")
APP = {"app_token": "abc123abc123", "environment": "sandbox"}


@pytest.fixture
def engine(ledger_engine: sa.Engine) -> sa.Engine:
    prepare(ledger_engine)
    return ledger_engine


def remember(engine: sa.Engine, *facts: dict[str, Any], age: timedelta = timedelta(days=1)) -> None:
    with engine.begin() as connection:
        now = database_now(connection)
        given = {
            **APP,
            "event_token": "event1",
            "revenue": 12,
            "currency": "EUR",
            "content": 77,
            "occurred_at": now - age,
        }
        write_deliveries(connection, [{**given, "updated_at": now, **each} for each in facts])


def records(engine: sa.Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return {each.event_id: each for each in connection.execute(sa.select(events))}


def shown(engine: sa.Engine) -> dict[str, tuple[str, str]]:
    with engine.connect() as connection:
        return {each.event_id: (each.status, each.reason) for each in connection.execute(sa.select(deliveries))}


def claim(engine: sa.Engine, *jobs: Job, **options: Any) -> list[Claim | Receipt]:
    ledger = Ledger(engine, TaskInstanceId("dag", "later", "send"), now=lambda: NOW, **options)
    ledger.attach({None: "s2s.adjust.com"})
    answers = ledger.begin_claim(jobs).result()
    ledger.end()
    ledger.close()
    return answers


def event(position: int, event_id: str, token: str = "event1") -> Job:
    return job(position, f"d{position}", event_id=event_id, token=token, params=APP)


def test_all_but_id_and_status_is_erased_and_nothing_is_sent_again(engine: sa.Engine) -> None:
    remember(
        engine,
        *({"event_id": status, "status": status} for status in STATUSES),
        {"event_id": "x", "status": "rejected"},
    )
    found = erase(engine, [*STATUSES, "never met"])
    assert found is not None
    assert (dict(found.blanked), dict(found.deleted), found.before) == (dict.fromkeys(STATUSES, 1), {}, 0)
    kept = records(engine)
    with engine.connect() as connection:
        [eraser] = connection.execute(sa.select(tries).where(tries.c.task_id == TASK_ID)).all()
        now = database_now(connection)
    for status in STATUSES:
        record = kept[status]
        assert (record.content, record.revenue, record.currency, record.http_status) == (None,) * 4
        assert (record.position, record.lost_answers, record.try_id) == (0, 0, eraser.id)
        assert abs(record.occurred_at - now) < timedelta(minutes=1)
    assert kept["x"].content == 77
    # Nobody knows whether what was being sent arrived.
    expected = {status: (status if status != "sending" else "in_doubt", "erased") for status in STATUSES}
    assert shown(engine) == {**expected, "x": ("rejected", "")}
    for options in ({}, {"on_in_doubt": "hold"}, {"on_in_doubt": "verify"}, {"id_scope": "app"}):
        answers = claim(engine, *(event(place, status) for place, status in enumerate(STATUSES, 1)), **options)  # type: ignore[arg-type]
        assert [(each.outcome, each.reason) for each in answers] == [(Outcome.SKIPPED, "erased")] * 5  # type: ignore[union-attr]
    again = erase(engine, STATUSES)
    assert again is not None
    assert (again.before, again.blanked) == (5, {})


def test_an_erased_id_of_the_app_is_not_sent_as_another_event(engine: sa.Engine) -> None:
    remember(engine, {"event_id": "o-1", "status": "rejected"})
    erase(engine, ["o-1"])
    [answer] = claim(engine, event(1, "o-1", token="event2"), id_scope="app")
    assert isinstance(answer, Receipt)
    assert answer.reason == "erased"


def test_a_dry_run_counts_the_same_and_changes_nothing(engine: sa.Engine) -> None:
    remember(engine, *({"event_id": status, "status": status} for status in STATUSES))
    before = records(engine)
    found = erase(engine, STATUSES, dry_run=True)
    assert found is not None
    assert found.blanked.total() == 5
    assert records(engine) == before
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(tries.c.task_id == TASK_ID)) == 0


def test_a_database_without_a_ledger_gets_none(ledger_engine: sa.Engine) -> None:
    assert erase(ledger_engine, ["o-1"]) is None
    with ledger_engine.connect() as connection:
        assert existing(connection) == []


def test_what_adjust_would_not_take_any_more_is_deleted_unless_it_is_being_sent(engine: sa.Engine) -> None:
    remember(engine, *({"event_id": status, "status": status} for status in STATUSES), age=timedelta(days=60))
    found = erase(engine, STATUSES)
    assert found is not None
    assert found.deleted == dict.fromkeys(STATUSES[:-1], 1)
    assert records(engine).keys() == {"sending"}


def test_one_app_or_event_token_may_be_named(engine: sa.Engine) -> None:
    for app, token in (("app1", "event1"), ("app1", "event2"), ("app2", "event1")):
        remember(engine, {"event_id": "o-1", "status": "delivered", "app_token": app, "event_token": token})
    for options, count in (({"app_token": "app2", "event_token": "event2"}, 0), ({"app_token": "app1"}, 2), ({}, 1)):
        found = erase(engine, ["o-1"], **options)  # type: ignore[arg-type]
        assert found is not None
        assert found.blanked.total() == count


def test_many_events_are_erased_at_once(engine: sa.Engine) -> None:
    ids = [f"o-{place}" for place in range(1200)]
    remember(engine, *({"event_id": each, "status": "delivered"} for each in ids))
    found = erase(engine, ids)
    assert found is not None
    assert found.blanked == {"delivered": 1200}


def test_the_task_that_sends_an_event_meanwhile_does_not_write_it_back(engine: sa.Engine) -> None:
    ledger = Ledger(engine, TaskInstanceId("dag", "now", "send"), now=lambda: NOW)
    ledger.attach({None: "s2s.adjust.com"})
    sent = event(1, "o-1")
    assert ledger.begin_claim([sent]).result() == [Claim()]
    erase(engine, ["o-1"])
    ledger.settle(receipt_for(sent, Outcome.DELIVERED, "", "", http_status=200))
    ledger.end()
    ledger.close()
    [record] = records(engine).values()
    assert (record.content, record.http_status) == (None, None)
    [answer] = claim(engine, sent)
    assert isinstance(answer, Receipt)
    assert answer.reason == "erased"


def test_the_errors_of_tries_do_not_name_the_event_any_more(engine: sa.Engine) -> None:
    remember(engine, {"event_id": "o-1", "status": "delivered"})
    error = "StreamOutOfOrder: row 2 (event o-1) happened at ..., before row 1 (event o-12) at ..."
    remember(engine, {"event_id": "o-2", "status": "delivered", "run_id": "another"})
    with engine.begin() as connection:
        connection.execute(tries.update().values(error=error))
        of_another = tries.update().where(tries.c.run_id == "another")
        connection.execute(of_another.values(error="StreamOutOfOrder: row 2 (event o-3) happened at ..."))
    found = erase(engine, ["o-1"])
    assert found is not None
    assert found.errors == 1
    with engine.connect() as connection:
        errors = set(connection.scalars(sa.select(tries.c.error)))
    assert error.replace("(event o-1)", "(event ***)") in errors


def test_prune_deletes_what_was_erased_long_ago_whatever_its_status(engine: sa.Engine) -> None:
    remember(
        engine,
        *({"event_id": status, "status": status} for status in STATUSES),
        {"event_id": "x", "status": "in_doubt"},
    )
    erase(engine, STATUSES)
    end_leases(engine)
    with engine.connect() as connection:
        now = database_now(connection)
    assert prune(engine, older_than=timedelta(days=58), now=_utc(now + timedelta(days=57))) == 0
    assert prune(engine, older_than=timedelta(days=58), now=_utc(now + timedelta(days=90))) == 5
    assert records(engine).keys() == {"x"}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=NOW.tzinfo)
