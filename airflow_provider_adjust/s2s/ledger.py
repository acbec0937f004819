"""A SQL table of what was delivered: once-only across tries, runs, clears, backfills and overlapping windows.

An event is written as ``sending`` before it goes out and settled after, both in batches. So after a lost worker the
events in doubt are known one by one, and everything else is known to be in Adjust or not. Statuses are kept by event id;
no device id, no address and no secret is stored.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from airflow_provider_adjust.s2s.delivery import OnInDoubt
from airflow_provider_adjust.s2s.events import Event
from airflow_provider_adjust.s2s.ledger_schema import deliveries, held, prepare
from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.s2s.schedule import Job

#: Seconds after which settled events are written even when a batch is not full.
WRITE_EVERY = 1.0
#: A claim of another task instance that is older than this belongs to a worker that was lost.
CLAIM_EXPIRES = timedelta(minutes=15)
_LONGEST_ID = 255
#: A race is lost to another task that went on, so there must be more of these than tasks that send the same events.
_ATTEMPTS = 20
#: SQLSTATE of a serialization failure and of a deadlock, and MySQL's number for the latter.
_RACE_CODES = {"40001", "40P01", 1213}
_T = TypeVar("_T")

_SENT = {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.IN_DOUBT}


@dataclass(frozen=True, slots=True)
class TaskInstanceId:
    """Who sends: the words by which Airflow knows the task instance."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1


class _Scope(NamedTuple):
    """An event id identifies an event within these: one order may be a purchase and a first purchase."""

    app_token: str
    event_token: str
    environment: str


