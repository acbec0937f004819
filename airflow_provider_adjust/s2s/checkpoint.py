"""Resume within a task instance: what was read and settled, small enough to be written once a second.

A checkpoint says how many items of the input were read, a digest of all of them, and which of them still lack
a final outcome. A retry reads the same input, compares the digest before it sends
anything, passes on what lacks an outcome, and continues from there.

It promises what its last write knew: after a kill -9, events that were settled since then are sent again.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Protocol

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import CheckpointMismatch, DeliveryStopped
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.redaction import row_repr

#: Seconds between two writes: a write costs about 10 ms, a request to Adjust more.
WRITE_EVERY = 1.0
#: Airflow's limit is 65,535 bytes.
MAX_BYTES = 60_000
#: The key under which the state is kept.
STATE_KEY = "adjust_checkpoint"
_VERSION = 2


class CheckpointStore(Protocol):
    """Where a checkpoint is kept between the tries of one task instance."""

    def load(self) -> Mapping[str, Any] | None: ...

    def save(self, state: dict[str, Any]) -> None: ...


class Checkpoint:
    """The progress of one run; ``resume`` sits between intake and delivery, ``settle`` sees every receipt."""

    def __init__(self, store: CheckpointStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._saved_at = clock()
        self._dirty = False
        self._read = 0
        self._digest = blake2b(digest_size=16)
        self._pending: set[int] = set()
        self._doubtful: set[int] = set()
        self._settled = DeliverySummary()
        self._before = _Earlier.of(store.load())
        self._caught_up = self._before is None
        #: The rejected file and how many of its lines were there when the progress was written.
        self.rejected_path = self._before.rejected_path if self._before else None
        self.rejected_lines = self._before.rejected_lines if self._before else 0

    @property
    def earlier(self) -> DeliverySummary:
        """What earlier tries have settled; it counts in this try's result."""
        return self._before.summary if self._before else DeliverySummary()

    @property
    def resumes(self) -> int:
        """How many rows earlier tries have settled."""
        return self.earlier.settled

    def resume(self, items: Iterable[Job | Receipt]) -> Iterator[Job | Receipt]:
        """Pass on what earlier tries have not settled, in order.

        :raises CheckpointMismatch: the input is not the one that earlier tries read; nothing of it was passed on.
        """
        source = iter(items)
        if self._before is not None:
            yield from self._unsettled(source, self._before)
        for item in source:
            self._admit(item)
            yield item

    def _unsettled(self, source: Iterator[Job | Receipt], before: _Earlier) -> Iterator[Job | Receipt]:
        waiting = []
        while self._read < before.read and (item := next(source, None)) is not None:
            self._admit(item)
            if item.position in before.pending:
                if isinstance(item, Job) and item.position in before.doubtful:
                    item = replace(item, sent_before=True)
                waiting.append(item)
            else:
                self._pending.discard(item.position)
        if self._read < before.read or self._fingerprint() != before.fingerprint:
            raise CheckpointMismatch(
                f"an earlier try of this task read {before.read:,} rows and settled {before.summary.settled:,}; the input "
                "has changed since, so it is not known which rows those are. Nothing was sent by this try. Either restore "
                "the input and retry; or send only what is missing, as a file or query of its own; or, to send everything "
                "again although part of it may be in Adjust, set durable=False or delete the task's state "
                f"{STATE_KEY!r} and clear the task"
            )
        self._settled = before.summary.copy()
        self._doubtful = set(before.doubtful)
        self._caught_up = True
        yield from waiting

    def _admit(self, item: Job | Receipt) -> None:
        self._read += 1
        self._digest.update(_content(item.row))
        self._pending.add(item.position)
        self._dirty = True

    def settle(self, receipt: Receipt) -> None:
        """Note a receipt. Held events and events in doubt stay open for the next try."""
        self._dirty = True
        if receipt.outcome is Outcome.IN_DOUBT:
            self._doubtful.add(receipt.position)
        elif receipt.outcome is not Outcome.HELD:
            self._pending.discard(receipt.position)
            self._doubtful.discard(receipt.position)
            self._settled.add(receipt)

    def due(self) -> bool:
        """Tell whether it is time to save."""
        return self._dirty and self._caught_up and self._clock() - self._saved_at >= WRITE_EVERY

    def save(self) -> None:
        """Write the progress.

        :raises DeliveryStopped: too many events are open for their list to fit; the last write stays.
        """
        if not self._dirty or not self._caught_up:
            return
        state = {
            "version": _VERSION,
            "fingerprint": self._fingerprint(),
            "read": self._read,
            "pending": _pack(self._pending),
            "doubtful": _pack(self._doubtful),
            "settled": self._settled.as_state(),
            "rejected_path": self.rejected_path,
            "rejected_lines": self.rejected_lines,
        }
        if len(json.dumps(state)) > MAX_BYTES:
            raise DeliveryStopped(
                f"{len(self._pending):,} events are held, in doubt or unanswered, too many for a checkpoint: use "
                "ledger_conn_id, which has no such limit"
            )
        self._store.save(state)
        self._saved_at = self._clock()
        self._dirty = False

    def _fingerprint(self) -> str:
        return self._digest.hexdigest()


class _Earlier:
    """A checkpoint as it was read back."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.fingerprint: str = state["fingerprint"]
        self.read: int = state["read"]
        self.pending = _unpack(state["pending"])
        self.doubtful = _unpack(state["doubtful"])
        self.summary = DeliverySummary.from_state(state["settled"])
        self.rejected_path: str | None = state["rejected_path"]
        self.rejected_lines: int = state["rejected_lines"]

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> _Earlier | None:
        if state is None:
            return None
        try:
            if state["version"] != _VERSION:
                raise ValueError("another version")
            return cls(state)
        except (KeyError, TypeError, ValueError, ArithmeticError, zlib.error) as error:
            raise CheckpointMismatch(
                f"the task's state {STATE_KEY!r} cannot be read ({type(error).__name__}); it may come from another version "
                "of the provider. Delete it and clear the task to send everything again"
            ) from None


def _content(row: Any) -> bytes:
    """What a row holds, as bytes. The same input gives the columns in the same order again."""
    text = row_repr(row if isinstance(row, dict) or not isinstance(row, Mapping) else dict(row))
    return f"{text}\x1e".encode("utf-8", "backslashreplace")


def _pack(positions: Iterable[int]) -> str:
    """Ascending numbers as text: their differences, compressed."""
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
