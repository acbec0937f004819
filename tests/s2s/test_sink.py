"""What is kept of the receipts when a file, the ledger or the checkpoint fails: nothing that is known is lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from fake_transport import UNKNOWN_DEVICE, FakeTransport
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from s2s_case import job, until_raised

from airflow_provider_adjust.s2s import EventParser, Receipt, Route, Sender, SendOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.transports import Target

FULL = OSError(28, "No space left on device")
ROUTES: dict[str | None, Route] = {None: Route(EventParser(), Target("http://127.0.0.1/event"))}


class Disk:
    """A file on a disk that takes so many lines; ``buffered`` are lost when it is full, as a file's are."""

    written_to = "/rejected.jsonl"

    def __init__(self, room: int, *, buffered: bool = False) -> None:
        self.room = room
        self.lines = 0
        self.on_disk: list[str] = []
        self._buffered = buffered
        self._buffer: list[str] = []

    def write(self, line: str) -> None:
        self.lines += 1
        self._buffer.append(line)
        if not self._buffered:
            self.flush()

    def flush(self) -> None:
        lines, self._buffer = self._buffer, []
        for line in lines:
            if len(self.on_disk) >= self.room:
                raise FULL
            self.on_disk.append(line)


class Noting:
    """A ledger that records the calls to settle."""

    batch_size = 8

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.flushed = 0

    def settle(self, receipt: Any) -> None:
        self.settled.append(receipt.position)

    def flush(self) -> None:
        self.flushed = len(self.settled)


def _deliver(transport: FakeTransport, sink: Sink, checkpoint: Checkpoint, count: int) -> tuple[list[Any], Any]:
    delivery = Delivery(transport, ROUTES, SendOptions(max_in_flight=4), sink=sink, clock=transport.clock)
    jobs = [job(position, f"d{position}") for position in range(1, count + 1)]
    return until_raised(delivery.run(checkpoint.resume(jobs)), OSError)


@pytest.mark.parametrize("file", ["rejected", "responses"])
def test_a_full_disk_ends_the_sending_and_every_answer_that_comes_is_settled(file: str) -> None:
    transport = FakeTransport({position: [UNKNOWN_DEVICE] for position in (3, 5, 6)})
    store, ledger = MemoryStore(), Noting()
    checkpoint = Checkpoint(store, clock=transport.clock)
    files: Any = {file: Disk(1)}
    sink = Sink(checkpoint=checkpoint, ledger=ledger, **files)  # type: ignore[arg-type]
    receipts, error = _deliver(transport, sink, checkpoint, 100)
    with pytest.raises(OSError, match="No space left"):
        sink.save()
    assert error is FULL
    answered = {receipt.position for receipt in receipts if receipt.attempts}
    assert answered == set(transport.positions), "every request that was sent has a receipt"
    assert len(answered) < 20
    assert answered <= set(ledger.settled)
    assert ledger.flushed == len(ledger.settled)
    delivered = sum(receipt.outcome is Outcome.DELIVERED for receipt in receipts)
    assert Checkpoint(store).earlier.outcomes["delivered"] == delivered


@pytest.mark.parametrize("buffered", [False, True])
@given(room=st.integers(0, 12), refused=st.sets(st.integers(1, 12)))
def test_every_refusal_is_in_the_lines_that_the_checkpoint_counts_or_is_offered_again(
    room: int, refused: set[int], buffered: bool
) -> None:
    store, adjust = MemoryStore(), Counter[int]()
    listed: list[str] = []
    for size in (room, 99):
        transport = FakeTransport({position: [UNKNOWN_DEVICE] for position in refused})
        checkpoint = Checkpoint(store, clock=transport.clock)
        disk = Disk(size, buffered=buffered)
        sink = Sink(rejected=disk, checkpoint=checkpoint)
        delivery = Delivery(transport, ROUTES, SendOptions(max_in_flight=3), sink=sink, clock=transport.clock)
        before = listed[: checkpoint.rejected_lines]
        try:
            list(delivery.run(checkpoint.resume([job(position, f"d{position}") for position in range(1, 13)])))
            sink.save()
        except OSError:
            with pytest.raises(OSError, match="No space left"):
                sink.save()
        adjust.update(set(transport.positions) - refused)
        listed = before + disk.on_disk
    assert set(adjust.values()) <= {1}, "what Adjust has is not sent again"
    assert sorted(int(line.split('"position": ')[1].split(",")[0]) for line in listed) == sorted(refused)