class Ledger:
    """The ledger as one task instance uses it: ``claim`` before sending, ``settle`` after, ``flush`` at the end.

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
        self._open: set[tuple[_Scope, str]] = set()
        self._settled: list[Receipt] = []
        self._held: Counter[tuple[_Scope, date]] = Counter()
        self._written_at = clock()
        prepare(engine)
        # What an earlier try held is offered to this one.
        _again_after_a_lost_race(self._forget_held)

    def claim(self, jobs: Sequence[Job]) -> list[Receipt | None]:
        """Write the events as ``sending``; for each None, or the receipt of one that is not to be sent now."""
        return _again_after_a_lost_race(lambda: self._try_claim(jobs))

    def _try_claim(self, jobs: Sequence[Job]) -> list[Receipt | None]:
        refusals: dict[int, Receipt | None] = {}
        claimed: list[tuple[_Scope, str]] = []
        with self._engine.begin() as connection:
            # First what came before in their lanes: after a kill it would be in doubt beside them, and sent again behind
            # them, out of order.
            self._write_settled(connection)
            for scope, group in _by_scope(jobs).items():
                # Every task takes them in one order, or two would wait for each other.
                group.sort(key=lambda job: _key(job.event.event_id))
                known = self._known(connection, scope, [_key(job.event.event_id) for job in group])
                fresh: list[Job] = []
                again: list[Job] = []
                for job in group:
                    key = _key(job.event.event_id)
                    record = known.get(key)
                    refusal = None if record is None else self._decide(job, record)
                    refusals[id(job)] = refusal
                    if refusal is None:
                        claimed.append((scope, key))
                        (fresh if record is None else again).append(job)
                if fresh:
                    connection.execute(deliveries.insert(), [self._record(scope, job) for job in fresh])
                for job in again:
                    connection.execute(_at(scope, [_key(job.event.event_id)]).values(self._record(scope, job)))
        self._forget_settled()
        self._open.update(claimed)
        return [refusals[id(job)] for job in jobs]

    def _known(self, connection: sa.Connection, scope: _Scope, keys: list[str]) -> dict[str, Any]:
        query = sa.select(deliveries).where(*_within(scope), deliveries.c.event_id.in_(keys))
        in_order = query.order_by(deliveries.c.event_id).with_for_update()
        return {record.event_id: record for record in connection.execute(in_order)}

    def _decide(self, job: Job, record: Any) -> Receipt | None:
        """What an earlier claim means for the event; None sends it."""
        before = f"in run {record.run_id or 'unknown'} of {record.dag_id or 'a task outside Airflow'}"
        if record.status in {Outcome.DELIVERED.value, Outcome.DUPLICATE.value}:
            if self._is_own(record):
                # The result covers all tries of this task instance.
                return _receipt(job, Outcome(record.status), record.reason, "by an earlier try", record.http_status)
            return _receipt(job, Outcome.SKIPPED, "delivered_before", f"it was delivered {before}")
        if record.status == Outcome.REJECTED.value:
            if record.content != content_digest(job.event) or self._offers_again(job, record):
                return None
            detail = f"Adjust refused it {before}; it is sent again once it was mended"
            return _receipt(job, Outcome.REJECTED, record.reason, detail, record.http_status)
        age = self._now().replace(tzinfo=None) - record.updated_at
        if record.status == "sending" and not self._is_own(record) and age < CLAIM_EXPIRES:
            return _receipt(job, Outcome.HELD, "sent_elsewhere", f"another task is sending it, {before}")
        if self._on_in_doubt == "hold":
            return _receipt(
                job, Outcome.IN_DOUBT, "no_answer", f"it was sent {before}, and no answer came; look into Adjust"
            )
        job.doubtful = True
        return None

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

    def _record(self, scope: _Scope, job: Job) -> dict[str, Any]:
        event, own = job.event, self._task_instance
        now = self._now().replace(tzinfo=None)
        return {
            **scope._asdict(),
            "event_id": _key(event.event_id),
            "status": "sending",
            "reason": "",
            "http_status": None,
            "content": content_digest(event),
            "occurred_at": event.occurred_at.replace(tzinfo=None),
            "revenue": event.revenue,
            "currency": event.params.get("currency"),
            "claim": self._claim,
            "dag_id": own.dag_id,
            "run_id": own.run_id,
            "task_id": own.task_id,
            "map_index": own.map_index,
            "updated_at": now,
        }

    def settle(self, receipt: Receipt) -> None:
        """Note the end of an event that was claimed; of others it is only counted how many were held."""
        event = receipt.event
        if event is None:
            return
        if receipt.outcome is Outcome.HELD:
            self._held[_scope(event), event.occurred_at.astimezone(UTC).date()] += 1
        if (_scope(event), _key(event.event_id)) not in self._open:
            return
        self._settled.append(receipt)
        # More than one batch, since the next claim writes it along.
        if len(self._settled) >= 2 * self.batch_size or self._clock() - self._written_at >= WRITE_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what was settled."""
        if self._settled or self._held:
            _again_after_a_lost_race(self._try_flush)

    def _try_flush(self) -> None:
        with self._engine.begin() as connection:
            self._write_settled(connection)
            if self._held:
                connection.execute(self._own_held())
                connection.execute(held.insert(), [self._held_record(*key) for key in sorted(self._held)])
        self._forget_settled()

    def _held_record(self, scope: _Scope, day: date) -> dict[str, Any]:
        return asdict(self._task_instance) | scope._asdict() | {"day": day, "events": self._held[scope, day]}

    def _forget_held(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(self._own_held())

    def _own_held(self) -> sa.Delete:
        own = asdict(self._task_instance)
        return sa.delete(held).where(*(held.c[name] == value for name, value in own.items()))

    def _write_settled(self, connection: sa.Connection) -> None:
        now = self._now().replace(tzinfo=None)
        groups: dict[tuple[_Scope, Outcome, str, int | None], list[str]] = defaultdict(list)
        for receipt in self._settled:
            assert receipt.event is not None  # noqa: S101 - settle() takes no other
            key = (_scope(receipt.event), receipt.outcome, receipt.reason, receipt.http_status)
            groups[key].append(_key(receipt.event.event_id))
        for (scope, outcome, reason, http_status), keys in groups.items():
            if outcome in _SENT:
                values = {"status": outcome.value, "reason": reason, "http_status": http_status, "updated_at": now}
                connection.execute(_at(scope, keys).values(values))
            else:
                # Held: it surely did not reach Adjust, so nothing is known of it.
                mine = sa.delete(deliveries).where(
                    *_within(scope), deliveries.c.event_id.in_(keys), deliveries.c.claim == self._claim
                )
                connection.execute(mine)

    def _forget_settled(self) -> None:
        for receipt in self._settled:
            assert receipt.event is not None  # noqa: S101 - settle() takes no other
            self._open.discard((_scope(receipt.event), _key(receipt.event.event_id)))
        self._settled.clear()
        self._written_at = self._clock()


def prune(engine: sa.Engine, *, older_than: timedelta, now: datetime | None = None) -> int:
    """Delete settled events that happened before that; return how many.

    Adjust takes no event older than 58 days, so what is older cannot be sent twice. Events in doubt stay. Counts of held
    events that are as old go, too.
    """
    prepare(engine)
    before = ((now or datetime.now(UTC)) - older_than).replace(tzinfo=None)
    settled = [outcome.value for outcome in _SENT if outcome is not Outcome.IN_DOUBT]
    old = sa.delete(deliveries).where(deliveries.c.occurred_at < before, deliveries.c.status.in_(settled))
    with engine.begin() as connection:
        connection.execute(sa.delete(held).where(held.c.day < before.date()))
        return int(connection.execute(old).rowcount)


def _again_after_a_lost_race(work: Callable[[], _T]) -> _T:
    """Do it again when another task was faster with one of the events; the next look sees what it wrote."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except DBAPIError as error:
            if not _is_lost_race(error):
                raise
    return work()


def _is_lost_race(error: DBAPIError) -> bool:
    """Tell a row that came in between, or a transaction that the database gave up for another, from a real failure."""
    cause: Any = error.orig
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
    return isinstance(error, IntegrityError) or not _RACE_CODES.isdisjoint(codes)


def content_digest(event: Event) -> str:
    """Tell a mended event from the one that was refused, without revealing what it holds."""
    return blake2b(repr(sorted(event.params.items())).encode(), digest_size=16).hexdigest()


def _key(event_id: str) -> str:
    """The event's id as the table holds it; one that is too long for a key becomes a digest."""
    if len(event_id) <= _LONGEST_ID:
        return event_id
    return blake2b(event_id.encode("utf-8", "backslashreplace"), digest_size=32).hexdigest()


def _scope(event: Event) -> _Scope:
    params: Mapping[str, str] = event.params
    return _Scope(params["app_token"], params["event_token"], params["environment"])


def _by_scope(jobs: Iterable[Job]) -> dict[_Scope, list[Job]]:
    groups: dict[_Scope, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[_scope(job.event)].append(job)
    return groups


def _within(scope: _Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        deliveries.c.app_token == scope.app_token,
        deliveries.c.event_token == scope.event_token,
        deliveries.c.environment == scope.environment,
    )


def _at(scope: _Scope, keys: list[str]) -> sa.Update:
    return sa.update(deliveries).where(*_within(scope), deliveries.c.event_id.in_(keys))


def _receipt(job: Job, outcome: Outcome, reason: str, detail: str, http_status: int | None = None) -> Receipt:
    return Receipt(
        outcome=outcome,
        reason=reason,
        event_id=job.event.event_id,
        position=job.position,
        detail=detail,
        http_status=http_status,
        event=job.event,
        row=job.row,
    )
