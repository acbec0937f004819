"""A retry continues where the last try stopped: whatever is killed, nothing is lost and the counts add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_transport import FakeTransport
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from s2s_case import job, until_raised

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s import checkpoint as checkpoint_module
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import receipt_for
from airflow_provider_adjust.s2s.checkpoint import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MAX_BYTES,
    SAVE_PATIENCE,
    WRITE_EVERY,
    Checkpoint,
)
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.errors import CheckpointMismatch, DeliveryStopped
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OK = b'{"status": "OK"}'
BAD_STATE = b'{"error": "Event request failed (Bad event state)"}'
NOT_FOUND = b'{"error": "Event request failed (Device not found)"}'


class Adjust:
    """A transport and the Adjust behind it: answers at once, refuses the devices that it does not know, and what is older
    than the device's last event."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.order: list[str] = []
        self._done: list[Completion] = []
        self._last: dict[str, int] = {}

    def hang_up(self) -> None:
        """A killed sender never sees the answers that were on their way."""
        self._done.clear()

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._done.append(Completion(key, *self._answer(key.event)))

    def _answer(self, event: Event) -> tuple[int, bytes]:
        device, second = event.params["gps_adid"], int(event.params["created_at_unix"])
        if device.startswith("unknown"):
            return 404, NOT_FOUND
        if second < self._last.get(device, 0):
            return 400, BAD_STATE
        self._last[device] = second
        self.received[event.event_id] += 1
        self.order.append(event.event_id)
        return 200, OK

    def poll(self, timeout: float | None) -> list[Completion]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to free."""


class Killed(BaseException):
    """Stands for kill -9: nothing below gets to save anything."""


def make_rows(devices: list[int]) -> list[dict[str, Any]]:
    """A row for each number: below 0 the device is unknown to Adjust, 99 is a row that is not an event."""
    return [
        {
            "order_id": f"order-{place}",
            "gps_adid": f"unknown{device}" if device < 0 else f"device{device}",
            "created_at": NOW - timedelta(hours=5) + timedelta(seconds=place),
            "revenue": "free" if device == 99 else "1.10",
            "currency": "USD",
        }
        for place, device in enumerate(devices)
    ]


def run_try(
    rows: list[dict[str, Any]],
    store: MemoryStore,
    adjust: Adjust,
    *,
    kill_after: int | None = None,
    save_every: int = 1,
    stream: bool = True,
    on_in_doubt: Any = "resend",
    now: datetime = NOW,
) -> DeliverySummary:
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    adjust.hang_up()
    checkpoint = Checkpoint(store)
    sender = Sender(
        {None: Route(parser, Target("http://127.0.0.1/event"))},
        adjust,
        SendOptions(max_in_flight=2, on_in_doubt=on_in_doubt),
        checkpoint=checkpoint,
        now=lambda: now,
    )
    summary = checkpoint.earlier.copy()
    source: Any = iter(rows) if stream else rows
    for count, receipt in enumerate(sender.send(source), start=1):
        summary.add(receipt)
        if count % save_every == 0:
            checkpoint.save()
        if count == kill_after:
            raise Killed
    sender.save()
    summary.read = sender.read
    return summary


@given(
    devices=st.lists(st.sampled_from([0, 1, 2, 3, -1, 99]), max_size=40),
    kills=st.lists(st.integers(1, 25), max_size=6),
    save_every=st.integers(1, 7),
    stream=st.booleans(),
)
def test_any_kills_end_in_the_state_of_an_undisturbed_run(
    devices: list[int], kills: list[int], save_every: int, stream: bool
) -> None:
    rows = make_rows(devices)
    undisturbed = run_try(rows, MemoryStore(), Adjust(), stream=stream)
    store, adjust = MemoryStore(), Adjust()
    summary = None
    for kill_after in [*kills, None]:
        try:
            summary = run_try(rows, store, adjust, kill_after=kill_after, save_every=save_every, stream=stream)
            break
        except Killed:
            continue

    assert summary is not None
    summary.check()
    again = summary.outcomes["in_doubt"]
    assert summary.reasons["in_doubt", "refused_after_resend"] == again
    assert summary.outcomes["delivered"] + again == undisturbed.outcomes["delivered"]
    assert again == 0 or kills
    for outcome in ("rejected", "invalid"):
        assert summary.outcomes[outcome] == undisturbed.outcomes[outcome], "what Adjust has is not called refused"
    expected = {row["order_id"] for row, device in zip(rows, devices, strict=True) if 0 <= device < 99}
    assert set(adjust.received) == expected


@given(devices=st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=40), kill_after=st.integers(1, 40))
def test_at_most_the_requests_in_flight_are_sent_again(devices: list[int], kill_after: int) -> None:
    rows, store, adjust = make_rows(devices), MemoryStore(), Adjust()
    for kill in (kill_after, None):
        try:
            run_try(rows, store, adjust, kill_after=kill)
        except Killed:
            continue
    # Two were in flight, and a third receipt was not yet noted when the try was killed.
    assert sum(adjust.received.values()) <= len(rows) + 3


def test_a_finished_task_that_is_cleared_sends_nothing() -> None:
    rows, store, adjust = make_rows([0, 1, 2, -1, 99]), MemoryStore(), Adjust()
    first = run_try(rows, store, adjust)
    again = run_try(rows, store, adjust)
    assert again == first
    assert sum(adjust.received.values()) == 3


def test_new_rows_at_the_end_are_sent_when_a_finished_task_is_cleared() -> None:
    rows, store, adjust = make_rows([0, 1, 2, 0]), MemoryStore(), Adjust()
    run_try(rows[:3], store, adjust)
    summary = run_try(rows, store, adjust)
    assert summary.outcomes[Outcome.DELIVERED.value] == 4
    assert adjust.received == Counter({f"order-{place}": 1 for place in range(4)})


CHANGES = {
    "a row changed": lambda rows: [rows[0] | {"revenue": "2.20"}, *rows[1:]],
    "a row came in before": lambda rows: [make_rows([7])[0] | {"order_id": "late"}, *rows],
    "a row is gone": lambda rows: rows[1:],
    "all rows are gone": lambda rows: [],
    "rows are gone from the end": lambda rows: rows[:2],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_input_is_an_error_before_anything_is_sent(change: Any) -> None:
    rows, store, adjust = make_rows([0, 1, 2, 3, 0, 1]), MemoryStore(), Adjust()
    with pytest.raises(Killed):
        run_try(rows, store, adjust, kill_after=4)
    saved, received = store.text, Counter(adjust.received)

    with pytest.raises(CheckpointMismatch, match=r"restore the input.*durable=False"):
        run_try(change(rows), store, adjust)

    assert adjust.received == received
    assert store.text == saved, "the error must not overwrite what is known"


def test_a_try_that_is_killed_while_it_catches_up_forgets_nothing() -> None:
    rows, store, adjust = make_rows([0, 1, 2, 3, 0, 1]), MemoryStore(), Adjust()
    with pytest.raises(Killed):
        run_try(rows, store, adjust, kill_after=4)
    saved = store.text
    checkpoint = Checkpoint(store)

    def broken() -> Iterator[Any]:
        parser = EventParser(
            RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id")
        )
        yield from list(
            Sender({None: Route(parser, Target("http://127.0.0.1/event"))}, adjust, now=lambda: NOW).jobs(rows)
        )[:1]
        raise Killed

    with pytest.raises(Killed):
        list(checkpoint.resume(broken()))
    checkpoint.save()
    assert store.text == saved


@pytest.mark.parametrize(
    "state",
    [{}, {"version": 99}, {"version": 1}, {"version": 1, "fingerprint": "", "read": 1, "pending": "%"}],
    ids=["empty", "another version", "incomplete", "damaged"],
)
def test_a_state_that_cannot_be_read_is_an_error_with_the_remedy(state: dict[str, Any]) -> None:
    store = MemoryStore()
    store.save(state)
    with pytest.raises(CheckpointMismatch, match="Delete it and clear the task"):
        Checkpoint(store)


def test_too_many_open_events_stop_the_run_instead_of_losing_track() -> None:
    store = MemoryStore()
    checkpoint = Checkpoint(store)
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    jobs = list(
        Sender({None: Route(parser, Target("http://127.0.0.1/event"))}, Adjust(), now=lambda: NOW).jobs(
            iter(make_rows([1]))
        )
    )
    # Irregular gaps, since regular ones compress to almost nothing.
    for position in random.Random(1).sample(range(10_000_000), 50_000):
        checkpoint._admit(replace(jobs[0], position=position))
    with pytest.raises(DeliveryStopped, match="too many for a checkpoint"):
        checkpoint.try_to_save()
    assert store.text is None
    assert not checkpoint.behind, "another try would end the same"


def test_the_state_of_a_large_run_is_small() -> None:
    store, adjust = MemoryStore(), Adjust()
    run_try(make_rows([place % 50 for place in range(5000)]), store, adjust, save_every=500)
    assert store.text is not None
    assert len(store.text) < 2000 < MAX_BYTES


def test_an_event_in_doubt_is_not_sent_by_the_next_try_when_it_is_to_be_held() -> None:
    rows, store = make_rows([0, 1, 0]), MemoryStore()

    class Silent(Adjust):
        def poll(self, timeout: float | None) -> list[Completion]:
            return [
                Completion(done.key, failure=Failure.NO_ANSWER) if done.key.position == 1 else done
                for done in super().poll(timeout)
            ]

    first = Silent()
    summary = run_try(rows, store, first, on_in_doubt="hold")
    assert summary.outcomes == Counter({"in_doubt": 1, "held": 1, "delivered": 1})

    again = Adjust()
    summary = run_try(rows, store, again, on_in_doubt="hold")
    assert summary.outcomes == Counter({"in_doubt": 1, "held": 1, "delivered": 1})
    assert not again.received

    resent = Adjust()
    summary = run_try(rows, store, resent, on_in_doubt="resend")
    assert summary.outcomes == Counter({"delivered": 3})
    assert resent.order == ["order-0", "order-2"]


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_checkpoint_is_due_once_a_second_while_there_is_something_new() -> None:
    clock = Clock()
    checkpoint = Checkpoint(MemoryStore(), clock=clock)
    clock.now += WRITE_EVERY
    assert not checkpoint.due(), "nothing was read"
    (first,) = checkpoint.resume([job(1, "a")])
    assert checkpoint.due()
    checkpoint.save()
    checkpoint.settle(receipt_for(first, Outcome.DELIVERED, "", ""))
    clock.now += WRITE_EVERY - 0.25
    assert not checkpoint.due(), "the second has not passed"
    clock.now += 0.25
    assert checkpoint.due()
    checkpoint.save()
    clock.now += WRITE_EVERY
    assert not checkpoint.due(), "nothing is new"


def test_a_checkpoint_is_never_due_before_it_has_caught_up() -> None:
    """What it would write then knows less than what is there."""
    clock, store, jobs = Clock(), MemoryStore(), [job(position, "a") for position in (1, 2, 3)]
    before = Checkpoint(store, clock=clock)
    for each in before.resume(jobs[:2]):
        before.settle(receipt_for(each, Outcome.DELIVERED, "", ""))
    before.save()
    again = Checkpoint(store, clock=clock)

    def a_second_for_each() -> Iterator[Job]:
        for each in jobs:
            assert again.due() is (each.position == 3)
            yield each
            clock.now += WRITE_EVERY

    resumed = again.resume(a_second_for_each())
    assert next(resumed).position == 3
    assert again.due()


@pytest.mark.parametrize("settled", [0, 2])
def test_how_much_a_try_resumes(settled: int) -> None:
    store, jobs = MemoryStore(), [job(position, "a") for position in (1, 2, 3)]
    before = Checkpoint(store)
    for each in list(before.resume(jobs))[:settled]:
        before.settle(receipt_for(each, Outcome.DELIVERED, "", ""))
    before.save()
    assert Checkpoint(store).resumes == settled


# --- after a kill -----------------------------------------------------------------------------------------------------


def _killed_between_two_saves(rows: list[dict[str, Any]], store: MemoryStore, adjust: Adjust) -> None:
    """The first save knows of three rows; two more of the same device are sent after it."""
    with pytest.raises(Killed):
        run_try(rows, store, adjust, kill_after=5, save_every=3)


def test_an_event_that_a_killed_try_sent_and_adjust_refuses_for_its_order_is_in_doubt() -> None:
    rows, store, adjust = make_rows([0] * 6), MemoryStore(), Adjust()
    _killed_between_two_saves(rows, store, adjust)
    summary = run_try(rows, store, adjust)
    assert summary.outcomes == {"delivered": 5, "in_doubt": 1}
    assert summary.reasons == {("in_doubt", "refused_after_resend"): 1}
    assert set(adjust.received) == {f"order-{place}" for place in range(6)}

    received = Counter(adjust.received)
    again = run_try(rows, store, adjust)
    assert again == summary, "a later try says the same"
    assert adjust.received == received, "and sends nothing"


def test_a_try_that_ended_by_itself_leaves_no_doubt_about_a_later_refusal() -> None:
    rows, store, adjust = make_rows([0, 1, 0, 1]), MemoryStore(), Adjust()
    run_try(rows[:2], store, adjust)
    adjust._last["device0"] = 2**40  # another sender has sent a later event
    summary = run_try(rows, store, adjust)
    assert summary.outcomes == {"delivered": 3, "rejected": 1}


def test_a_kill_is_remembered_by_every_later_try() -> None:
    """What the killed try sent may come much later in the input than what the next try reads."""
    rows, store, adjust = make_rows([0] * 6), MemoryStore(), Adjust()
    _killed_between_two_saves(rows, store, adjust)
    second = Checkpoint(store)
    resumed = [each for each in second.resume(_jobs(rows)) if isinstance(each, Job)]
    assert {each.after_kill for each in resumed} == {True}
    second.save(ended=True)
    third = [each for each in Checkpoint(store).resume(_jobs(make_rows([0] * 9))) if isinstance(each, Job)]
    assert {each.after_kill for each in third} == {True}


def _jobs(rows: list[dict[str, Any]]) -> Iterator[Any]:
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    return Sender({None: Route(parser, Target("http://127.0.0.1/event"))}, Adjust(), now=lambda: NOW).jobs(iter(rows))


def test_resends_are_counted_over_the_tries() -> None:
    rows, store = make_rows([0, 1]), MemoryStore()

    class Silent(Adjust):
        def poll(self, timeout: float | None) -> list[Completion]:
            return [
                Completion(done.key, failure=Failure.NO_ANSWER) if done.key.position == 1 else done
                for done in super().poll(timeout)
            ]

    adjust = Silent()
    for _ in range(4):
        summary = run_try(rows, store, adjust)
        assert summary.reasons == {("in_doubt", "too_many_resends"): 1}
    assert adjust.received == {"order-0": 2, "order-1": 1}


# --- a save that fails ------------------------------------------------------------------------------------------------


class Failing(MemoryStore):
    """Refuses to save so many times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def save(self, state: dict[str, Any]) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("the API server at http://user:password@host is gone")
        super().save(state)


