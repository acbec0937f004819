"""A retry goes on where the last try stopped: whatever is killed, nothing is lost and the counts add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from s2s_case import job

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import receipt_for
from airflow_provider_adjust.s2s.checkpoint import MAX_BYTES, WRITE_EVERY, Checkpoint
from airflow_provider_adjust.s2s.errors import CheckpointMismatch, DeliveryStopped
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Completion, Target

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OK = b'{"status": "OK"}'
NOT_FOUND = b'{"error": "Event request failed (Device not found)"}'


class Adjust:
    """A transport and the Adjust behind it: answers at once, refuses the devices that it does not know."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.order: list[str] = []
        self._done: list[Completion] = []

    def hang_up(self) -> None:
        """A killed sender never sees the answers that were on their way."""
        self._done.clear()

    def submit(self, key: Any, target: Target, body: str) -> None:
        event = key.event
        unknown = event.params["gps_adid"].startswith("unknown")
        if not unknown:
            self.received[event.event_id] += 1
            self.order.append(event.event_id)
        self._done.append(Completion(key, 404 if unknown else 200, NOT_FOUND if unknown else OK))

    def poll(self, timeout: float | None) -> list[Completion]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to free."""


class Killed(BaseException):
    """Stands for kill -9: nothing below gets to save anything."""


def make_rows(devices: list[int]) -> list[dict[str, Any]]:
    """A row for each number: below 0 the device is unknown to Adjust, 99 is a row that is no event."""
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
) -> DeliverySummary:
    parser = EventParser(RowOptions(app_token="app1", event_token="event1", environment="sandbox", id_field="order_id"))
    adjust.hang_up()
    checkpoint = Checkpoint(store)
    sender = Sender(
        {None: Route(parser, Target("http://127.0.0.1/event"))},
        adjust,
        SendOptions(max_in_flight=2, on_in_doubt=on_in_doubt),
        checkpoint=checkpoint,
        now=lambda: NOW,
    )
    summary = checkpoint.earlier.copy()
    source: Any = iter(rows) if stream else rows
    for count, receipt in enumerate(sender.send(source), start=1):
        summary.add(receipt)
        if count % save_every == 0:
            checkpoint.save()
        if count == kill_after:
            raise Killed
    checkpoint.save()
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
    assert summary == undisturbed
    expected = {row["order_id"] for row, device in zip(rows, devices, strict=True) if 0 <= device < 99}
    assert set(adjust.received) == expected


@given(devices=st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=40), kill_after=st.integers(1, 40))
def test_at_most_what_was_under_way_is_sent_again(devices: list[int], kill_after: int) -> None:
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
        checkpoint.save()
    assert store.text is None


def test_the_state_of_a_large_run_is_small() -> None:
    store, adjust = MemoryStore(), Adjust()
    run_try(make_rows([place % 50 for place in range(5000)]), store, adjust, save_every=500)
    assert store.text is not None
    assert len(store.text) < 2000 < MAX_BYTES


def test_an_event_in_doubt_is_not_sent_by_the_next_try_when_it_is_to_be_held() -> None:
    rows, store = make_rows([0, 1, 0]), MemoryStore()

    class Silent(Adjust):
        def poll(self, timeout: float | None) -> list[Completion]:
            from airflow_provider_adjust.s2s.transports import Failure

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
