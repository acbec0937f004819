"""When the ledger writes, what it does during a write, and how it handles a faster task."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import end_leases
from s2s_case import NOW, job
from sqlalchemy.exc import DBAPIError

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.ledger.ledger import WRITE_EVERY, Ledger
from airflow_provider_adjust.s2s.ledger.schema import STATUSES, drop_all, events
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId, begin_try

#: How often a write is tried that others keep coming in between.
ATTEMPTS = 20


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger_of(engine: sa.Engine, run: str = "mine", **options: Any) -> Ledger:
    return Ledger(engine, TaskInstanceId("dag", run, "send"), **{"now": lambda: NOW, "clock": Clock(), **options})


def jobs_of(count: int) -> list[Job]:
    return [job(at, f"d{at}", event_id=f"o-{at}", params={"environment": "sandbox"}) for at in range(1, count + 1)]


def ended(sent: Job, outcome: Outcome = Outcome.DELIVERED) -> Receipt:
    return receipt_for(sent, outcome, "", "")


def statuses(engine: sa.Engine) -> Counter[str]:
    with engine.connect() as connection:
        return Counter(STATUSES[number] for number in connection.scalars(sa.select(events.c.status)))


@pytest.mark.parametrize(
    ("settled", "seconds", "written"),
    [
        pytest.param(3, 0.0, False, id="less than two batches"),
        pytest.param(4, 0.0, True, id="two batches"),
        pytest.param(1, WRITE_EVERY - 0.25, False, id="less than a second"),
        pytest.param(1, WRITE_EVERY, True, id="a second"),
    ],
)
def test_what_is_settled_is_written_by_two_batches_and_by_the_second(
    ledger_engine: sa.Engine, settled: int, seconds: float, written: bool
) -> None:
    clock, jobs = Clock(), jobs_of(settled)
    ledger = ledger_of(ledger_engine, batch_size=2, clock=clock)
    ledger.begin_claim(jobs).result()
    clock.now += seconds
    for each in jobs:
        ledger.settle(ended(each))
    ledger.close()
    assert statuses(ledger_engine) == {"delivered" if written else "sending": settled}


def test_what_was_not_claimed_has_no_record(ledger_engine: sa.Engine) -> None:
    ledger, (unclaimed,) = ledger_of(ledger_engine), jobs_of(1)
    ledger.settle(Receipt(Outcome.INVALID, "missing_device_id", None, 1))
    ledger.settle(ended(unclaimed))
    ledger.flush()
    ledger.close()
    assert statuses(ledger_engine) == {}


def test_an_event_of_another_task_keeps_its_record(ledger_engine: sa.Engine) -> None:
    lost, (shared,) = ledger_of(ledger_engine, "lost"), jobs_of(1)
    lost.begin_claim([shared]).result()
    end_leases(ledger_engine)
    mine = ledger_of(ledger_engine, on_in_doubt="hold")
    (receipt,) = mine.begin_claim([shared]).result()
    assert receipt is not None
    assert receipt.outcome is Outcome.IN_DOUBT
    mine.settle(receipt)
    mine.flush()
    assert statuses(ledger_engine) == {"sending": 1}
    for each in (lost, mine):
        each.close()


def test_what_was_claimed_and_never_sent_is_forgotten(ledger_engine: sa.Engine) -> None:
    """Else it would be in doubt for the next task, although it surely did not reach Adjust."""
    mine, other, jobs = ledger_of(ledger_engine), ledger_of(ledger_engine, "other"), jobs_of(3)
    assert mine.begin_claim(jobs[:2]).result() == [Claim(), Claim()]
    assert other.begin_claim(jobs[2:]).result() == [Claim()]
    mine.settle(ended(jobs[0]))
    mine.settle(ended(jobs[1], Outcome.HELD))
    mine.flush()
    assert statuses(ledger_engine) == {"delivered": 1, "sending": 1}
    following = ledger_of(ledger_engine, "following", on_in_doubt="hold")
    assert following.begin_claim(jobs[1:2]).result() == [Claim()]
    for each in (mine, other, following):
        each.close()


def test_a_claim_that_another_took_over_is_not_forgotten_for_it(ledger_engine: sa.Engine) -> None:
    late, (shared,) = ledger_of(ledger_engine), jobs_of(1)
    late.begin_claim([shared]).result()
    end_leases(ledger_engine)
    with ledger_engine.begin() as connection:
        other = begin_try(connection, TaskInstanceId("dag", "other", "send"), 60)
        connection.execute(events.update().values(try_id=other))
    late.settle(ended(shared, Outcome.HELD))
    late.flush()
    late.close()
    assert statuses(ledger_engine) == {"sending": 1}


def test_events_settled_during_a_write_are_part_of_the_next(ledger_engine: sa.Engine) -> None:
    ledger, jobs = ledger_of(ledger_engine, batch_size=1), jobs_of(6)
    ledger.begin_claim(jobs).result()
    database, writes = threading.Event(), []

    def take_time(_: sa.Connection) -> None:
        writes.append("begun")
        assert database.wait(60), "the delivery waits for the database"

    sa.event.listen(ledger_engine, "begin", take_time)
    for each in jobs[:4]:
        ledger.settle(ended(each))
    database.set()
    ledger.begin_claim([]).result()  # the first is written, and what came meanwhile
    assert len(writes) == 2
    for each in jobs[4:]:
        ledger.settle(ended(each))
    ledger.flush()
    ledger.close()
    assert len(writes) == 3
    assert statuses(ledger_engine) == {"delivered": 6}


def test_a_failed_write_is_raised_by_the_next_one(ledger_engine: sa.Engine) -> None:
    ledger, jobs = ledger_of(ledger_engine, batch_size=1), jobs_of(4)
    ledger.begin_claim(jobs).result()

    def fail(_: sa.Connection) -> None:
        raise OSError("the database is away")

    sa.event.listen(ledger_engine, "begin", fail)
    for each in jobs[:2]:
        ledger.settle(ended(each))
    assert isinstance(ledger.begin_claim([]).exception(), OSError)  # by now the first has failed, too
    with pytest.raises(OSError, match="away"):
        ledger.settle(ended(jobs[2]))
    sa.event.remove(ledger_engine, "begin", fail)
    ledger.settle(ended(jobs[3]))
    ledger.flush()
    ledger.close()
    assert statuses(ledger_engine) == {"delivered": 4}


# -- lost races: Postgres transactions that do not see what others write meanwhile -------------------------------------


@pytest.fixture
def strict(postgres_url: str) -> Iterator[sa.Engine]:
    url = sa.make_url(postgres_url).set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(url, isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        drop_all(connection)
    yield engine
    engine.dispose()


class Rival:
    """Another task: it claims the event after this one's transaction has begun, and gives it back before the next does.

    The last time it keeps what it has.
    """

    def __init__(self, engine: sa.Engine, shared: Job, *, wins: int) -> None:
        self._engine = sa.create_engine(engine.url)
        self._ledger = ledger_of(self._engine, "rival")
        self._shared = shared
        self._wins = wins
        self.claims = 0
        sa.event.listen(engine, "before_cursor_execute", self._before)

    def _before(self, _: sa.Connection, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT INTO adjust_event") and self.claims < self._wins:
            assert self._ledger.begin_claim([self._shared]).result() == [Claim()]
            self.claims += 1
        elif statement.startswith("UPDATE adjust_event") and 0 < self.claims < self._wins:
            self._ledger.settle(ended(self._shared, Outcome.HELD))
            self._ledger.flush()

    def close(self) -> None:
        self._ledger.close()
        self._engine.dispose()


@pytest.mark.parametrize("lost", [1, 2, ATTEMPTS - 1, ATTEMPTS])
def test_a_lost_race_is_retried_a_limited_number_of_times(strict: sa.Engine, lost: int) -> None:
    (first, shared), ledger = jobs_of(2), ledger_of(strict)
    ledger.begin_claim([first]).result()
    ledger.settle(ended(first))
    rival = Rival(strict, shared, wins=lost)
    answer = ledger.begin_claim([shared])
    if lost < ATTEMPTS:
        (receipt,) = answer.result()
        assert receipt is not None
        assert (receipt.outcome, receipt.reason) == (Outcome.HELD, "sent_elsewhere")
    else:
        assert answer.exception().orig.pgcode == "40001"
    assert rival.claims == lost
    ledger.flush()
    assert statuses(strict) == {"delivered": 1, "sending": 1}
    for each in (ledger, rival):
        each.close()


def test_a_failure_other_than_a_lost_race_is_not_retried(ledger_engine: sa.Engine) -> None:
    ledger, begun = ledger_of(ledger_engine), []
    with ledger_engine.begin() as connection:
        drop_all(connection)
    sa.event.listen(ledger_engine, "begin", lambda _: begun.append("a transaction"))
    assert isinstance(ledger.begin_claim(jobs_of(1)).exception(), DBAPIError)
    assert len(begun) == 1
    ledger.close()


def test_a_batch_does_not_read_all_events_of_its_try(ledger_engine: sa.Engine) -> None:
    """The database does not know how large a try is that has just begun, and must not look for a batch by its try."""
    earlier, ledger = ledger_of(ledger_engine, "earlier"), ledger_of(ledger_engine)
    jobs = jobs_of(400)
    earlier.begin_claim(jobs[200:]).result()
    earlier.close()
    if ledger_engine.dialect.name == "postgresql":
        with ledger_engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE adjust_event")
    ledger.begin_claim(jobs[:200]).result()
    written: list[tuple[str, Any]] = []

    def note(*arguments: Any) -> None:
        if arguments[2].startswith(("UPDATE adjust_event", "DELETE FROM adjust_event")):
            written.append((arguments[2], arguments[3]))

    sa.event.listen(ledger_engine, "before_cursor_execute", note)
    for each in jobs[:64]:
        ledger.settle(ended(each, Outcome.HELD if each.position % 2 else Outcome.DELIVERED))
    ledger.flush()
    sa.event.remove(ledger_engine, "before_cursor_execute", note)
    ledger.close()
    assert len(written) == 2
    explain = "EXPLAIN QUERY PLAN" if ledger_engine.dialect.name == "sqlite" else "EXPLAIN"
    with ledger_engine.connect() as connection:
        for statement, parameters in written:
            plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            assert "ix_adjust_event_try_id" not in str(plan)


def test_a_batch_does_not_read_all_events_of_a_scope_that_statistics_do_not_know(postgres_url: str) -> None:
    """Postgres expects no events of an event token that has just begun, and must not look for a batch by its scope."""
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        drop_all(connection)
    jobs = {
        token: [job(at, f"d{at}", event_id=f"o-{at}", token=token) for at in range(1, 601)]
        for token in ("aaaaaa", "bbbbbb", "cccccc")
    }
    ledger = ledger_of(engine)
    for token, of_it in jobs.items():
        ledger.begin_claim(of_it).result()
        for each in of_it:
            ledger.settle(ended(each))
        ledger.flush()
        if token == "aaaaaa":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ALTER TABLE adjust_event SET (autovacuum_enabled = false)")
                connection.exec_driver_sql("ANALYZE adjust_event")
    ledger.end()
    ledger.close()
    executed: dict[str, Any] = {}

    def note(*arguments: Any) -> None:
        if "WHERE adjust_event.scope_id" in arguments[2].replace("\n", ""):
            executed[arguments[2]] = arguments[3]

    sa.event.listen(engine, "before_cursor_execute", note)
    again = ledger_of(engine)
    again.begin_claim(jobs["bbbbbb"][:4]).result()  # found, and moved to this try
    new = [job(at, f"d{at}", event_id=f"n-{at}", token="bbbbbb") for at in range(1, 5)]
    again.begin_claim(new).result()
    for each in new:
        again.settle(ended(each, Outcome.HELD if each.position % 2 else Outcome.DELIVERED))
    again.flush()
    again.close()
    sa.event.remove(engine, "before_cursor_execute", note)
    found = [statement.split()[0] for statement in executed]
    assert sorted(found) == ["DELETE", "SELECT", "SELECT", "UPDATE", "UPDATE"]
    with engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")  # the table is too small for the choice of an index
        for statement, parameters in executed.items():
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
            assert plan.count("scope_id") == len(re.findall(r"Index Cond: .*scope_id.*event_id", plan)), plan
    engine.dispose()
