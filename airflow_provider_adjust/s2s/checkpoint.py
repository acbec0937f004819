"""Resume within a task instance: a record of what was read and settled, small enough to be written once a second.

A checkpoint holds the number of items that were read, a digest of all of them, and the list of those without a final outcome.
A retry reads the same input, compares the digest before it sends anything, passes on the items without an outcome, and
continues after them.

The checkpoint is as current as its last write: after a kill -9, events that were settled since then are sent again. A failed
write is retried with growing waits; while ``behind`` is true, nothing more may be sent.

Its size is bounded: reading ends while the list of open events still fits, so that the next write fits, too.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.answers.reasons import IN_FUTURE
from airflow_provider_adjust.s2s.answers.receipt import REFUSED_AFTER_RESEND, Receipt, refused_after_resend
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, CheckpointMismatch, DeliveryStopped
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKeys
from airflow_provider_adjust.s2s.redaction import row_repr

#: Seconds between two writes: a write costs about 10 ms, a request to Adjust more.
WRITE_EVERY = 1.0
#: After a failed write: seconds to the next try, doubled each time up to the longest, and the limit of all tries together.
FIRST_WAIT = 0.5
LONGEST_WAIT = 15.0
SAVE_PATIENCE = 120.0
#: The same once the task was killed: Airflow gives it a few seconds to end.
HURRIED_PATIENCE = 2.0
#: Airflow's limit is 65,535 bytes.
MAX_BYTES = 60_000
#: Bytes kept free: for each event without a receipt, since the list grows when its neighbours are settled, and for counts.
_BYTES_FOR_OPEN = 1
_BYTES_FOR_COUNTS = 4_000
#: The size is measured again after this many more events are open.
_MEASURE_EVERY = 512
#: The key under which the state is kept.
STATE_KEY = "adjust_checkpoint"
_VERSION = 4
#: The previous version: its fingerprint has no key.
_UNKEYED_VERSION = 3
#: Outcomes of events that were never sent to Adjust.
_UNSENT = frozenset({Outcome.INVALID.value, Outcome.EXPIRED.value, Outcome.SKIPPED.value, Outcome.HELD.value})


class CheckpointStore(Protocol):
    """Where a checkpoint is kept between the tries of one task instance."""

    def load(self) -> Mapping[str, Any] | None: ...

    def save(self, state: dict[str, Any]) -> None: ...


class Checkpoint:
    """The progress of one run: ``resume`` filters the items between intake and delivery, ``settle`` records every receipt."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._saved_at = clock()
        self._patience = SAVE_PATIENCE
        self._dirty = False
        self._saved_as_ended = True
        self._failures = 0
        self._failing_since = self._next_try = 0.0
        #: Events that Adjust may have, and that the last write does not include.
        self._unsaved: set[int] = set()
        self._full = False
        self._measure_at = _MEASURE_EVERY
        self._read = 0
        self._key = UNKEYED
        self._digest = self._earlier_digest = UNKEYED.fingerprint()
        self._pending: set[int] = set()
        #: Pending events in doubt, with their lost answers; pending events that Adjust refused for their order.
        self._doubtful: dict[int, int] = {}
        self._out_of_order: set[int] = set()
        #: The number of pending events with a receipt of this try.
        self._unresolved = 0
        self._settled = DeliverySummary()
        self._before = _Earlier.of(store.load())
        self._caught_up = self._before is None
        #: Whether an earlier try was killed, so that it is unknown what it sent after its last write.
        self._after_kill = self._before is not None and self._before.was_killed
        #: The rejected file, and the number of its lines at the last write.
        self.rejected_path = self._before.rejected_path if self._before else None
        self.rejected_lines = self._before.rejected_lines if self._before else 0

    def attach(self, keys: DigestKeys) -> None:
        """Set the keys that may have made the fingerprint. Call it before ``resume``.

        :raises AdjustConfigurationError: an earlier try used another key, so that the rows that it settled cannot be recognised.
        """
        self._key = keys.newest
        self._digest = self._earlier_digest = keys.newest.fingerprint()
        before = self._before
        if before is None or before.key_id == keys.newest.id:
            return
        older = next((key for key in keys.all if key.id == before.key_id), None)
        if older is not None:
            self._earlier_digest = older.fingerprint()
        elif before.has_sent:
            raise AdjustConfigurationError(
                f"an earlier try of this task made its checkpoint with the digest key {before.key_id}, which the connection "
                "does not have; nothing was sent. Put the earlier digest_key, or S2S token, last in the connection's "
                "digest_key and clear the task; or, to send everything again, delete the task's state "
                f"{STATE_KEY!r} first"
            )
        else:
            # For example after a wrong token: it settled nothing that could be sent twice.
            self._before = None
            self._caught_up = True
            self.rejected_path, self.rejected_lines = None, 0

    @property
    def earlier(self) -> DeliverySummary:
        """The summary of earlier tries, which this try's result includes."""
        return self._before.summary if self._before else DeliverySummary()

    @property
    def resumes(self) -> int:
        """The number of rows that earlier tries settled."""
        return self.earlier.settled

    def resume(self, items: Iterable[Job | Receipt]) -> Iterator[Job | Receipt]:
        """Pass on the items that earlier tries did not settle, in order.

        :raises CheckpointMismatch: the input differs from that of earlier tries; nothing was passed on.
        """
        source = iter(items)
        if self._before is not None:
            yield from self._unsettled(source, self._before)
        while True:
            if not self._has_room():
                raise DeliveryStopped(
                    f"{len(self._pending):,} events are held, in doubt or unanswered, as many as a checkpoint can list, so "
                    f"no row after the first {self._read:,} was read. Resolve them and retry, or use ledger_conn_id, which "
                    "has no such limit"
                )
            item = next(source, None)
            if item is None:
                return
            self._admit(item)
            yield self._marked(item)

    def _marked(self, item: Job | Receipt) -> Job | Receipt:
        return replace(item, after_kill=True) if self._after_kill and isinstance(item, Job) else item

    def _unsettled(self, source: Iterator[Job | Receipt], before: _Earlier) -> Iterator[Job | Receipt]:
        waiting = []
        while self._read < before.read and (item := next(source, None)) is not None:
            self._admit(item)
            if item.position in before.pending:
                waiting.append(before.known_of(self._marked(item)))
            else:
                self._pending.discard(item.position)
        if self._read < before.read or self._earlier_digest.hexdigest() != before.fingerprint:
            raise CheckpointMismatch(
                f"an earlier try of this task read {before.read:,} rows and settled {before.summary.settled:,}; the input "
                "has changed since, so it is not known which rows those are. Nothing was sent by this try. Either restore "
                "the input and retry; or send only what is missing, as a file or query of its own; or, to send everything "
                "again although part of it may be in Adjust, set durable=False or delete the task's state "
                f"{STATE_KEY!r} and clear the task"
            )
        self._settled = before.summary.copy()
        self._doubtful = dict(before.doubtful)
        self._out_of_order = set(before.out_of_order)
        self._caught_up = True
        yield from waiting

    def _admit(self, item: Job | Receipt) -> None:
        self._read += 1
        content = _content(item.row)
        self._digest.update(content)
        if not self._caught_up and self._earlier_digest is not self._digest:
            self._earlier_digest.update(content)
        self._pending.add(item.position)
        self._dirty = True

    def settle(self, receipt: Receipt) -> None:
        """Record a receipt. Held events, events in doubt and those in the future stay open for the next try."""
        self._dirty = True
        if receipt.attempts and receipt.outcome is not Outcome.HELD:
            self._unsaved.add(receipt.position)
        if receipt.outcome in UNRESOLVED:
            self._unresolved += 1
            if receipt.outcome is Outcome.IN_DOUBT:
                self._doubtful[receipt.position] = receipt.lost_answers
            if receipt.reason == REFUSED_AFTER_RESEND.reason:
                self._out_of_order.add(receipt.position)
            return
        if receipt.reason == IN_FUTURE:
            return  # a later try reads the row again, when its time has come or the worker's clock is correct
        self._pending.discard(receipt.position)
        self._doubtful.pop(receipt.position, None)
        self._settled.add(receipt)

    @property
    def behind(self) -> bool:
        """Whether the last write failed. Nothing more may be sent until one succeeds."""
        return self._failures > 0

    def due(self) -> bool:
        """Whether it is time to save, or to retry a failed save."""
        if self.behind:
            return self._clock() >= self._next_try
        return self._dirty and self._caught_up and self._clock() - self._saved_at >= WRITE_EVERY

    def try_to_save(self, *, ended: bool = False) -> None:
        """Write the progress once; after a failure, ``behind`` is true and ``due`` says when to try again.

        :raises DeliveryStopped: writes have failed for ``SAVE_PATIENCE``; the message says what a retry sends again.
        """
        try:
            self.save(ended=ended)
        except DeliveryStopped:
            raise
        except Exception as error:
            now = self._clock()
            if not self.behind:
                self._failing_since = now
            self._failures += 1
            if now - self._failing_since >= self._patience:
                raise DeliveryStopped(self._not_saved(error)) from error
            longest = min(LONGEST_WAIT, self._patience / 4)
            self._next_try = now + min(longest, FIRST_WAIT * 2.0 ** (self._failures - 1))

    def save_at_the_end(self, *, ended: bool) -> None:
        """Write the progress, and wait between failed writes.

        :param ended: no request is in flight any more.
        :raises DeliveryStopped: as ``try_to_save``.
        """
        self.try_to_save(ended=ended)
        while self.behind:
            # In short steps, since the task may be killed meanwhile.
            self._sleep(min(FIRST_WAIT, max(0.0, self._next_try - self._clock())))
            if self._clock() >= self._next_try:
                self.try_to_save(ended=ended)

    def hurry(self) -> None:
        """Shorten the waits for the store, since the task is being killed. For a signal handler."""
        self._patience = HURRIED_PATIENCE
        self._next_try = min(self._next_try, self._clock() + FIRST_WAIT)

    def save(self, *, ended: bool = False) -> None:
        """Write the progress.

        :raises DeliveryStopped: too many events are open to be listed; the last write remains.
        """
        if not self._caught_up or not (self._dirty or (ended and not self._saved_as_ended)):
            return
        state = self._state(ended=ended)
        if self._measure(state) > MAX_BYTES:
            state["settled"]["first_details"] = []  # make room for the list of open events
        if self._measure(state) > MAX_BYTES:
            raise DeliveryStopped(
                f"{len(self._pending):,} events are held, in doubt or unanswered, too many for a checkpoint: use "
                "ledger_conn_id, which has no such limit"
            )
        self._store.save(state)
        self._saved_at = self._clock()
        self._dirty = False
        self._saved_as_ended = ended
        self._failures = 0
        self._unsaved.clear()

    def _state(self, *, ended: bool) -> dict[str, Any]:
        lost_answers: dict[int, list[int]] = defaultdict(list)
        for position, lost in self._doubtful.items():
            lost_answers[lost].append(position)
        return {
            "version": _VERSION,
            "digest_key": self._key.id,
            "fingerprint": self._digest.hexdigest(),
            "read": self._read,
            "pending": _pack(self._pending),
            "doubtful": {str(lost): _pack(positions) for lost, positions in lost_answers.items()},
            "out_of_order": _pack(self._out_of_order),
            "settled": self._settled.as_state(),
            "rejected_path": self.rejected_path,
            "rejected_lines": self.rejected_lines,
            "ended": ended,
            "after_kill": self._after_kill,
        }

    def _has_room(self) -> bool:
        """Whether one more event can be read: the list of open events must fit, however they end."""
        if len(self._pending) >= self._measure_at:
            self._measure(self._state(ended=False))
        return not self._full

    def _measure(self, state: Mapping[str, Any]) -> int:
        size = len(json.dumps(state))
        without_receipt = max(0, len(self._pending) - self._unresolved)
        self._full = size + without_receipt * _BYTES_FOR_OPEN + _BYTES_FOR_COUNTS > MAX_BYTES
        self._measure_at = len(self._pending) + _MEASURE_EVERY
        return size

    def _not_saved(self, error: Exception) -> str:
        again = "nothing again"
        if self._unsaved:
            rows = f"rows {min(self._unsaved):,} to {max(self._unsaved):,}"
            again = f"{len(self._unsaved):,} events again that Adjust may have ({rows})"
        return (
            f"the checkpoint could not be saved for {self._patience:.0f} s ({type(error).__name__}), so nothing more was "
            f"sent. A retry sends {again}; first check Airflow's API server and its task state store"
        )


