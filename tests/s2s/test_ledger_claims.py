"""Which try an event belongs to: its identity, the try that claimed it, and who may take it over."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from effort import examples
from fake_transport import OK, FakeTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import end_leases, forget_everything
from s2s_case import NOW, job

from airflow_provider_adjust.s2s import Route, RowOptions, Sender
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.ledger import ledger as ledger_module
from airflow_provider_adjust.s2s.ledger.lease import wait_for_earlier_tries
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import STATUSES, deliveries, events, totals, tries
from airflow_provider_adjust.s2s.ledger.statements import retry_while_away
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId, counts_of
from airflow_provider_adjust.s2s.transports import Target

#: A lease that a test can wait for.
SHORT = 0.6


@pytest.fixture
def ledgers(ledger_engine: sa.Engine) -> Iterator[Any]:
    """Makes ledgers, which are closed at the end."""
    made: list[Ledger] = []

    def make(run: str = "mine", *, try_number: int = 1, **options: Any) -> Ledger:
        task = TaskInstanceId("dag", run, "send", -1, try_number)
        made.append(Ledger(ledger_engine, task, **{"now": lambda: NOW, "clock": lambda: 0.0, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def event(position: int, event_id: str, *, at: int | None = None, token: str = "event1", **params: str) -> Job:
    facts: dict[str, Any] = {"event_id": event_id, "token": token, "params": {"environment": "sandbox", **params}}
    made = job(position if at is None else at, f"d{position}", **facts)
    return Job(made.event, position, {"order_id": event_id})


def claim(ledger: Ledger, *jobs: Job) -> list[Claim | Receipt]:
    return ledger.begin_claim(jobs).result()


def deliver(ledger: Ledger, *jobs: Job) -> None:
    assert claim(ledger, *jobs) == [Claim()] * len(jobs)
    for each in jobs:
        ledger.settle(receipt_for(each, Outcome.DELIVERED, "", "", http_status=200))
    ledger.flush()


def reasons_of(answers: list[Claim | Receipt]) -> list[str]:
    return [each.reason if isinstance(each, Receipt) else "claim" for each in answers]


def statuses(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {each.event_id: STATUSES[each.status] for each in connection.execute(sa.select(events))}


def states(engine: sa.Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [(each.run_id, each.state) for each in connection.execute(sa.select(tries).order_by(tries.c.id))]


# -- identity ----------------------------------------------------------------------------------------------------------


def test_a_repeated_id_is_refused_when_this_try_has_claimed_it(ledgers: Any) -> None:
    """Whether both are in one batch, the first is settled by then, or is not."""
    ledger = ledgers()
    first, again = event(1, "contract 77"), event(2, "contract 77", at=31)
    assert reasons_of(claim(ledger, first, again)) == ["claim", "repeated_event_id"]
    assert reasons_of(claim(ledger, event(3, "contract 77", at=60))) == ["repeated_event_id"]
    ledger.settle(receipt_for(first, Outcome.DELIVERED, "", ""))
    [refusal] = claim(ledger, event(4, "contract 77", at=90))
    assert isinstance(refusal, Receipt)
    assert (refusal.outcome, refusal.reason) == (Outcome.INVALID, "repeated_event_id")
    assert "row 1 " in refusal.detail
    assert "id_field" in refusal.detail


def test_a_repeated_id_is_refused_by_every_try(ledgers: Any) -> None:
    rows = [event(1, "contract 77"), event(2, "contract 77", at=31)]
    ledger = ledgers()
    deliver(ledger, rows[0])
    assert reasons_of(claim(ledger, rows[1])) == ["repeated_event_id"]
    ledger.end("EventsUnresolved")
    for number in (2, 3):
        ledger = ledgers(try_number=number)
        answers = [answer for each in rows for answer in claim(ledger, each)]
        assert [each.outcome for each in answers if isinstance(each, Receipt)] == [Outcome.DELIVERED, Outcome.INVALID]
        ledger.end()


def test_the_claim_of_a_commit_with_a_lost_answer_is_not_a_repeated_id(ledgers: Any) -> None:
    ledger = ledgers()
    assert claim(ledger, event(1, "order-1")) == [Claim()]
    # The same row once more, as the writer asks when it does not know whether the first was committed.
    assert claim(ledger, event(1, "order-1")) == [Claim()]


@pytest.mark.parametrize("run", ["mine", "another"])
def test_a_delivered_event_with_other_content_is_recognised(ledgers: Any, run: str) -> None:
    first = ledgers()
    deliver(first, event(1, "order-1", revenue="10.00", currency="EUR"))
    first.end()
    corrected = event(1, "order-1", revenue="12.00", currency="EUR")
    ledger = ledgers(run, try_number=2)
    [answer] = claim(ledger, corrected)
    assert isinstance(answer, Receipt)
    assert (answer.outcome, answer.reason) == (Outcome.SKIPPED, "differs_from_delivered")
    assert answer.detail.count("digest") == 1
    # What was delivered stays known as it was.
    same = ledgers("third")
    assert reasons_of(claim(same, event(1, "order-1", revenue="10.00", currency="EUR"))) == ["delivered_before"]


def test_one_id_names_an_event_of_each_host_app_endpoint_token_and_environment(ledgers: Any) -> None:
    ledger = ledgers()
    ledger.attach({None: "s2s.adjust.com", "other": "127.0.0.1"})
    jobs = [
        event(1, "5001"),
        event(2, "5001", token="first1"),
        event(3, "5001", app_token="app2"),
        event(4, "5001", environment="production"),
    ]
    jobs.append(Job(event(5, "5001").event, 5, None, "other"))
    assert claim(ledger, *jobs) == [Claim()] * 5


def test_an_id_may_be_one_of_the_whole_app(ledgers: Any, ledger_engine: sa.Engine) -> None:
    first = ledgers()
    deliver(first, event(1, "5001", token="first1"))
    first.end()
    by_event = ledgers("by event")
    assert reasons_of(claim(by_event, event(1, "5001"))) == ["claim"]
    assert by_event.known_under_another_key == 1
    by_app = ledgers("by app", id_scope="app")
    [answer] = claim(by_app, event(1, "5001", token="third1"))
    assert isinstance(answer, Receipt)
    assert answer.reason == "delivered_before"
    assert reasons_of(claim(by_app, event(2, "5002", token="third1"))) == ["claim"]
    # One of this try's own is a repeated id; one of a live try is being sent; one in doubt may be in Adjust.
    assert reasons_of(claim(by_app, event(3, "5002", token="fourth"))) == ["repeated_event_id"]
    other = ledgers("other", id_scope="app")
    assert reasons_of(claim(other, event(1, "5002", token="fourth"))) == ["sent_elsewhere"]
    end_leases(ledger_engine)
    last = ledgers("last", id_scope="app")
    assert reasons_of(claim(last, event(1, "5002", token="fourth"))) == ["no_answer"]


def test_an_id_that_the_app_refused_under_another_token_may_be_sent(ledgers: Any) -> None:
    first = ledgers()
    refused = event(1, "5001", token="first1")
    claim(first, refused)
    first.settle(receipt_for(refused, Outcome.REJECTED, "bad_event_state", ""))
    first.end()
    assert reasons_of(claim(ledgers("by app", id_scope="app"), event(1, "5001"))) == ["claim"]


# -- leases --------------------------------------------------------------------------------------------------------------


def test_a_claim_lives_as_long_as_its_try_renews_its_lease(ledgers: Any, ledger_engine: sa.Engine) -> None:
    slow, shared = ledgers("slow", lease=9.0), event(1, "order-1")
    claim(slow, shared)
    end_leases(ledger_engine)  # it has run out, and nobody else has seen that before it is renewed
    query = sa.select(tries.c.lease_until).where(tries.c.run_id == "slow")
    deadline = time.monotonic() + 60
    while True:
        with ledger_engine.connect() as connection:
            if (connection.scalar(query) or NOW).year > 2020:
                break
        assert time.monotonic() < deadline, "its thread does not renew it"
        time.sleep(0.05)
    assert reasons_of(claim(ledgers("other"), shared)) == ["sent_elsewhere"]
    assert slow.may_send()


def test_a_dead_try_is_taken_over_and_cannot_come_back(ledgers: Any, ledger_engine: sa.Engine) -> None:
    dead, shared = ledgers("dead"), event(1, "order-1")
    claim(dead, shared)
    end_leases(ledger_engine)
    heir = ledgers("heir")
    assert claim(heir, shared) == [Claim(sent_before=True, lost_answers=1)]
    assert dict(states(ledger_engine)) == {"dead": "lost", "heir": "running"}
    # The dead one was only slow. Its late answer changes nothing, whatever it is.
    for late in (Outcome.DELIVERED, Outcome.HELD):
        dead._open[1] = dead._place(shared.event, None)
        dead.settle(receipt_for(shared, late, "", ""))
        dead.flush()
        assert statuses(ledger_engine) == {"order-1": "sending"}
    dead._lease.renew()
    with pytest.raises(LedgerUnavailable, match="taken over"):
        dead.may_send()
    heir.settle(receipt_for(shared, Outcome.DELIVERED, "", ""))
    heir.end()
    assert statuses(ledger_engine) == {"order-1": "delivered"}


def test_a_try_that_cannot_renew_its_lease_sends_nothing_before_it_runs_out(
    ledgers: Any, ledger_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledgers(lease=60.0)
    ledger.attach({}, longest_request=20.0)
    now = time.monotonic()
    for passed, may_send in ((0, True), (39, True), (41, False), (60, False), (40 + ledger_module.PATIENCE - 1, False)):
        monkeypatch.setattr("airflow_provider_adjust.s2s.ledger.lease.time.monotonic", lambda at=now + passed: at)
        assert ledger.may_send() is may_send, passed
    monkeypatch.setattr("airflow_provider_adjust.s2s.ledger.lease.time.monotonic", lambda: now + 999)
    with pytest.raises(LedgerUnavailable, match="lease"):
        ledger.may_send()


def test_a_retry_waits_for_the_lease_of_the_try_that_was_killed(ledgers: Any, ledger_engine: sa.Engine) -> None:
    killed, shared = ledgers(lease=SHORT), event(1, "order-1")
    claim(killed, shared)
    killed.close()  # nothing renews it any more, and nobody ended it
    retry = ledgers(try_number=2, lease=SHORT)
    assert retry.waited > 0
    assert claim(retry, shared) == [Claim(sent_before=True, lost_answers=1)]


def test_a_try_that_ended_is_not_waited_for(ledgers: Any) -> None:
    first = ledgers()
    first.end("EventsUnresolved")
    assert ledgers(try_number=2).waited == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))
@given(
    ids=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    batches=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    dies=st.booleans(),
)
def test_any_two_runs_deliver_each_event_once_and_call_nothing_delivered_that_was_not_sent(
    ledger_engine: sa.Engine, ids: list[str], batches: list[int], dies: bool
) -> None:
    """Two runs take turns over one window with repeated ids; one may die between two batches."""
    prepare(ledger_engine)
    forget_everything(ledger_engine)
    jobs = [event(position, each) for position, each in enumerate(ids, start=1)]
    ledgers = {
        run: Ledger(ledger_engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW, on_in_doubt="hold")
        for run in ("one", "two")
    }
    left = {run: list(jobs) for run in ledgers}
    sent: Counter[int] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    for turn, size in enumerate(batches):
        run = ("one", "two")[turn % 2]
        if dies and run == "two" and turn > 2:
            continue
        batch, left[run] = left[run][:size], left[run][size:]
        for each, answer in zip(batch, claim(ledgers[run], *batch), strict=True):
            if isinstance(answer, Claim):
                sent[each.position] += 1
                answer = receipt_for(each, Outcome.DELIVERED, "", "")
            outcomes[run, each.event.event_id] += answer.outcome is Outcome.DELIVERED
            ledgers[run].settle(answer)
    for ledger in ledgers.values():
        ledger.end()
        ledger.close()
    assert max(sent.values(), default=1) == 1
    assert sum(outcomes.values()) == sum(sent.values())
    assert len({jobs[position - 1].event.event_id for position in sent}) == sent.total(), "one id, sent twice"


# -- in doubt ---------------------------------------------------------------------------------------------------------


def test_an_event_in_doubt_is_sent_again_a_limited_number_of_times_over_all_tries(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    shared = event(1, "order-1")
    claim(ledgers("first"), shared)
    for limit, run, expected in ((1, "second", "claim"), (1, "third", "too_many_resends"), (2, "fourth", "claim")):
        end_leases(ledger_engine)
        assert reasons_of(claim(ledgers(run, max_resends=limit), shared)) == [expected]
    end_leases(ledger_engine)
    assert claim(ledgers("looks it up", on_in_doubt="verify"), shared) == [Claim(sent_before=True, lost_answers=3)]


# -- what ends a delivery ----------------------------------------------------------------------------------------------


def test_a_lease_that_is_lost_ends_a_delivery_and_one_that_waits_sends_nothing(ledger_engine: sa.Engine) -> None:
    rows = [
        {"order_id": f"o-{number}", "adid": f"d-{number}", "created_at": NOW.timestamp() - 100 + number}
        for number in range(4)
    ]
    options = RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id")
    transport = FakeTransport(otherwise=OK)
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "mine", "send"), now=lambda: NOW)
    route = Route(EventParser(options), Target("http://127.0.0.1/event"))
    sender = Sender({None: route}, transport, ledger=ledger, now=lambda: NOW)
    answers = iter([False, False])

    def may_send(**_: float) -> bool:
        if next(answers, None) is False:
            return False
        raise LedgerUnavailable("another try has taken over")

    ledger._lease.may_send = may_send  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable, match="taken over"):
        list(sender.send(rows))
    assert transport.positions == []
    ledger.end("LedgerUnavailable")
    ledger.close()
    assert statuses(ledger_engine) == {}


def test_a_killed_task_waits_for_its_database_a_few_seconds_only(ledgers: Any) -> None:
    ledger = ledgers()
    ledger.hurry()
    assert ledger._patience == ledger_module.HURRIED_PATIENCE < ledger_module.PATIENCE
    claim(ledger, event(1, "order-1"))
    assert ledger._patience == ledger_module.HURRIED_PATIENCE, "a write that worked changes nothing about it"


# -- tries and totals ---------------------------------------------------------------------------------------------------


def test_a_try_counts_every_row_and_the_money_that_did_not_arrive(ledgers: Any, ledger_engine: sa.Engine) -> None:
    ledger = ledgers()
    first, second = (event(place, f"order-{place}", revenue="10.50", currency="EUR") for place in (1, 2))
    claim(ledger, first, second)
    ledger.settle(receipt_for(first, Outcome.DELIVERED, "", ""))
    ledger.flush()
    ledger.settle(receipt_for(second, Outcome.REJECTED, "bad_event_state", ""))
    ledger.settle(Receipt(Outcome.INVALID, "missing_device_id", None, 3))
    ledger.settle(receipt_for(event(4, "order-4", revenue="2", currency="USD"), Outcome.HELD, "lane_held", ""))
    ledger.settle(receipt_for(event(5, "order-5", revenue="2", currency="USD"), Outcome.HELD, "lane_held", ""))
    ledger.rejected_path = "/tmp/rejected.jsonl"
    ledger.end("RejectedBudgetExceeded: 2 of 5")
    with ledger_engine.connect() as connection:
        rows = connection.execute(sa.select(totals).order_by(totals.c.number)).all()
        [ended] = connection.execute(sa.select(tries)).all()
    found = {
        (row.outcome, row.reason, row.currency, row.events, None if row.revenue is None else float(row.revenue))
        for row in rows
    }
    assert found == {
        ("delivered", "", "EUR", 1, 10.5),
        ("rejected", "bad_event_state", "EUR", 1, 10.5),
        ("invalid", "missing_device_id", None, 1, None),
        ("held", "lane_held", "USD", 2, 4.0),
    }
    assert (ended.state, ended.read, ended.error) == ("failed", 5, "RejectedBudgetExceeded: 2 of 5")
    assert ended.rejected_path == "/tmp/rejected.jsonl"


def test_what_a_killed_try_had_settled_and_what_it_was_sending_can_be_read(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    jobs = [event(place, f"order-{place}", revenue="10.50", currency="EUR") for place in (1, 2, 3)]
    ledger = ledgers()
    claim(ledger, *jobs)
    ledger.settle(receipt_for(jobs[0], Outcome.DELIVERED, "", ""))
    ledger.settle(Receipt(Outcome.INVALID, "missing_device_id", None, 4))
    ledger.flush()
    with ledger_engine.connect() as connection:
        counts = counts_of(connection, TaskInstanceId("dag", "mine", "send"))
        assert counts_of(connection, TaskInstanceId("dag", "mine", "send", try_number=2)) is None
    assert counts is not None
    assert counts.sending == 2
    assert sorted(counts.counted, key=lambda each: each.outcome) == [
        ("delivered", "", "EUR", 1, Decimal("10.5")),
        ("invalid", "missing_device_id", None, 1, None),
    ]


def test_the_tries_of_a_task_count_each_delivery_once(ledgers: Any, ledger_engine: sa.Engine) -> None:
    jobs = [event(place, f"order-{place}") for place in (1, 2)]
    first = ledgers()
    deliver(first, jobs[0])
    first.end("AdjustUnreachable")
    second = ledgers(try_number=2)
    for each, answer in zip(jobs, claim(second, *jobs), strict=True):
        second.settle(answer if isinstance(answer, Receipt) else receipt_for(each, Outcome.DELIVERED, "", ""))
    second.end()
    with ledger_engine.connect() as connection:
        delivered = connection.scalar(sa.select(sa.func.sum(totals.c.events)).where(totals.c.outcome == "delivered"))
        latest = connection.execute(sa.select(tries.c.try_number, tries.c.is_latest).order_by(tries.c.id)).all()
    assert delivered == 2
    assert [tuple(each) for each in latest] == [(1, False), (2, True)]


def test_the_view_shows_what_a_dead_try_was_sending_as_in_doubt(ledgers: Any, ledger_engine: sa.Engine) -> None:
    ledger = ledgers()
    claim(ledger, event(1, "order-1"))
    for alive, status in ((True, "sending"), (False, "in_doubt")):
        if not alive:
            end_leases(ledger_engine)
        with ledger_engine.connect() as connection:
            assert list(connection.scalars(sa.select(deliveries.c.status))) == [status]


# -- a database that is away for a while ---------------------------------------------------------------------------------


def test_a_write_waits_for_a_database_that_is_away_and_settles_what_was_answered_meanwhile(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    ledger, jobs = ledgers(), [event(place, f"order-{place}") for place in (1, 2)]
    claim(ledger, jobs[0])
    failures = iter(range(3))

    def fail(connection: sa.Connection, *_: Any) -> None:
        if next(failures, None) is not None:
            raise sa.exc.OperationalError("INSERT", {}, Exception("cannot execute INSERT in a read-only transaction"))

    sa.event.listen(ledger_engine, "before_cursor_execute", fail)
    answer = ledger.begin_claim([jobs[1]])
    ledger.settle(receipt_for(jobs[0], Outcome.DELIVERED, "", ""))
    assert answer.result() == [Claim()]
    ledger.flush()
    sa.event.remove(ledger_engine, "before_cursor_execute", fail)
    assert statuses(ledger_engine) == {"order-1": "delivered", "order-2": "sending"}


def test_a_database_that_stays_away_ends_the_write_after_its_patience(
    ledgers: Any, ledger_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledgers()
    ledger._patience = 0.3
    away = threading.Event()

    def fail(connection: sa.Connection, *_: Any) -> None:
        if not away.is_set():
            raise sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection"))

    sa.event.listen(ledger_engine, "before_cursor_execute", fail)
    with pytest.raises(sa.exc.OperationalError):
        claim(ledger, event(1, "order-1"))
    # It does not wait again for each of the writes at the end.
    began = time.monotonic()
    ledger.settle(receipt_for(event(2, "order-2"), Outcome.HELD, "stopped", ""))
    with pytest.raises(sa.exc.OperationalError):
        ledger.flush()
    assert time.monotonic() - began < 20
    away.set()
    ledger.flush()
    assert claim(ledger, event(1, "order-1")) == [Claim()]
    sa.event.remove(ledger_engine, "before_cursor_execute", fail)


def test_offers_of_unknown_devices_and_days_are_by_the_given_clock(ledgers: Any) -> None:
    first, young = ledgers("first"), event(1, "order-1")
    claim(first, young)
    first.settle(receipt_for(young, Outcome.REJECTED, "device_not_found", "", http_status=404))
    first.end()
    late = ledgers("late", retry_unknown_devices=timedelta(hours=1), now=lambda: NOW + timedelta(hours=2))
    assert reasons_of(claim(late, young)) == ["refused_before"]
    early = ledgers("early", retry_unknown_devices=timedelta(hours=1))
    assert reasons_of(claim(early, young)) == ["claim"]


def test_times_are_kept_with_their_microseconds(ledgers: Any, ledger_engine: sa.Engine) -> None:
    ledger, made = ledgers(), event(1, "order-1")
    moment = datetime.fromisoformat("2026-05-01T10:00:00.123456+00:00")
    object.__setattr__(made.event, "occurred_at", moment)
    claim(ledger, made)
    with ledger_engine.connect() as connection:
        assert connection.scalar(sa.select(events.c.occurred_at)) == moment.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("error", "goes_away"),
    [
        (sa.exc.InternalError("INSERT", {}, SimpleNamespace(sqlstate="25006")), True),
        (sa.exc.OperationalError("INSERT", {}, Exception("no such table: adjust_try")), False),
        (sa.exc.OperationalError("INSERT", {}, Exception("disk I/O error")), True),
        (sa.exc.ProgrammingError("INSERT", {}, Exception("syntax")), False),
        (sa.exc.IntegrityError("INSERT", {}, Exception("UNIQUE")), False),
        (OSError("the disk"), False),
    ],
    ids=["only reads", "no table", "operational", "statement", "lost race", "no database error"],
)
def test_temporary_database_errors_are_waited_for(error: Exception, goes_away: bool) -> None:
    failures = iter([error])

    def work() -> str:
        if failure := next(failures, None):
            raise failure
        return "written"

    if goes_away:
        assert retry_while_away(work, patience=lambda: 30.0) == "written"
    else:
        with pytest.raises(type(error)):
            retry_while_away(work, patience=lambda: 30.0)


def test_an_error_of_the_ledger_stays_what_it_is() -> None:
    lost = LedgerUnavailable("another try has taken over")
    assert LedgerUnavailable.because(lost) is lost


# -- what a corrected row means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"revenue": "12.00"}, "differs_from_delivered"),
        ({"currency": "USD"}, "differs_from_delivered"),
        ({"revenue": "10.000"}, "delivered_before"),
        ({"adid": "joined later"}, "delivered_before"),
    ],
    ids=["amount", "currency", "spelling", "another id of the device"],
)
def test_only_another_time_or_amount_makes_a_delivered_event_another(
    ledgers: Any, changes: dict[str, str], reason: str
) -> None:
    first = ledgers("first")
    deliver(first, event(1, "order-1", revenue="10.00", currency="EUR"))
    first.end()
    now = event(1, "order-1", **{"revenue": "10.00", "currency": "EUR", **changes})
    assert reasons_of(claim(ledgers("second"), now)) == [reason]


def test_a_delivered_event_with_another_time_is_another(ledgers: Any) -> None:
    first = ledgers("first")
    deliver(first, event(1, "order-1"))
    first.end()
    assert reasons_of(claim(ledgers("second"), event(1, "order-1", at=31))) == ["differs_from_delivered"]


def test_an_event_in_doubt_cannot_be_looked_up_by_a_row_that_changed(ledgers: Any, ledger_engine: sa.Engine) -> None:
    claim(ledgers("killed"), event(1, "order-1", revenue="1.50", currency="EUR"))
    end_leases(ledger_engine)
    corrected = event(1, "order-1", revenue="12.00", currency="EUR")
    assert reasons_of(claim(ledgers("verifies", on_in_doubt="verify"), corrected)) == ["not_verified"]


def test_a_refused_event_of_a_rejected_file_is_offered_again(ledgers: Any) -> None:
    first, refused = ledgers("first"), event(1, "order-1")
    claim(first, refused)
    first.settle(receipt_for(refused, Outcome.REJECTED, "event_token_blocklisted", ""))
    first.end()
    again = Job(refused.event, 1, ResubmittedRow({}, "order-1"))
    assert reasons_of(claim(ledgers("second"), again)) == ["claim"]


def test_a_commit_with_a_lost_answer_costs_the_totals_nothing(ledgers: Any, ledger_engine: sa.Engine) -> None:
    """The database has it, and the ledger does not know that: it writes the same once more."""
    ledger, sent = ledgers(), event(1, "order-1", revenue="10.50", currency="EUR")
    claim(ledger, sent)
    lost = iter([sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))])
    commit = ledger_engine.dialect.do_commit

    def commit_and_lose_the_answer(connection: Any) -> None:
        commit(connection)
        if error := next(lost, None):
            raise error

    ledger_engine.dialect.do_commit = commit_and_lose_the_answer  # type: ignore[method-assign]
    ledger.settle(receipt_for(sent, Outcome.DELIVERED, "", ""))
    ledger.flush()
    ledger.end()
    ledger_engine.dialect.do_commit = commit  # type: ignore[method-assign]
    with ledger_engine.connect() as connection:
        found = connection.execute(sa.select(totals.c.outcome, totals.c.events)).all()
    assert [tuple(each) for each in found] == [("delivered", 1)]
    assert statuses(ledger_engine) == {"order-1": "delivered"}


def test_a_reason_longer_than_its_column_is_cut(ledgers: Any, ledger_engine: sa.Engine) -> None:
    ledger = ledgers()
    ledger.settle(Receipt(Outcome.INVALID, "invalid_" + "x" * 90, None, 1))
    ledger.end()
    with ledger_engine.connect() as connection:
        assert list(connection.scalars(sa.select(totals.c.reason))) == ["invalid_" + "x" * 56]


# -- a commit with a lost answer, a transaction that is undone, a database that fell back ------------------------------------


@contextmanager
def answers_lost(engine: sa.Engine, commits: int = 1) -> Iterator[None]:
    """So many commits work, and the connection breaks before their answers."""
    left = iter(range(commits))
    commit = engine.dialect.do_commit

    def lose(connection: Any) -> None:
        commit(connection)
        if next(left, None) is not None:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))

    engine.dialect.do_commit = lose  # type: ignore[method-assign]
    yield
    engine.dialect.do_commit = commit  # type: ignore[method-assign]


def test_what_an_earlier_try_delivered_is_not_claimed_when_a_commits_answer_is_lost(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    sent = event(1, "order-1")
    first = ledgers()
    deliver(first, sent)
    first.end("EventsUnresolved")
    second = ledgers(try_number=2)
    second._numbers.learn(ledger_engine, {second._place(sent.event, None).scope}, {""})
    with answers_lost(ledger_engine):
        [answer] = claim(second, sent)
    assert isinstance(answer, Receipt)
    assert (answer.outcome, answer.detail) == (Outcome.DELIVERED, "by an earlier try")


@pytest.mark.parametrize("settled", [False, True], ids=["was being sent", "was left in doubt"])
def test_an_event_that_is_taken_over_stays_in_doubt_when_a_commits_answer_is_lost(
    ledgers: Any, ledger_engine: sa.Engine, settled: bool
) -> None:
    dead, shared = ledgers("dead"), event(1, "order-1")
    claim(dead, shared)
    if settled:
        dead.settle(receipt_for(shared, Outcome.IN_DOUBT, "no_answer", ""))  # as an older ledger: without a count
        dead.end("EventsUnresolved")
    end_leases(ledger_engine)
    heir = ledgers("heir", on_in_doubt="verify")
    heir._numbers.learn(ledger_engine, {heir._place(shared.event, None).scope}, {""})
    with answers_lost(ledger_engine):
        assert claim(heir, shared) == [Claim(sent_before=True, lost_answers=1)]


def test_a_try_that_only_an_undone_transaction_ended_lives_on(ledgers: Any, ledger_engine: sa.Engine) -> None:
    slow, shared = ledgers("slow"), event(1, "order-1")
    claim(slow, shared)
    end_leases(ledger_engine)
    other = ledgers("other")
    commit, lost = ledger_engine.dialect.do_commit, iter([True])

    def undo(connection: Any) -> None:
        if next(lost, None):
            ledger_engine.dialect.do_rollback(connection)
            ledger_engine.dialect.do_commit = commit  # type: ignore[method-assign]
            slow._lease.renew()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))
        commit(connection)

    other._numbers.learn(ledger_engine, {other._place(shared.event, None).scope}, {""})
    ledger_engine.dialect.do_commit = undo  # type: ignore[method-assign]
    try:
        assert reasons_of(claim(other, shared)) == ["sent_elsewhere"]
    finally:
        ledger_engine.dialect.do_commit = commit  # type: ignore[method-assign]
    assert slow.may_send()


def test_an_answered_event_that_the_database_has_lost_is_written_again(ledgers: Any, ledger_engine: sa.Engine) -> None:
    """An asynchronous copy that took over lacks the last commits."""
    ledger, jobs = ledgers(), [event(place, f"order-{place}") for place in (1, 2)]
    claim(ledger, *jobs)
    with ledger_engine.begin() as connection:
        connection.execute(events.delete().where(events.c.event_id == "order-1"))
    for each in jobs:
        ledger.settle(receipt_for(each, Outcome.DELIVERED, "", "", http_status=200))
    ledger.end()
    assert statuses(ledger_engine) == {"order-1": "delivered", "order-2": "delivered"}
    assert reasons_of(claim(ledgers("another"), *jobs)) == ["delivered_before"] * 2


def test_the_wait_for_an_earlier_try_is_reported_before(ledgers: Any) -> None:
    ledgers(lease=SHORT).close()
    waits: list[float] = []
    assert ledgers(try_number=2, lease=SHORT, on_wait=waits.append).waited > 0
    assert len(waits) == 1
    assert 0 < waits[0] <= SHORT


def test_the_wait_for_an_earlier_try_that_is_still_renewed_is_reported_once(
    ledgers: Any, ledger_engine: sa.Engine
) -> None:
    ledgers().close()  # its lease has not run out
    waits: list[float] = []
    slept: list[float] = []
    task = TaskInstanceId("dag", "mine", "send", -1, 2)
    waited = wait_for_earlier_tries(ledger_engine, task, 2.5, on_wait=waits.append, sleep=slept.append)
    assert slept == [1.0] * 4
    assert waited == 4.0
    assert len(waits) == 1
