"""The ledger keeps the last comparison with Adjust, and what people call its events and apps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.schema import scopes, verdicts
from airflow_provider_adjust.s2s.ledger.statements import Numbers, Scope, ScopeNames
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.ledger.verdicts import ComparedDay, Verdict, write_verdicts

SCOPE = Scope("s2s.adjust.com", "4w565xzmb54d", "event", "f0ob4r", "production")
DAY = date(2026, 5, 1)
TASK = TaskInstanceId("sync", "run-1", "reconcile")


def compared(verdict: Verdict = Verdict.EQUAL, day: date = DAY, **values: Any) -> ComparedDay:
    return ComparedDay(SCOPE, day, verdict, sent_events=3, seen_events=3, **values)


def kept(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(verdicts).order_by(verdicts.c.day, verdicts.c.source)))


def test_the_last_comparison_of_a_day_replaces_the_one_before(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    write_verdicts(
        ledger_engine,
        "report",
        TASK,
        [compared(currency="EUR"), compared(day=DAY + timedelta(days=1), zone="Asia/Tokyo")],
    )
    write_verdicts(ledger_engine, "export", TASK, [compared(Verdict.NOT_BOOKED)])
    write_verdicts(ledger_engine, "report", TASK, [compared(Verdict.NOT_SENT, sent_revenue=Decimal("1.25"))])
    write_verdicts(ledger_engine, "report", TASK, [])
    found = kept(ledger_engine)
    assert [(each.day, each.source, each.verdict, each.currency, each.zone) for each in found] == [
        (DAY, "export", "not_booked", "", "UTC"),
        (DAY, "report", "not_sent", "", "UTC"),
        (DAY + timedelta(days=1), "report", "equal", "", "Asia/Tokyo"),
    ]
    assert found[1].sent_revenue == Decimal("1.25")
    assert (found[1].dag_id, found[1].task_id, found[1].sent_events) == ("sync", "reconcile", 3)


def test_old_verdicts_are_pruned(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    write_verdicts(ledger_engine, "report", TASK, [compared(), compared(day=DAY + timedelta(days=1))])
    prune(ledger_engine, older_than=timedelta(days=1), now=datetime(2026, 5, 3, tzinfo=UTC))
    assert [each.day for each in kept(ledger_engine)] == [DAY + timedelta(days=1)]


def test_a_scope_has_the_last_name_that_somebody_gave_it(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    given = (
        ScopeNames({}, {}),
        ScopeNames({"f0ob4r": "purchase"}, {"4w565xzmb54d": "adjust_ios"}),
        ScopeNames({}, {}),
        ScopeNames({"f0ob4r": "sale", "other": "x"}, {"another": "adjust_web", None: "adjust_all"}),
        ScopeNames({"f0ob4r": "n" * 300}, {}),
    )
    seen = []
    for names in given:
        numbers = Numbers()
        numbers.names = names
        numbers.learn(ledger_engine, {SCOPE}, ())
        with ledger_engine.connect() as connection:
            [found] = connection.execute(sa.select(scopes.c.event_name, scopes.c.conn_id))
        seen.append(tuple(found))
    assert seen == [
        ("", ""),
        ("purchase", "adjust_ios"),
        ("purchase", "adjust_ios"),
        ("sale", "adjust_all"),
        ("n" * 250, "adjust_all"),
    ]