def test_a_refusal_is_settled_once_its_line_is_in_the_file() -> None:
    store = MemoryStore()
    transport = FakeTransport(otherwise=UNKNOWN_DEVICE)
    checkpoint = Checkpoint(store, clock=transport.clock)
    sink = Sink(rejected=Disk(9), checkpoint=checkpoint)
    delivery = Delivery(transport, ROUTES, SendOptions(), sink=sink, clock=transport.clock)
    list(delivery.run(checkpoint.resume([job(position, f"d{position}") for position in (1, 2, 3)])))
    sink.save()
    again = Checkpoint(store)
    assert (again.resumes, again.rejected_path, again.rejected_lines) == (3, "/rejected.jsonl", 3)


def test_what_was_taken_over_counts_as_settled_before() -> None:
    store = MemoryStore()
    for expected in (0, 3):
        transport = FakeTransport()
        checkpoint = Checkpoint(store, clock=transport.clock)
        sink = Sink(checkpoint=checkpoint)
        assert sink.settled_before == expected
        delivery = Delivery(transport, ROUTES, SendOptions(), sink=sink, clock=transport.clock)
        list(delivery.run(checkpoint.resume([job(position, "a") for position in (1, 2, 3)])))
        sink.save()


class Interrupted(BaseException):
    """Stands for Airflow's timeout, which may come anywhere."""


def test_answers_that_an_interruption_left_untaken_are_taken_when_the_sender_saves() -> None:
    class Interrupting(Sink):
        interrupts = True

        def take(self, receipt: Any) -> None:
            if self.interrupts and receipt.position == 2:
                self.interrupts = False
                raise Interrupted
            super().take(receipt)

    store, transport = MemoryStore(), FakeTransport()
    checkpoint = Checkpoint(store, clock=transport.clock)
    sink = Interrupting(checkpoint=checkpoint)
    delivery = Delivery(transport, ROUTES, SendOptions(max_in_flight=4), sink=sink, clock=transport.clock)
    jobs = [job(position, f"d{position}") for position in range(1, 20)]
    with pytest.raises(Interrupted):
        list(delivery.run(checkpoint.resume(jobs)))
    delivery.hand_over()
    sink.save(ended=not delivery.in_flight)
    answered = len(transport.sent) - delivery.in_flight
    assert Checkpoint(store).resumes == answered - 1, "all but the one that was being taken"


def test_a_disk_that_is_full_when_the_file_is_flushed_keeps_the_checkpoint_from_nothing() -> None:
    """Both while it sends and at its end; the row that is not an event is listed by the next try."""
    store = MemoryStore()
    transport = FakeTransport()
    checkpoint = Checkpoint(store, clock=transport.clock)
    sink = Sink(rejected=Disk(0, buffered=True), checkpoint=checkpoint)
    delivery = Delivery(transport, ROUTES, SendOptions(max_in_flight=1), sink=sink, clock=transport.clock)
    refusal = Receipt(Outcome.INVALID, "missing_device_id", "x", 1, row={"the": "row"})
    items = [refusal, *[job(position, f"d{position}") for position in range(2, 40)]]
    receipts, error = until_raised(delivery.run(checkpoint.resume(items)), OSError)
    assert error is FULL
    delivered = sum(receipt.outcome is Outcome.DELIVERED for receipt in receipts)
    assert 0 < delivered == len(transport.sent) < 38, "it was noticed on the way"
    with pytest.raises(OSError, match="No space left"):
        sink.save()
    assert Checkpoint(store).earlier.outcomes == {"delivered": delivered}

    again = Sink(rejected=(disk := Disk(9)), checkpoint=(checkpoint := Checkpoint(store)))
    delivery = Delivery(transport, ROUTES, SendOptions(), sink=again, clock=transport.clock)
    list(delivery.run(checkpoint.resume(items)))
    again.save()
    assert len(disk.on_disk) == 1
    assert Checkpoint(store).earlier.outcomes == {"delivered": 38, "invalid": 1}
    assert len(transport.sent) == 38


def test_a_sender_says_what_it_waits_for() -> None:
    assert Sender(ROUTES, FakeTransport()).waiting_for == ""