def _settle(checkpoint: Checkpoint, *jobs: Job) -> None:
    for each in checkpoint.resume(jobs):
        assert isinstance(each, Job)
        checkpoint.settle(receipt_for(each, Outcome.DELIVERED, "", "", attempts=1))


def test_a_save_that_failed_is_due_again_after_growing_waits() -> None:
    clock, store = Clock(), Failing(3)
    checkpoint = Checkpoint(store, clock=clock)
    _settle(checkpoint, job(1, "a"))
    for wait in (FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4):
        checkpoint.try_to_save()
        assert checkpoint.behind
        clock.now += wait - 0.1
        assert not checkpoint.due()
        clock.now += 0.1
        assert checkpoint.due()
    checkpoint.try_to_save()
    assert not checkpoint.behind
    assert Checkpoint(store).resumes == 1


def test_the_waits_have_a_limit() -> None:
    clock = Clock()
    checkpoint = Checkpoint(Failing(99), clock=clock)
    _settle(checkpoint, job(1, "a"))
    for _ in range(7):
        checkpoint.try_to_save()
    clock.now += LONGEST_WAIT
    assert checkpoint.due()


def test_a_try_that_ends_because_it_cannot_save_says_what_a_retry_sends_again() -> None:
    clock, store = Clock(), Failing(99)
    checkpoint = Checkpoint(store, clock=clock)
    _settle(checkpoint, *[job(position, "a") for position in range(1, 12)])
    checkpoint.try_to_save()
    clock.now += SAVE_PATIENCE
    with pytest.raises(DeliveryStopped) as caught:
        checkpoint.try_to_save()
    assert "could not be saved for 120 s (ConnectionError)" in str(caught.value)
    assert "A retry sends 11 events again that Adjust may have (rows 1 to 11)" in str(caught.value)
    assert "password" not in str(caught.value)