class _Earlier:
    """A checkpoint as loaded."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.fingerprint: str = state["fingerprint"]
        self.key_id: str = UNKEYED.id if state["version"] == _UNKEYED_VERSION else state["digest_key"]
        self.read: int = state["read"]
        self.pending = _unpack(state["pending"])
        self.doubtful = {
            position: int(lost) for lost, packed in state["doubtful"].items() for position in _unpack(packed)
        }
        self.out_of_order = _unpack(state["out_of_order"])
        self.was_killed = bool(state["after_kill"] or not state["ended"])
        self.summary = DeliverySummary.from_state(state["settled"])
        self.rejected_path: str | None = state["rejected_path"]
        self.rejected_lines: int = state["rejected_lines"]

    @property
    def has_sent(self) -> bool:
        """Whether earlier tries may have sent an event to Adjust, according to their last write."""
        return self.was_killed or bool(self.doubtful) or any(self.summary.outcomes.keys() - _UNSENT)

    def known_of(self, item: Job | Receipt) -> Job | Receipt:
        """The item with what earlier tries recorded about it."""
        if not isinstance(item, Job):
            return item
        item = replace(
            item,
            sent_before=item.position in self.doubtful,
            lost_answers=self.doubtful.get(item.position, 0),
        )
        # Adjust would refuse it again.
        return refused_after_resend(item) if item.position in self.out_of_order else item

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> _Earlier | None:
        if state is None:
            return None
        try:
            if state["version"] not in {_UNKEYED_VERSION, _VERSION}:
                raise ValueError("another version")
            return cls(state)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error) as error:
            raise CheckpointMismatch(
                f"the task's state {STATE_KEY!r} cannot be read ({type(error).__name__}); it may come from another version "
                "of the provider. Delete it and clear the task to send everything again"
            ) from None


def _content(row: Any) -> bytes:
    """The content of a row, as bytes. The same input gives its columns in the same order."""
    text = row_repr(row if isinstance(row, dict) or not isinstance(row, Mapping) else dict(row))
    return f"{text}\x1e".encode("utf-8", "backslashreplace")


def _pack(positions: Iterable[int]) -> str:
    """Pack ascending numbers into text: their differences, compressed."""
    last, deltas = 0, []
    for position in sorted(positions):
        deltas.append(position - last)
        last = position
    return base64.b64encode(zlib.compress(" ".join(map(str, deltas)).encode())).decode()


def _unpack(text: str) -> frozenset[int]:
    positions, last = set(), 0
    for delta in zlib.decompress(base64.b64decode(text)).decode().split():
        last += int(delta)
        positions.add(last)
    return frozenset(positions)
