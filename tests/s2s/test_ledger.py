"""Each event once, whatever is retried, cleared, overlapped or killed; on SQLite and on a real Postgres."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import sqlalchemy as sa
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import end_leases, forget_everything

from airflow_provider_adjust.adjust_api.device import DeviceApi
from airflow_provider_adjust.s2s import LookupPolicy, Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import OnInDoubt, Outcome, Recorded
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, LedgerUnavailable
from airflow_provider_adjust.s2s.events.event import Event, Lane
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.schema import VERSION, deliveries, drop_all, totals, tries, versions
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OK = b'{"status": "OK"}'
NOT_FOUND = b'{"error": "Event request failed (Device not found)"}'
DEVICE = "660e1d86-6796-463a-be86-897993136018"


class Killed(BaseException):
    """Stands for kill -9: nothing below gets to write anything."""


class Adjust:
    """A transport and the Adjust behind it.

    ``silent`` events are recorded without an answer, ``lost`` ones are not recorded the first time, and have none either.
    """

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.lost: set[str] = set()
        self._last_seconds: dict[Lane, int] = {}
        self.unknown: set[str] = set()
        self._done: list[Completion] = []

    def hang_up(self) -> None:
        """A killed sender never sees the answers that were on their way."""
        self._done.clear()

    @property
    def device_api(self) -> Any:
        """Stands for the Device API of this Adjust: it knows the last second of a device and token, at once."""
        api = create_autospec(DeviceApi, instance=True)
        api.recorded.side_effect = self._recorded
        return api

    def _recorded(self, event: Event) -> Recorded:
        last = max((self._last_seconds.get(lane, 0) for lane in event.lanes), default=0)
        second = int(event.params["created_at_unix"])
        if last < second:
            return Recorded.NO
        return Recorded.YES if last == second else Recorded.UNKNOWN

    def submit(self, key: Any, target: Target, body: str) -> None:
        event_id = key.event.event_id
        if event_id in self.unknown:
            self._done.append(Completion(key, 404, NOT_FOUND))
            return
        if event_id in self.lost:
            self.lost.discard(event_id)
            self._done.append(Completion(key, failure=Failure.NO_ANSWER))
            return
        self.received[event_id] += 1
        for lane in key.event.lanes:
            self._last_seconds[lane] = int(key.event.params["created_at_unix"])
        if event_id in self.silent:
            self._done.append(Completion(key, failure=Failure.NO_ANSWER))
        else:
            self._done.append(Completion(key, 200, OK))

    def poll(self, timeout: float | None) -> list[Completion]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def engine(ledger_engine: sa.Engine) -> sa.Engine:
    return ledger_engine


def make_rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "order_id": f"order-{place}",
            "gps_adid": DEVICE if place % 2 else f"device-{place % 5}",
            "created_at": NOW - timedelta(hours=5) + timedelta(seconds=place),
            "revenue": "1.10",
            "currency": "USD",
            **more,
        }
        for place in range(count)
    ]


def send(
    engine: sa.Engine,
    rows: list[dict[str, Any]],
    adjust: Adjust,
    *,
    run: str = "run-1",
    event_token: str = "event1",
    kill_after: int | None = None,
    now: datetime = NOW,
    fresh_leases: bool = False,
    **ledger_options: Any,
) -> DeliverySummary:
    parser = EventParser(
        RowOptions(app_token="app1", event_token=event_token, environment="sandbox", id_field="order_id")
    )
    adjust.hang_up()
    ledger_options.setdefault("batch_size", 4)
    if not fresh_leases and sa.inspect(engine).has_table("adjust_try"):
        end_leases(engine)
    ledger = Ledger(engine, TaskInstanceId("dag", run, "send"), now=lambda: now, **ledger_options)
    sender = Sender(
        {None: Route(parser, Target("http://127.0.0.1/event"), adjust.device_api.recorded)},
        adjust,
        SendOptions(
            max_in_flight=2,
            on_in_doubt=ledger_options.get("on_in_doubt", "resend"),
            lookups=LookupPolicy(wait=0.0),  # the double does not lag
        ),
        ledger=ledger,
        now=lambda: NOW,
    )
    summary = DeliverySummary()
    for count, receipt in enumerate(sender.send(rows), start=1):
        summary.add(receipt)
        if count == kill_after:
            kill(ledger)
            raise Killed
    sender.save()
    ledger.end()
    ledger.close()
    summary.read = sender.read
    summary.check()
    return summary


def kill(ledger: Ledger) -> None:
    """The threads of a killed process write nothing more."""
    ledger.close()


class Interrupting(Adjust):
    """Airflow's timeout comes while the sixth event is handed over."""

    def submit(self, key: Any, target: Target, body: str) -> None:
        if self.received.total() == 5:
            raise Killed
        super().submit(key, target, body)