def test_a_try_that_cannot_save_and_has_sent_nothing_says_so() -> None:
    clock, store = Clock(), Failing(99)
    checkpoint = Checkpoint(store, clock=clock)
    list(checkpoint.resume([job(1, "a")]))
    checkpoint.try_to_save()
    clock.now += SAVE_PATIENCE
    with pytest.raises(DeliveryStopped, match="A retry sends nothing again"):
        checkpoint.try_to_save()


def test_the_last_save_waits_between_its_tries() -> None:
    clock, store = Clock(), Failing(4)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    checkpoint = Checkpoint(store, clock=clock, sleep=sleep)
    _settle(checkpoint, job(1, "a"))
    checkpoint.save_at_the_end(ended=True)
    assert clock.now == pytest.approx(FIRST_WAIT * 15)
    assert Checkpoint(store).resumes == 1


def test_nothing_more_is_sent_until_the_checkpoint_can_be_saved_again() -> None:
    """Else what is settled meanwhile is sent again by a retry."""
    clock, store, transport = Clock(), Failing(6), FakeTransport()
    checkpoint = Checkpoint(store, clock=transport.clock, sleep=transport.pass_time)
    sink = Sink(checkpoint=checkpoint)
    routes: dict[str | None, Route] = {None: Route(EventParser(), Target("http://127.0.0.1/event"))}
    delivery = Delivery(transport, routes, SendOptions(max_in_flight=2), sink=sink, clock=transport.clock)
    receipts: list[Any] = []
    sent_while_behind: set[int] = set()
    waited_for: set[str] = set()
    stream = checkpoint.resume([job(position, f"d{position}") for position in range(1, 101)])
    for round_ in delivery.rounds(stream):
        receipts += round_
        if sink.behind:
            sent_while_behind.add(len(transport.sent))
            waited_for.add(delivery.waiting_for)
    sink.save()
    assert len(sent_while_behind) == 1
    assert waited_for == {"waiting to save the checkpoint"}
    assert {receipt.outcome for receipt in receipts} == {Outcome.DELIVERED}
    assert len(receipts) == len(transport.sent) == 100
    assert Checkpoint(store).resumes == 100
    assert clock.now == 0


