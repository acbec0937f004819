"""The ledger: deliveries in a SQL database, so that an event is sent once across tries, runs, clears and backfills.

An event is written as ``sending`` before it is sent, and settled afterwards, both in batches. So after the loss of a worker,
each event in doubt is known, and for every other event it is known whether Adjust has it. A claim is valid as long as its try,
which renews a lease; only the try that claimed an event can settle it. Statuses are stored by event id; device ids, addresses
and secrets are not stored.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import IdScope, OnInDoubt, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.events.late import LatePolicy
from airflow_provider_adjust.s2s.ledger.decisions import Batch, Decisions
from airflow_provider_adjust.s2s.ledger.ends import write_ends
from airflow_provider_adjust.s2s.ledger.lane_times import LaneTimes
from airflow_provider_adjust.s2s.ledger.lease import LEASE, Lease, wait_for_earlier_tries
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.older_keys import TryKeys, by_present_id, found_under_older_ids
from airflow_provider_adjust.s2s.ledger.other_names import told_by_another_name
from airflow_provider_adjust.s2s.ledger.records import Content, EventPlace, compare_content, place_of, repeated, to_row
from airflow_provider_adjust.s2s.ledger.recount import TakenOver, left_in_doubt
from airflow_provider_adjust.s2s.ledger.statements import (
    Moved,
    Numbers,
    Scope,
    ScopeNames,
    claim_columns,
    delete,
    insert_new,
    known_in,
    locked,
    move,
    retry_on_conflict,
    retry_while_away,
    siblings,
    update,
)
from airflow_provider_adjust.s2s.ledger.suppression import Suppressions
from airflow_provider_adjust.s2s.ledger.tries import (
    FAILED,
    SUCCESS,
    Holder,
    TaskInstanceId,
    TotalKey,
    Totals,
    day_of,
    end_try,
    holders,
)

#: Seconds after which settled events are written even if a batch is not full.
WRITE_EVERY = 1.0
#: Seconds for which a write waits for an unavailable database. Meanwhile nothing is sent.
PATIENCE = 60.0
#: The same once the task was killed: Airflow gives it a few seconds to end.
HURRIED_PATIENCE = 2.0
#: The reason of an event that an earlier try of the same task instance settled. It counts in that try's totals.
_BY_EARLIER_TRY = "by_earlier_try"
_T = TypeVar("_T")
_SETTLED = {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED}
#: Seconds for which the app's other scopes are cached, if they are only needed for a warning.
_OTHERS_FOR = 1.0
_LONGEST_REASON = 64
#: The claim of an event that the ledger lacked.
_NEW = Claim()
_UNKNOWN_HOLDER = Holder(0, "", "", "", -1, 0, False)


class Ledger:
    """The ledger for one try: ``begin_claim`` before sending, ``settle`` after, ``flush`` and ``end`` at the end.

    :param engine: of Postgres, SQLite, MySQL or MariaDB. The tables are created on first use.
    :param retry_unknown_devices: the largest age of an event that was refused as ``device_not_found`` and is offered again.
    :param id_scope: whether event ids are unique within an event token, or within the app.
    :param max_resends: how often an event in doubt is sent again, over all tries.
    :param batch_size: how many events are claimed at once. A kill leaves about two batches in doubt.
    :param lease: seconds for which the claims of a killed try stay valid.
    :param on_wait: called before the wait for an earlier try of the task instance, with the seconds for which it may still run.
    :raises AdjustConfigurationError: the database cannot hold a ledger, or a newer provider has changed it.
    """

    def __init__(
        self,
        engine: sa.Engine,
        task_instance: TaskInstanceId,
        *,
        on_in_doubt: OnInDoubt = "resend",
        retry_unknown_devices: timedelta | None = None,
        id_scope: IdScope = "event",
        max_resends: int = 1,
        batch_size: int = 64,
        lease: float | None = None,
        on_wait: Callable[[float], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._id_scope = id_scope
        self.batch_size = batch_size
        self._clock = clock
        self._destinations: Mapping[str | None, str] = {}
        self._patience = self._most_patience = PATIENCE
        #: The events that are claimed and not settled, by the position of their rows.
        self._open: dict[int, EventPlace] = {}
        self._settled: list[Receipt] = []
        #: Positions of rows that an earlier try of this task instance settled, until they are counted.
        self._by_earlier_try: set[int] = set()
        #: The file that lists undelivered rows.
        self.rejected_path: str | None = None
        self._numbers = Numbers()
        self._ended_holders: dict[int, Holder] = {}
        self._others: dict[Scope, tuple[float, dict[int, str]]] = {}
        #: The number of events with an id that the app already has under another event token.
        self.known_under_another_key = 0
        #: The number of events with an id that the ledger has under an unknown digest key, which are assumed to be unchanged.
        self.not_compared = 0
        self._keys = TryKeys(task_instance)
        self._lanes = LaneTimes()
        self.suppressions = Suppressions(self._keys)
        self._flushing: Future[None] | None = None
        self._written_at = clock()
        prepare(engine)
        seconds = LEASE if lease is None else lease
        #: Seconds of waiting for the end of an earlier try's lease.
        self.waited = wait_for_earlier_tries(engine, task_instance, seconds, on_wait=on_wait)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="adjust-ledger")
        self._lease = Lease(engine, task_instance, seconds, self._writer)
        self.rate_share = self._lease.rate_share
        self._try_id = self._lease.try_id
        self._totals = Totals(self._try_id)
        self._decisions = Decisions(self._try_id, task_instance, on_in_doubt, max_resends, retry_unknown_devices, now)

    def attach(
        self,
        destinations: Mapping[str | None, str],
        longest_request: float = 0.0,
        *,
        digest_keys: Mapping[str | None, DigestKeys] | None = None,
        ids_are_digests: bool = False,
        environment: str = "",
        late: LatePolicy | None = None,
        rate_group: str = "",
        names: ScopeNames | None = None,
    ) -> None:
        """Set the destination of each route's events, the longest time of a request in seconds, and the digest keys.

        :param late: how to treat late events; None to remember no lanes.
        :param rate_group: the name of the tries that share one rate limit; empty to share with none.
        :raises AdjustConfigurationError: lanes should be remembered, but there is no key for their digests.
        :raises LedgerUnavailable: the database failed.
        """
        self._destinations = destinations
        self._lease.longest_request = longest_request
        self._keys.attach(digest_keys or {})
        self._lanes = LaneTimes(late, (digest_keys or {}).values())
        self._numbers.names = names or self._numbers.names
        setup = {"ids_are_digests": ids_are_digests, "environment": environment, "rate_group": rate_group}
        note = partial(self._keys.note, self._engine, self._try_id, **setup)
        try:
            self._writer.submit(retry_while_away, note, patience=lambda: self._patience).result()
        except Exception as error:
            raise LedgerUnavailable.because(error) from error
        self._lease.join(rate_group)

    def hurry(self) -> None:
        """Shorten the waits for the database, since the task is being killed. For a signal handler."""
        self._patience = self._most_patience = HURRIED_PATIENCE

    def may_send(self) -> bool:
        """Whether a request that is sent now will end before another try may take over its claim.

        :raises LedgerUnavailable: the lease is lost, or could not be renewed for too long.
        """
        return self._lease.may_send(patience=self._patience)

    # -- claims ----------------------------------------------------------------------------------------------------------

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        """Write the events as ``sending``; return a claim for each, or the receipt of one that must not be sent now.

        The database works while events are sent. One thread writes, so that all writes are in the order of the calls.
        """
        return self._writer.submit(self._write_claim, self._take_settled(), jobs)

    def _write_claim(self, settled: list[Receipt], jobs: Sequence[Job]) -> list[Claim | Receipt]:
        places = [self._place(job.event, job.route) for job in jobs]
        batch = self._write(settled, lambda connection: self._claim_in(connection, jobs, places), places)
        self._ended_holders.update(batch.dead)
        self.known_under_another_key += batch.under_another_key
        self.not_compared += batch.not_compared
        answers = [batch.answers[id(job)] for job in jobs]
        # Only after the commit, since a lost race rolls claims back.
        for job, place, each in zip(jobs, places, answers, strict=True):
            if isinstance(each, Claim):
                self._open[job.position] = self._lanes.placed(place, job, self._keys.of)
        return answers

    def _write(
        self, settled: list[Receipt], more: Callable[[sa.Connection], _T], places: Iterable[EventPlace] = ()
    ) -> _T:
        """Write settled events, and the given work, in one transaction; wait for an unavailable database.

        Settled events are written before new claims. Otherwise, after a kill, an event and its predecessor would both be in
        doubt, and could be sent again out of order.
        """

        def work() -> tuple[_T, Callable[[], None]]:
            with self._engine.begin() as connection:
                committed = self._write_settled(connection, settled)
                return more(connection), committed

        def learn_and_work() -> tuple[_T, Callable[[], None]]:
            # The scopes of claimed events were learned by their claim.
            unclaimed = (each for each in settled if each.position not in self._open)
            wanted = {self._place(each.event, each.route).scope for each in unclaimed if each.event}
            self._numbers.learn(
                self._engine,
                {place.scope for place in places} | wanted,
                {"", *(receipt.reason for receipt in settled)},
            )
            return retry_on_conflict(work)

        try:
            result, committed = retry_while_away(learn_and_work, patience=lambda: self._patience)
        except BaseException:
            self._patience = 0.0  # the delivery is ending, and must not wait again for each write
            self._settled[:0] = settled
            raise
        self._patience = self._most_patience
        committed()
        for receipt in settled:
            self._open.pop(receipt.position, None)
            self._by_earlier_try.discard(receipt.position)
        return result

    def _claim_in(self, connection: sa.Connection, jobs: Sequence[Job], places: Sequence[EventPlace]) -> Batch:
        scopes = [place.scope for place in places]
        batch = Batch(
            self.suppressions.refusals(connection, jobs, scopes),
            self._lanes.known(connection, self._numbers, jobs, places, self._keys.of),
            told_by_another_name(connection, self._numbers, jobs, scopes, self._keys.of),
        )
        by_scope: dict[Scope, list[tuple[str, Job]]] = defaultdict(list)
        for job, place in zip(jobs, places, strict=True):
            by_scope[place.scope].append((place.key, job))
        # Every task takes scopes and events in the same order, to avoid deadlocks.
        for scope, group in sorted(by_scope.items(), key=lambda item: item[0]):
            first: dict[str, Job] = {}
            for key, job in sorted(group, key=lambda each: (each[0], each[1].position)):
                if key in first:
                    batch.answers[id(job)] = repeated(job, first[key].position)
                else:
                    first[key] = job
            self._claim_scope(connection, scope, first, batch)
        return batch

    def _claim_scope(self, connection: sa.Connection, scope: Scope, jobs: dict[str, Job], batch: Batch) -> None:
        scope_id = self._numbers.scope(scope)
        others = self._other_scopes(connection, scope)
        older = self._keys.older_ids(connection, scope_id, jobs)
        elsewhere = by_present_id(known_in(connection, others, [*jobs, *older]), older) if others else {}
        if self._id_scope == "app" and elsewhere:
            known_holders = self._holders(connection, {record.try_id for record in elsewhere.values()}, batch)
            for key, record in elsewhere.items():
                holder = known_holders.get(record.try_id, _UNKNOWN_HOLDER)
                reason = self._numbers.code(connection, record.reason)
                if ending := self._decisions.decide_for_app(jobs[key], record, holder, others[record.scope_id], reason):
                    batch.answers[id(jobs.pop(key))] = ending
        if not jobs:
            return
        mine = claim_columns(self._try_id, self._numbers.reason(""))
        older = {event_id: key for event_id, key in older.items() if key in jobs}
        known = found_under_older_ids(connection, scope_id, older) if older else {}
        rows = {key: self._row(key, job, batch.lanes.sent_at(job)) for key, job in jobs.items()}
        if refused := {key for key, job in jobs.items() if batch.is_refused(job)}:
            known |= locked(connection, scope_id, sorted(refused - known.keys()))
        fresh = [row for key, row in rows.items() if key not in known and key not in refused]
        known |= insert_new(connection, scope_id, fresh, mine)
        batch.under_another_key += sum(key in elsewhere and key not in known for key in jobs)
        found = self._holders(connection, {record.try_id for record in known.values()}, batch)
        moved: list[Moved] = []
        taken_over = TakenOver()
        for key, job in jobs.items():
            if key not in known:
                batch.answer(job, _NEW)
                continue
            record, keys = known[key], self._keys.of(job.route)
            holder = found.get(record.try_id, _UNKNOWN_HOLDER)
            content = compare_content(job.event, record, holder, keys)
            batch.not_compared += content is Content.UNKNOWN
            reason = self._numbers.code(connection, record.reason)
            answer = batch.answer(job, self._decisions.decide(job, record, holder, reason, content, keys.newest))
            if isinstance(answer, Claim):
                if record.event_id != key:
                    delete(connection, scope_id, [key])  # of two records, the one with less weight
                sent_at = record.sent_at if answer.sent_before and not answer.instead else rows[key]["sent_at"]
                values = {**rows[key], **mine, "sent_at": sent_at, "lost_answers": answer.lost_answers}
                update(connection, scope_id, [record.event_id], values)
                taken_over.add(record, reason, holder, self._decisions.task_instance)
            elif answer.outcome is Outcome.IN_DOUBT and self._decisions.was_killed(record, holder):
                update(connection, scope_id, [record.event_id], left_in_doubt(record))
            elif answer.outcome in _SETTLED and record.try_id != self._try_id and not answer.is_refused_here:
                # It counts in this try's result, so another row with this id is repeated. The digest must use a key of the try
                # that has the event.
                is_known = self._keys.as_text() == holder.digest_keys
                moved.append(Moved(record.event_id, job.position, record.content if is_known else rows[key]["content"]))
                if answer.outcome is not Outcome.REJECTED:
                    self._by_earlier_try.add(job.position)
        move(connection, scope_id, moved, self._try_id)
        taken_over.write(connection)

    def _other_scopes(self, connection: sa.Connection, scope: Scope) -> dict[int, str]:
        """The app's other scopes; read every time if they decide, and once a second if they only warn."""
        if self._id_scope == "app":
            return siblings(connection, scope, lock=True)
        if time.monotonic() - self._others.get(scope, (-math.inf, {}))[0] >= _OTHERS_FOR:
            self._others[scope] = time.monotonic(), siblings(connection, scope, lock=False)
        return self._others[scope][1]

    def _holders(self, connection: sa.Connection, ids: set[int], batch: Batch) -> dict[int, Holder]:
        unknown = {each for each in ids if each not in self._ended_holders and each != self._try_id}
        found = holders(connection, unknown)
        batch.dead.update({number: each for number, each in found.items() if not each.is_alive})
        return found | self._ended_holders

    def _scope_of(self, receipt: Receipt, event: Event) -> Scope:
        """The scope of a receipt's event: that of its claim, if it has one."""
        return (self._open.get(receipt.position) or self._place(event, receipt.route)).scope

    def _row(self, key: str, sent: Job | Receipt, sent_at: datetime | None) -> dict[str, Any]:
        return to_row(key, sent, self._keys.of(sent.route).newest, sent_at)

    def _place(self, event: Event, route: str | None) -> EventPlace:
        """The place of the event's record."""
        return place_of(event, self._destinations.get(route, ""))

    # -- outcomes ----------------------------------------------------------------------------------------------------------

    def settle(self, receipt: Receipt) -> None:
        """Count the outcome of a row; if its event was claimed, write the outcome."""
        if len(receipt.reason) > _LONGEST_REASON:
            receipt = receipt._replace(reason=receipt.reason[:_LONGEST_REASON])
        self._settled.append(receipt)
        # More than one batch, since the next claim also writes it.
        if len(self._settled) >= 2 * self.batch_size or self._clock() - self._written_at >= WRITE_EVERY:
            self._begin_flush()

    def flush(self) -> None:
        """Write all settled events; return when they are written."""
        # First wait for pending writes: if they fail, their receipts return and must be written again.
        self._end_flush()
        if self._settled:
            self._begin_flush()
            self._end_flush()

    def _begin_flush(self) -> None:
        if self._flushing is not None:
            if not self._flushing.done():
                return  # the next one writes what is settled meanwhile
            self._end_flush()
        self._flushing = self._writer.submit(self._write, self._take_settled(), lambda _: None)

    def _end_flush(self) -> None:
        if self._flushing is not None:
            written, self._flushing = self._flushing, None
            written.result()

    def _take_settled(self) -> list[Receipt]:
        settled, self._settled = self._settled, []
        self._written_at = self._clock()
        return settled

    def _write_settled(self, connection: sa.Connection, settled: Sequence[Receipt]) -> Callable[[], None]:
        self.suppressions.remember(connection, settled, self._scope_of)
        claimed = [(self._open[each.position], each) for each in settled if each.position in self._open]
        write_ends(connection, self._numbers, self._try_id, claimed, self._row)
        self._lanes.write(connection, self._numbers, self._open, settled)
        return self._totals.write(connection, [self._total_entry(receipt) for receipt in settled])

    def _total_entry(self, receipt: Receipt) -> tuple[TotalKey, Decimal | None]:
        outcome, reason, event = receipt.outcome.value, receipt.reason, receipt.event
        if receipt.position in self._by_earlier_try:
            outcome, reason = Outcome.SKIPPED.value, _BY_EARLIER_TRY
        if event is None:
            return TotalKey(None, None, outcome, reason, None), None
        scope_id = self._numbers.scope(self._scope_of(receipt, event))
        amount = event.revenue
        currency = None if amount is None else event.params.get("currency")
        return TotalKey(scope_id, day_of(receipt.sent_at or event.occurred_at), outcome, reason, currency), amount

    def end(self, error: str | None = None) -> None:
        """Write how the try ended: with or without an error. This releases its claims.

        :param error: the text about the failure; None for a success.
        """
        self.flush()

        def work() -> None:
            with self._engine.begin() as connection:
                end_try(
                    connection,
                    self._try_id,
                    SUCCESS if error is None else FAILED,
                    read=self._totals.counted,
                    error=error or "",
                    rejected_path=self.rejected_path,
                )

        self._writer.submit(lambda: retry_on_conflict(work)).result()

    def close(self) -> None:
        """Stop the threads that write and renew."""
        self._lease.close()
        self._writer.shutdown()