def statuses(engine: sa.Engine) -> Counter[str]:
    with engine.connect() as connection:
        return Counter(connection.scalars(sa.select(deliveries.c.status)))


def test_every_event_is_in_the_ledger_and_no_device_is(engine: sa.Engine) -> None:
    send(engine, make_rows(10), Adjust())
    with engine.connect() as connection:
        records = connection.execute(sa.select(deliveries)).mappings().all()
    assert {record["event_id"] for record in records} == {f"order-{place}" for place in range(10)}
    assert {record["status"] for record in records} == {"delivered"}
    assert {str(record["revenue"].normalize()) for record in records} == {"1.1"}
    assert min(record["occurred_at"] for record in records) == NOW.replace(tzinfo=None) - timedelta(hours=5)
    assert DEVICE not in repr(records)


@pytest.mark.parametrize("on_in_doubt", ["resend", "hold"])
def test_an_interrupted_sender_releases_what_it_has_claimed_and_not_sent(
    engine: sa.Engine, on_in_doubt: OnInDoubt
) -> None:
    adjust, rows = Interrupting(), [row | {"gps_adid": f"d{place}"} for place, row in enumerate(make_rows(40))]
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    ledger = Ledger(engine, TaskInstanceId("dag", "run-1", "send"), now=lambda: NOW, on_in_doubt=on_in_doubt)
    options = SendOptions(max_in_flight=3, on_in_doubt=on_in_doubt)
    routes: dict[str | None, Route] = {None: Route(parser, Target("http://127.0.0.1/event"))}
    sender = Sender(routes, adjust, options, ledger=ledger, now=lambda: NOW)
    with pytest.raises(Killed):
        list(sender.send(rows))
    for _ in range(2):  # the second time has no effect
        sender.give_up()
        sender.save()
    ledger.end("Killed")
    ledger.close()
    summary = sender.sink.summary
    in_flight = 5 + 1 - summary.outcomes["delivered"]
    assert statuses(engine) == Counter(delivered=summary.outcomes["delivered"], in_doubt=in_flight)
    assert summary.reasons == Counter({("held", "stopped"): sender.read - 6})
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.sum(totals.c.events))) == sender.read - in_flight
    assert send(engine, rows, Adjust(), on_in_doubt="resend").outcomes["delivered"] == 40


def test_a_sender_without_a_ledger_has_nothing_to_release() -> None:
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox"))
    sender = Sender({None: Route(parser, Target("http://127.0.0.1/event"))}, Adjust())
    sender.give_up()
    sender.save()
    assert sender.sink.summary.outcomes == {}