def test_a_delivery_that_gives_up_saving_takes_the_answers_under_way_and_holds_the_rest() -> None:
    store, transport = Failing(10_000), FakeTransport()
    checkpoint = Checkpoint(store, clock=transport.clock, sleep=transport.pass_time)
    sink = Sink(checkpoint=checkpoint)
    routes: dict[str | None, Route] = {None: Route(EventParser(), Target("http://127.0.0.1/event"))}
    delivery = Delivery(transport, routes, SendOptions(max_in_flight=2), sink=sink, clock=transport.clock)
    jobs = [job(position, f"d{position}") for position in range(1, 101)]
    receipts, error = until_raised(delivery.run(checkpoint.resume(jobs)), DeliveryStopped)
    outcomes = Counter(receipt.outcome for receipt in receipts)
    assert f"A retry sends {outcomes[Outcome.DELIVERED]} events again" in str(error)
    assert outcomes[Outcome.DELIVERED] == len(transport.sent) < 100


# --- a size that is bounded -------------------------------------------------------------------------------------------


def test_reading_ends_before_the_list_of_open_events_no_longer_fits() -> None:
    store = MemoryStore()
    checkpoint = Checkpoint(store)
    positions = random.Random(1).sample(range(10_000_000), 60_000)

    def hold_all(checkpoint: Checkpoint, jobs: Iterator[Job]) -> Iterator[int]:
        for each in checkpoint.resume(jobs):
            assert isinstance(each, Job)
            kind = (Outcome.HELD, Outcome.IN_DOUBT)[each.position % 2]
            checkpoint.settle(receipt_for(each, kind, "no_answer", "", lost_answers=each.position % 3))
            yield each.position

    def jobs() -> Iterator[Job]:
        return (replace(job(1, "a"), position=position) for position in sorted(positions))

    held, error = until_raised(hold_all(checkpoint, jobs()), DeliveryStopped)
    assert "as many as a checkpoint can list" in str(error)
    assert 10_000 < len(held) < 60_000
    checkpoint.save(ended=True)
    assert store.text is not None
    assert len(store.text) <= MAX_BYTES

    # A retry holds the same events again and reads nothing more.
    checkpoint = Checkpoint(store)
    again, _ = until_raised(hold_all(checkpoint, jobs()), DeliveryStopped)
    assert again == held
    checkpoint.save(ended=True)


