"""A SQL table of what was delivered: once-only across tries, runs, clears, backfills and overlapping windows.

An event is written as ``sending`` before it goes out and settled after, both in batches. So after a lost worker the
events in doubt are known one by one, and everything else is known to be in Adjust or not. Statuses are kept by event id;
no device id, no address and no secret is stored.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import OnInDoubt, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.ledger.schema import prepare
from airflow_provider_adjust.s2s.ledger.statements import (
    HeldCounts,
    Scope,
    TaskInstanceId,
    delete_claimed,
    insert_new,
    retry_on_conflict,
    update,
)

#: Seconds after which settled events are written even when a batch is not full.
WRITE_EVERY = 1.0
#: A claim of another task instance that is older than this belongs to a worker that was lost.
CLAIM_EXPIRES = timedelta(minutes=15)
_T = TypeVar("_T")
_SENT = {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.IN_DOUBT}


class Ledger:
    """The ledger as one task instance uses it: ``begin_claim`` before sending, ``settle`` after, ``flush`` at the end.

    :param engine: any SQLAlchemy engine. The table is made on first use.
    :param retry_unknown_devices: how old an event may be that was refused as ``device_not_found`` and is offered again.
    """

    def __init__(
        self,
        engine: sa.Engine,
        task_instance: TaskInstanceId,
        *,
        on_in_doubt: OnInDoubt = "resend",
        retry_unknown_devices: timedelta | None = None,
        batch_size: int = 64,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._task_instance = task_instance
        self._on_in_doubt = on_in_doubt
        self._retry_unknown_devices = retry_unknown_devices
        self.batch_size = batch_size
        self._now = now
        self._clock = clock
        self._claim = uuid.uuid4().hex
        self._open: set[tuple[Scope, str]] = set()
        self._settled: list[Receipt] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="adjust-ledger")
        self._flushing: Future[None] | None = None
        self._held = HeldCounts(task_instance)
        self._written_at = clock()
        prepare(engine)
        self._write([], self._held.forget)

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        """Write the events as ``sending``; for each a claim, or the receipt of one that is not to be sent now.

        The database works while events are sent. One thread writes, so that all is written in the order in which it
        was asked for.
        """
        return self._writer.submit(self._write_claim, self._take_settled(), jobs)

    def _write_claim(self, settled: list[Receipt], jobs: Sequence[Job]) -> list[Claim | Receipt]:
        answers = self._write(settled, lambda connection: self._claim_in(connection, jobs))
        # Only now: what a lost race has undone is not this task's to settle.
        self._open.update(
            row_key(job.event) for job, each in zip(jobs, answers, strict=True) if isinstance(each, Claim)
        )
        return answers

    def _write(self, settled: list[Receipt], more: Callable[[sa.Connection], _T]) -> _T:
        """Write what was settled, and more, in one transaction.

        Settled events are written before new claims. Otherwise, after a kill, an event and its predecessor would both be in
        doubt and could be sent again out of order.
        """

        def work() -> _T:
            with self._engine.begin() as connection:
                self._write_settled(connection, settled)
                return more(connection)

        try:
            result = retry_on_conflict(work)
        except BaseException:
            self._settled[:0] = settled
            raise
        self._open.difference_update(row_key(receipt.event) for receipt in settled if receipt.event)
        return result

    def _claim_in(self, connection: sa.Connection, jobs: Sequence[Job]) -> list[Claim | Receipt]:
        answers: dict[int, Claim | Receipt] = {}
        # Every task takes scopes and events in one order, or two would wait for each other.
        for scope, group in sorted(by_scope(jobs).items(), key=lambda item: item[0]):
            group.sort(key=lambda job: event_key(job.event.event_id))
            known = insert_new(connection, scope, [to_row(job.event) for job in group], self._claim_columns())
            for job in group:
                key = event_key(job.event.event_id)
                answer = self._decide(job, known[key]) if key in known else Claim()
                answers[id(job)] = answer
                if key in known and isinstance(answer, Claim):
                    update(connection, scope, [key], {**to_row(job.event), **self._claim_columns()})
        return [answers[id(job)] for job in jobs]

    def _decide(self, job: Job, record: Any) -> Claim | Receipt:
        """What an earlier claim means for the event."""
        before = f"in run {record.run_id or 'unknown'} of {record.dag_id or 'a task outside Airflow'}"
        if record.status in {Outcome.DELIVERED.value, Outcome.DUPLICATE.value}:
            if self._is_own(record):
                # The result covers all tries of this task instance.
                return receipt_for(
                    job, Outcome(record.status), record.reason, "by an earlier try", http_status=record.http_status
                )
            return receipt_for(job, Outcome.SKIPPED, "delivered_before", f"it was delivered {before}")
        if record.status == Outcome.REJECTED.value:
            if record.content != content_digest(job.event) or self._offers_again(job, record):
                return Claim()
            detail = f"Adjust refused it {before}; change the row to send it again"
            return receipt_for(job, Outcome.REJECTED, record.reason, detail, http_status=record.http_status)
        age = self._now().replace(tzinfo=None) - record.updated_at
        if record.status == "sending" and not self._is_own(record) and age < CLAIM_EXPIRES:
            return receipt_for(job, Outcome.HELD, "sent_elsewhere", f"another task is sending it, {before}")
        if self._on_in_doubt == "hold":
            return receipt_for(
                job,
                Outcome.IN_DOUBT,
                "no_answer",
                f"it was sent {before}, and no answer came; check in Adjust whether it was recorded",
            )
        return Claim(sent_before=True)

    def _offers_again(self, job: Job, record: Any) -> bool:
        limit = self._retry_unknown_devices
        return (
            limit is not None and record.reason == "device_not_found" and self._now() - job.event.occurred_at <= limit
        )

    def _is_own(self, record: Any) -> bool:
        """Tell whether an earlier try of this very task instance made the claim; only one try runs at a time."""
        own = self._task_instance
        return (record.dag_id, record.run_id, record.task_id, record.map_index) == (
            own.dag_id,
            own.run_id,
            own.task_id,
            own.map_index,
        )

    def _claim_columns(self) -> dict[str, Any]:
        """The columns that are the same for all events of a claim."""
        own = self._task_instance
        return {
            "status": "sending",
            "reason": "",
            "http_status": None,
            "claim": self._claim,
            "dag_id": own.dag_id,
            "run_id": own.run_id,
            "task_id": own.task_id,
            "map_index": own.map_index,
            "updated_at": self._now().replace(tzinfo=None),
        }

    def settle(self, receipt: Receipt) -> None:
        """Note the end of an event that was claimed; of other events, only held ones are counted."""
        if receipt.event is None:
            return
        place = row_key(receipt.event)
        if receipt.outcome is Outcome.HELD:
            self._held.add(place[0], receipt.event)
        if place not in self._open:
            return
        self._settled.append(receipt)
        # More than one batch, since the next claim writes it along.
        if len(self._settled) >= 2 * self.batch_size or self._clock() - self._written_at >= WRITE_EVERY:
            self._begin_flush()

    def flush(self) -> None:
        """Write what was settled; return when it is written."""
        # First what is under way: where it fails, its receipts come back and have to be written again.
        self._end_flush()
        if self._settled or self._held.changed:
            self._begin_flush()
            self._end_flush()
            self._held.changed = False

    def _begin_flush(self) -> None:
        if self._flushing is not None:
            if not self._flushing.done():
                return  # what is settled meanwhile goes with the next one
            self._end_flush()
        self._flushing = self._writer.submit(self._write, self._take_settled(), self._held.write)

    def _end_flush(self) -> None:
        if self._flushing is not None:
            written, self._flushing = self._flushing, None
            written.result()

    def _take_settled(self) -> list[Receipt]:
        settled, self._settled = self._settled, []
        self._written_at = self._clock()
        return settled

    def close(self) -> None:
        """End the thread that writes."""
        self._writer.shutdown()

    def _write_settled(self, connection: sa.Connection, settled: Sequence[Receipt]) -> None:
        now = self._now().replace(tzinfo=None)
        groups: dict[tuple[Scope, Outcome, str, int | None], list[str]] = defaultdict(list)
        for receipt in settled:
            assert receipt.event is not None  # noqa: S101 - settle() takes no other
            scope, key = row_key(receipt.event)
            groups[scope, receipt.outcome, receipt.reason, receipt.http_status].append(key)
        for (scope, outcome, reason, http_status), keys in groups.items():
            if outcome in _SENT:
                values = {"status": outcome.value, "reason": reason, "http_status": http_status, "updated_at": now}
                update(connection, scope, keys, values)
            else:
                # Held: it surely did not reach Adjust, so nothing is known of it.
                delete_claimed(connection, scope, keys, self._claim)


_LONGEST_ID = 255


def to_row(event: Event) -> dict[str, Any]:
    """What the table keeps of the event itself."""
    return {
        "event_id": event_key(event.event_id),
        "content": content_digest(event),
        "occurred_at": event.occurred_at.replace(tzinfo=None),
        "revenue": event.revenue,
        "currency": event.params.get("currency"),
    }


def content_digest(event: Event) -> str:
    """Tell a corrected event from the one that was refused, without revealing its content."""
    return blake2b(repr(sorted(event.params.items())).encode(), digest_size=16).hexdigest()


def event_key(event_id: str) -> str:
    """The event's id as the table holds it; one that is too long for a key, or that not every database takes (it has a
    NUL or no UTF-8), becomes a digest."""
    if len(event_id) <= _LONGEST_ID and event_id.isprintable():
        return event_id
    return blake2b(event_id.encode("utf-8", "backslashreplace"), digest_size=32).hexdigest()


def row_key(event: Event) -> tuple[Scope, str]:
    """The scope and the key of the event's row."""
    params, endpoint = event.params, event.endpoint
    # Keys of two endpoints may be the same text.
    key = event.key if endpoint is EVENT else f"{endpoint.name}:{event.key}"
    return Scope(params["app_token"], key, params["environment"]), event_key(event.event_id)


def by_scope(jobs: Iterable[Job]) -> dict[Scope, list[Job]]:
    groups: dict[Scope, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[row_key(job.event)[0]].append(job)
    return groups