def test_overlapping_windows_send_each_event_once(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(30)
    send(engine, rows[:20], adjust, run="night-1")
    summary = send(engine, rows[10:], adjust, run="night-2")
    assert set(adjust.received.values()) == {1}
    assert summary.outcomes == Counter(delivered=10, skipped=10)
    assert summary.reasons == Counter({("skipped", "delivered_before"): 10})


def test_a_cleared_task_sends_nothing_and_its_result_covers_all_tries(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(12)
    adjust.unknown.add("order-3")
    first = send(engine, rows, adjust)
    again = send(engine, rows, adjust)
    assert again == first
    assert set(adjust.received.values()) == {1}


def test_one_id_may_name_two_kinds_of_event(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(3)
    send(engine, rows, adjust, event_token="purchase")
    send(engine, rows, adjust, event_token="firstpurchase")
    assert set(adjust.received.values()) == {2}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(kills=st.lists(st.integers(1, 20), min_size=1, max_size=4), count=st.integers(1, 25))
def test_any_kills_lose_nothing(engine: sa.Engine, kills: list[int], count: int) -> None:
    prepare(engine)
    forget_everything(engine)
    adjust, rows = Adjust(), make_rows(count)
    for kill_after in [*kills, None]:
        try:
            summary = send(engine, rows, adjust, kill_after=kill_after, max_resends=len(kills))
            break
        except Killed:
            continue
    assert summary.outcomes == Counter(delivered=count)
    assert statuses(engine) == Counter(delivered=count)
    assert set(adjust.received) == {row["order_id"] for row in rows}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(kills=st.lists(st.integers(1, 20), min_size=1, max_size=4), count=st.integers(1, 25))
def test_what_is_held_in_doubt_is_never_sent_twice(engine: sa.Engine, kills: list[int], count: int) -> None:
    prepare(engine)
    forget_everything(engine)
    adjust, rows = Adjust(), make_rows(count)
    for kill_after in [*kills, None]:
        try:
            summary = send(engine, rows, adjust, kill_after=kill_after, on_in_doubt="hold")
            break
        except Killed:
            continue
    assert set(adjust.received.values()) <= {1}
    assert summary.settled == count
    assert summary.outcomes["delivered"] + summary.outcomes["in_doubt"] + summary.outcomes["held"] == count


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(kills=st.lists(st.integers(1, 20), min_size=1, max_size=4), count=st.integers(1, 25))
def test_events_checked_by_lookup_are_sent_exactly_once(engine: sa.Engine, kills: list[int], count: int) -> None:
    prepare(engine)
    forget_everything(engine)
    adjust, rows = Adjust(), make_rows(count)
    for kill_after in [*kills, None]:
        try:
            summary = send(engine, rows, adjust, kill_after=kill_after, on_in_doubt="verify")
            break
        except Killed:
            continue
    assert summary.outcomes == Counter(delivered=count)
    assert adjust.received == Counter({row["order_id"]: 1 for row in rows})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(
    kills=st.lists(st.integers(1, 20), max_size=4),
    seconds=st.lists(st.integers(0, 8), min_size=1, max_size=16),
    lost=st.sets(st.integers(0, 15), max_size=3),
    silent=st.sets(st.integers(0, 15), max_size=3),
)
def test_a_lookup_never_takes_the_second_of_another_event_for_its_own(
    engine: sa.Engine, kills: list[int], seconds: list[int], lost: set[int], silent: set[int]
) -> None:
    """A delivered event is in Adjust once, whatever process sent the others of its second."""
    prepare(engine)
    forget_everything(engine)
    adjust, rows = Adjust(), make_rows(len(seconds))
    adjust.lost = {f"order-{place}" for place in lost}
    adjust.silent = {f"order-{place}" for place in silent}
    for second, each in zip(sorted(seconds), rows, strict=True):
        each["created_at"] = NOW - timedelta(hours=5) + timedelta(seconds=second)
    delivered = 0
    for kill_after in [*kills, None]:
        try:
            summary = send(engine, rows, adjust, kill_after=kill_after, on_in_doubt="verify")
            delivered = summary.outcomes["delivered"] + summary.outcomes["skipped"]
        except Killed:
            continue
    assert set(adjust.received.values()) <= {1}
    with engine.connect() as connection:
        called = connection.scalars(sa.select(deliveries.c.event_id).where(deliveries.c.status == "delivered")).all()
    assert delivered == len(called)
    assert set(called) <= set(adjust.received)


def test_items_of_one_cart_are_not_distinguished_by_a_lookup(engine: sa.Engine) -> None:
    """The first item is delivered, the second one's answer is lost, the task is killed and tried again."""
    adjust, rows = Adjust(), make_rows(2, gps_adid=DEVICE, created_at=NOW - timedelta(hours=1))
    adjust.lost.add("order-1")
    with contextlib.suppress(Killed):
        send(engine, rows, adjust, kill_after=2, on_in_doubt="verify")
    summary = send(engine, rows, adjust, on_in_doubt="verify")
    assert summary.outcomes == Counter(delivered=1, in_doubt=1)
    assert summary.reasons[("in_doubt", "shared_second")] == 1
    assert adjust.received == Counter({"order-0": 1})


def test_a_lost_answer_is_in_doubt_by_name(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(6)
    adjust.silent.add("order-2")
    summary = send(engine, rows, adjust, on_in_doubt="hold")
    assert summary.outcomes["in_doubt"] == 1
    with engine.connect() as connection:
        (in_doubt,) = connection.scalars(sa.select(deliveries.c.event_id).where(deliveries.c.status == "in_doubt"))
    assert in_doubt == "order-2"


def test_a_refused_event_is_not_sent_again_until_it_is_corrected(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(4)
    adjust.unknown.add("order-1")
    send(engine, rows, adjust, run="night-1")
    adjust.unknown.clear()

    summary = send(engine, rows, adjust, run="night-2")
    assert summary.reasons == Counter({("skipped", "delivered_before"): 3, ("skipped", "refused_before"): 1})
    assert "order-1" not in adjust.received

    rows[1]["gps_adid"] = "another-device"
    summary = send(engine, rows, adjust, run="night-3")
    assert summary.outcomes == Counter(skipped=3, delivered=1)


@pytest.mark.parametrize(("limit", "offered"), [(timedelta(hours=6), 1), (timedelta(hours=4), 0), (None, 0)])
def test_unknown_devices_are_offered_again_while_the_event_is_young(
    engine: sa.Engine, limit: timedelta | None, offered: int
) -> None:
    adjust, rows = Adjust(), make_rows(1)
    adjust.unknown.add("order-0")
    send(engine, rows, adjust, run="night-1")
    adjust.unknown.clear()
    send(engine, rows, adjust, run="night-2", retry_unknown_devices=limit)
    assert adjust.received["order-0"] == offered


class TestTwoTasks:
    """Another task instance is sending the same events."""

    def half_done(self, engine: sa.Engine) -> None:
        adjust = Adjust()
        with pytest.raises(Killed):
            send(engine, make_rows(1) + make_rows(4)[2:3], adjust, run="other", kill_after=1)
        assert "sending" in statuses(engine)

    def test_a_claim_of_a_live_try_is_left_alone(self, engine: sa.Engine) -> None:
        self.half_done(engine)
        adjust = Adjust()
        summary = send(engine, make_rows(1), adjust, run="mine", fresh_leases=True)
        assert summary.reasons == Counter({("held", "sent_elsewhere"): 1})
        assert not adjust.received
        assert "sending" in statuses(engine), "another's claim must stay"

    def test_a_claim_of_a_dead_try_is_in_doubt(self, engine: sa.Engine) -> None:
        self.half_done(engine)
        adjust = Adjust()
        assert send(engine, make_rows(1), adjust, run="mine", on_in_doubt="hold").outcomes["in_doubt"] == 1
        assert send(engine, make_rows(1), adjust, run="mine").outcomes["delivered"] == 1

    def test_many_at_once_send_each_event_once(self, engine: sa.Engine) -> None:
        rows, adjusts, summaries = make_rows(60), [Adjust() for _ in range(4)], []

        def work(number: int) -> None:
            summaries.append(send(engine, rows, adjusts[number], run=f"mapped-{number}", fresh_leases=True))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = sum((adjust.received for adjust in adjusts), Counter())
        assert len(summaries) == 4, "a task failed"
        assert max(total.values()) == 1
        # What two met at once one of them held; the next run finds everything delivered or sends it.
        last = Adjust()
        send(engine, rows, last, run="after")
        assert set((total + last.received).values()) == {1}
        assert len(total + last.received) == 60


def test_pruning_takes_old_settled_events_only(engine: sa.Engine) -> None:
    adjust = Adjust()
    adjust.silent.add("order-0")
    send(engine, make_rows(4), adjust, on_in_doubt="hold")
    assert prune(engine, older_than=timedelta(days=1), now=NOW) == 0
    before = statuses(engine)
    assert prune(engine, older_than=timedelta(days=1), now=NOW + timedelta(days=2)) == before["delivered"]
    assert statuses(engine) == Counter(in_doubt=1)


def test_a_ledger_of_a_newer_provider_is_refused(engine: sa.Engine) -> None:
    prepare(engine)
    with engine.begin() as connection:
        connection.execute(versions.update().values(version=VERSION + 1))
    with pytest.raises(AdjustConfigurationError, match="update the provider"):
        prepare(engine)


def test_a_ledger_that_fails_ends_the_delivery_before_anything_more_is_sent(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")
    adjust = Adjust()
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    ledger = Ledger(engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW, batch_size=4)
    route = Route(parser, Target("http://127.0.0.1/event"))
    sender = Sender({None: route}, adjust, SendOptions(max_in_flight=2), ledger=ledger, now=lambda: NOW)
    receipts: list[Receipt] = []

    def deliver() -> None:
        for receipt in sender.send(make_rows(20)):
            receipts.append(receipt)
            if len(receipts) == 3:
                with engine.begin() as connection:
                    drop_all(connection)

    with pytest.raises(LedgerUnavailable, match="OperationalError"):
        deliver()
    assert len(receipts) == 20
    # What was claimed before the tables were lost may still be sent: at most two batches of four, and what had ended.
    assert sum(adjust.received.values()) <= 3 + 2 * 4
    assert {receipt.outcome.value for receipt in receipts} == {"delivered", "held"}


def held_counts(engine: sa.Engine) -> dict[str, int]:
    """Held events of the last try of each run."""
    query = (
        sa.select(tries.c.run_id, sa.func.sum(totals.c.events))
        .join(totals, totals.c.try_id == tries.c.id)
        .where(tries.c.is_latest, totals.c.outcome == "held")
        .group_by(tries.c.run_id)
    )
    with engine.connect() as connection:
        return {run_id: int(events) for run_id, events in connection.execute(query)}


def test_what_was_held_is_counted_until_it_is_sent(engine: sa.Engine) -> None:
    adjust, rows = Adjust(), make_rows(10)
    for row in rows:
        row["gps_adid"] = DEVICE
    adjust.silent.add("order-3")
    send(engine, rows, adjust, on_in_doubt="hold")
    assert held_counts(engine) == {"run-1": 6}

    send(engine, rows, adjust, run="run-2", on_in_doubt="hold")
    assert held_counts(engine) == {"run-1": 6, "run-2": 6}

    adjust.silent.clear()
    send(engine, rows, adjust, on_in_doubt="resend")
    assert held_counts(engine) == {"run-2": 6}


def test_what_a_failed_write_gave_back_is_written_by_the_next(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    ledger = Ledger(engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW, batch_size=1)
    jobs = [Job(parser.parse(row, now=NOW), place) for place, row in enumerate(make_rows(3))]
    assert ledger.begin_claim(jobs).result() == [Claim()] * 3
    write = ledger._write_settled

    def fail_once(*_: Any) -> None:
        monkeypatch.setattr(ledger, "_write_settled", write)
        raise OSError("the database is away")

    monkeypatch.setattr(ledger, "_write_settled", fail_once)
    for job in jobs[:2]:  # two batches, so that the writing begins
        ledger.settle(receipt_for(job, Outcome.DELIVERED, "", ""))
    with pytest.raises(OSError, match="away"):
        ledger.flush()
    ledger.settle(receipt_for(jobs[2], Outcome.DELIVERED, "", ""))
    ledger.flush()
    ledger.close()
    with engine.connect() as connection:
        assert set(connection.scalars(sa.select(deliveries.c.status))) == {"delivered"}