@given(
    st.lists(st.sampled_from([Outcome.DELIVERED, Outcome.HELD, Outcome.IN_DOUBT, None]), max_size=300),
    st.integers(300, 3000),
)
def test_the_list_of_open_events_fits_however_they_end(ends: list[Outcome | None], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_module, "MAX_BYTES", limit + checkpoint_module._BYTES_FOR_COUNTS)
        patch.setattr(checkpoint_module, "_MEASURE_EVERY", 4)
        checkpoint = Checkpoint(MemoryStore())
        given_jobs = [job(position * position, "a") for position in range(1, len(ends) + 1)]
        read: list[Job] = []
        try:
            read.extend(each for each in checkpoint.resume(given_jobs) if isinstance(each, Job))
        except DeliveryStopped:
            assert len(read) % 4 == 0, "it is measured after each four"
        for each, outcome in zip(read, ends, strict=False):
            if outcome is not None:
                checkpoint.settle(receipt_for(each, outcome, "", "", lost_answers=each.position % 3))
        checkpoint.save()


def test_an_event_of_the_future_is_offered_again_by_a_later_try() -> None:
    """The clock of one worker is behind: the event is not refused for good."""
    rows, store, adjust = make_rows([0, 1]), MemoryStore(), Adjust()
    rows[1]["created_at"] = NOW + timedelta(minutes=10)
    early = run_try(rows, store, adjust)
    assert early.reasons == Counter({("invalid", "created_at_in_future"): 1})
    late = run_try(rows, store, adjust, now=NOW + timedelta(minutes=8))
    assert late.outcomes == Counter(delivered=2)
    assert adjust.received == Counter({"order-0": 1, "order-1": 1})


def test_a_killed_task_waits_for_its_store_a_few_seconds_only() -> None:
    now = [0.0]
    store = MemoryStore()
    checkpoint = Checkpoint(store, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))

    def away(_: Any) -> None:
        raise OSError("the API server is away")

    store.save = away  # type: ignore[method-assign]
    list(checkpoint.resume([job(1, "a")]))
    checkpoint.hurry()
    with pytest.raises(DeliveryStopped, match="could not be saved for 2 s"):
        checkpoint.save_at_the_end(ended=True)
    assert now[0] < 4


def test_the_words_of_a_refusal_never_keep_a_checkpoint_from_being_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    checkpoint = Checkpoint(store)
    list(checkpoint.resume([job(1, "a")]))
    checkpoint.settle(receipt_for(job(1, "a"), Outcome.REJECTED, "bad_event_state", "ä" * 200))
    monkeypatch.setattr(checkpoint_module, "MAX_BYTES", 1_000)
    checkpoint.save()
    state = store.load()
    assert state is not None
    assert state["settled"]["first_details"] == []
    assert state["settled"]["reasons"] == [["rejected", "bad_event_state", 1]]
