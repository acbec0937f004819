"""What is missing is counted once, and no more where it was missing once another task has sent it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import end_leases
from s2s_case import NOW, job

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.proof import Doubt, settle_seen
from airflow_provider_adjust.s2s.ledger.schema import STATUSES, events, totals, tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

NIGHT = TaskInstanceId("shop", "night", "send", -1, 1)
AGAIN = TaskInstanceId("resend", "by hand", "send", -1, 1)


@pytest.fixture
def ledgers(ledger_engine: sa.Engine) -> Iterator[Any]:
    made: list[Ledger] = []

    def make(task: TaskInstanceId, **options: Any) -> Ledger:
        made.append(Ledger(ledger_engine, task, **{"now": lambda: NOW, "clock": lambda: 0.0, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def purchase(number: int, **params: str) -> Job:
    return job(number, f"d{number}", event_id=f"order-{number}", params={"environment": "production", **params})


PURCHASES = [purchase(number, revenue="1.25", currency="EUR") for number in (1, 2, 3)]


def send(ledger: Ledger, jobs: list[Job], *ends: tuple[Outcome, str]) -> None:
    """What is claimed ends like this; what the ledger knows counts as it says."""
    for each, answer, end in zip(jobs, ledger.begin_claim(jobs).result(), ends, strict=True):
        ledger.settle(answer if isinstance(answer, Receipt) else receipt_for(each, *end, ""))
    ledger.flush()


def counted(engine: sa.Engine, task: TaskInstanceId) -> dict[tuple[str, str], tuple[int, Decimal]]:
    """What the task's last try has counted: events and revenue by outcome and reason."""
    where = (tries.c.dag_id == task.dag_id, tries.c.run_id == task.run_id, tries.c.is_latest, totals.c.events > 0)
    keys = totals.c.outcome, totals.c.reason
    sums = sa.func.sum(totals.c.events), sa.func.sum(totals.c.revenue)
    query = sa.select(*keys, *sums).join(tries, tries.c.id == totals.c.try_id).where(*where).group_by(*keys)
    with engine.connect() as connection:
        return {
            (outcome, reason): (int(count), round(Decimal(revenue or 0), 2))
            for outcome, reason, count, revenue in connection.execute(query)
        }


def offered_again(jobs: list[Job]) -> list[Job]:
    """As a rejected file gives them back."""
    return [Job(each.event, each.position, ResubmittedRow({}, each.event.event_id)) for each in jobs]


DELIVERED, REFUSED = (Outcome.DELIVERED, ""), (Outcome.REJECTED, "device_not_found")
IN_DOUBT = (Outcome.IN_DOUBT, "no_answer")


def test_what_another_task_sends_is_not_missing_any_more_where_it_was_refused(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    jobs = [*PURCHASES, purchase(4)]
    night = ledgers(NIGHT)
    send(night, jobs, DELIVERED, REFUSED, REFUSED, REFUSED)
    night.end()
    assert counted(ledger_engine, NIGHT)["rejected", "device_not_found"] == (3, Decimal("2.50"))
    # The task itself, once more: its last try counts.
    night = ledgers(replace(NIGHT, try_number=2))
    send(night, offered_again(jobs[1:]), REFUSED, REFUSED, REFUSED)
    night.end()
    assert counted(ledger_engine, NIGHT) == {("rejected", "device_not_found"): (3, Decimal("2.50"))}
    again = ledgers(AGAIN)
    send(again, offered_again(jobs[1:]), DELIVERED, REFUSED, DELIVERED)
    again.end()
    assert counted(ledger_engine, NIGHT) == {}
    assert counted(ledger_engine, AGAIN) == {
        ("delivered", ""): (2, Decimal("1.25")),
        ("rejected", "device_not_found"): (1, Decimal("1.25")),
    }


def test_what_a_live_task_has_counted_is_its_own(ledgers: Any, ledger_engine: sa.Engine) -> None:
    night, again = ledgers(NIGHT), ledgers(AGAIN)
    send(night, PURCHASES[:2], REFUSED, REFUSED)
    send(again, offered_again(PURCHASES[:1]), DELIVERED)
    send(night, PURCHASES[2:], REFUSED)
    night.end()
    assert counted(ledger_engine, NIGHT) == {("rejected", "device_not_found"): (3, Decimal("3.75"))}


def test_what_a_killed_try_was_sending_is_counted_once_by_the_try_that_holds_it(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    killed = ledgers(NIGHT)
    assert killed.begin_claim(PURCHASES).result() == [Claim()] * 3
    killed.close()
    end_leases(ledger_engine)
    for number in (2, 3):
        held = ledgers(replace(NIGHT, try_number=number), on_in_doubt="hold")
        send(held, PURCHASES, IN_DOUBT, IN_DOUBT, IN_DOUBT)
        held.end("EventsUnresolved")
        assert counted(ledger_engine, NIGHT) == {("in_doubt", "no_answer"): (3, Decimal("3.75"))}
        with ledger_engine.connect() as connection:
            records = connection.execute(sa.select(events)).all()
        assert {(STATUSES[each.status], each.lost_answers) for each in records} == {("in_doubt", 1)}
    # Adjust turns out to have one of them, and another DAG sends the second.
    first = next(each for each in records if each.event_id == "order-1")
    assert [*settle_seen(ledger_engine, [Doubt(first.scope_id, first.event_id, first.try_id, first.status)])]
    again = ledgers(AGAIN, on_in_doubt="resend")
    send(again, PURCHASES[1:2], DELIVERED)
    again.end()
    assert counted(ledger_engine, NIGHT) == {("in_doubt", "no_answer"): (1, Decimal("1.25"))}
    # What it met and did not send, it says; the event is where it was.
    foreign = ledgers(AGAIN, on_in_doubt="hold")
    send(foreign, PURCHASES[2:], IN_DOUBT)
    assert counted(ledger_engine, NIGHT) == {("in_doubt", "no_answer"): (1, Decimal("1.25"))}
