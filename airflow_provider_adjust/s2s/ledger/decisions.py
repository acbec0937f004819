"""Decide by the ledger's record of an event whether a row with the same id may be sent, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.answers.outcome import ERASED, OnInDoubt, Outcome
from airflow_provider_adjust.s2s.answers.receipt import TOO_MANY_RESENDS, Receipt, receipt_for
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.keys import DigestKey
from airflow_provider_adjust.s2s.events.late import whole_seconds
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.ledger.records import Content, differs, is_other_purchase, repeated
from airflow_provider_adjust.s2s.ledger.schema import SENDING, STATUSES
from airflow_provider_adjust.s2s.ledger.tries import Holder, TaskInstanceId

_BY_AN_EARLIER_TRY = "by an earlier try"


class KnownLanes(NamedTuple):
    """The effect of the lanes' last times on the events of a claim, keyed by the identity of the job.

    ``late``: for late events, the event to send instead, or a receipt. ``shared``: the times of events in the same second as
    the last one of a lane.
    """

    late: Mapping[int, Event | Receipt]
    shared: Mapping[int, datetime]

    def sent_at(self, job: Job) -> datetime | None:
        """The time to send for an event that is late or shares the second of another one in its lanes."""
        late = self.late.get(id(job))
        return late.occurred_at if isinstance(late, Event) else self.shared.get(id(job))


@dataclass(slots=True)
class Batch:
    """The answers to a batch of claims, keyed by the identity of the job, with notes for later.

    It is valid only after the commit: a transaction that was rolled back may have ended a try that is still running.
    """

    #: Receipts of events with a suppressed device, instead of a claim, keyed by the identity of the job.
    suppressed: Mapping[int, Receipt]
    #: The effect of the jobs' lanes.
    lanes: KnownLanes
    #: Identities of jobs if Adjust has since received another choice of the device, under another of its ids.
    told_otherwise: Collection[int]
    answers: dict[int, Claim | Receipt] = field(default_factory=dict)
    dead: dict[int, Holder] = field(default_factory=dict)
    under_another_key: int = 0
    not_compared: int = 0

    def is_refused(self, job: Job) -> bool:
        """Whether the event is not recorded in the ledger, unless it is already there."""
        return id(job) in self.suppressed or isinstance(self.lanes.late.get(id(job)), Receipt)

    def answer(self, job: Job, decided: Claim | Receipt) -> Claim | Receipt:
        """Record the decision about the event. Events of suppressed devices and late events are not sent.

        A late event that an earlier request may have recorded is sent unchanged: Adjust's answer shows whether it has it.
        """
        if id(job) in self.told_otherwise and _is_told(decided):
            decided = Claim()
        if isinstance(decided, Claim):
            instead = self.lanes.late.get(id(job))
            if isinstance(instead, Event):
                decided = replace(decided, instead=instead)
            elif instead is not None and not decided.sent_before:
                decided = instead
            elif id(job) in self.lanes.shared and not decided.sent_before:
                decided = replace(decided, shares_second=True)
            decided = self.suppressed.get(id(job)) or decided
        self.answers[id(job)] = decided
        return decided


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of one try; the parameters are those of the ledger."""

    try_id: int
    task_instance: TaskInstanceId
    on_in_doubt: OnInDoubt
    max_resends: int
    retry_unknown_devices: timedelta | None
    now: Callable[[], datetime]

    def decide(
        self, job: Job, record: Any, holder: Holder, reason: str, content: Content, key: DigestKey
    ) -> Claim | Receipt:
        """Decide about the event by an earlier claim.

        :param reason: the reason code of the record.
        :param content: how the event compares with the record.
        :param key: the key of this try's digests.
        """
        decided = self._decide(job, record, holder, reason, content, key)
        return self._claimed(decided, holder) if isinstance(decided, Receipt) else decided

    def _decide(
        self, job: Job, record: Any, holder: Holder, reason: str, content: Content, key: DigestKey
    ) -> Claim | Receipt:
        status = STATUSES[record.status]
        is_state = job.event.endpoint.state is not None
        if record.try_id == self.try_id and (record.position == job.position or not is_state):
            if record.position != job.position:
                return repeated(job, record.position)
            # The same row: the commit succeeded, but its answer was lost.
            if status == SENDING:
                return Claim(sent_before=record.lost_answers > 0, lost_answers=record.lost_answers)
            return _by_an_earlier_try(job, record, reason)
        if reason == ERASED:
            return _erased(job)
        if is_state:
            return self._decide_state(job, status, holder, content)
        is_own = holder.is_of(self.task_instance)
        if status in {Outcome.DELIVERED.value, Outcome.DUPLICATE.value}:
            if is_other_purchase(job.event, record):
                return differs(job, record, holder, key)
            if is_own:
                # The result includes all tries of this task instance.
                return _by_an_earlier_try(job, record, reason)
            return receipt_for(job, Outcome.SKIPPED, "delivered_before", f"it was delivered {holder}")
        if status == Outcome.REJECTED.value:
            if record.content is None or content is Content.OTHER or self._offers_again(job, reason):
                return Claim()
            if isinstance(job.row, ResubmittedRow):
                return Claim()  # a person has seen the refusal, and sends the event again
            detail = f"Adjust refused it {holder}; change the row to send it again"
            if is_own:
                return receipt_for(job, Outcome.REJECTED, reason, detail, http_status=record.http_status)
            return receipt_for(job, Outcome.SKIPPED, "refused_before", f"{reason}: {detail}")
        if status == SENDING and holder.is_alive:
            return receipt_for(job, Outcome.HELD, "sent_elsewhere", f"another task is sending it, {holder}")
        if self.on_in_doubt == "hold":
            return receipt_for(
                job,
                Outcome.IN_DOUBT,
                "no_answer",
                f"it was sent {holder}, and no answer came; check in Adjust whether it was recorded",
            )
        if self.on_in_doubt == "verify" and content is not Content.SAME:
            detail = (
                f"it was sent {holder} with other content, and no answer came, so it cannot be looked up by this row"
                if content is Content.OTHER
                else f"it was sent {holder}, and no answer came; whether this row is the one that was sent shows only under "
                "the earlier digest_key: put it last in the connection's digest_key"
            )
            return receipt_for(job, Outcome.IN_DOUBT, "not_verified", detail, lost_answers=record.lost_answers)
        # It is not known whether a killed try sent the event. Older ledgers did not count.
        lost_answers = max(1, record.lost_answers + (status == SENDING))
        if self.on_in_doubt == "resend" and lost_answers > self.max_resends:
            return receipt_for(job, *TOO_MANY_RESENDS, lost_answers=lost_answers)
        return Claim(sent_before=True, lost_answers=lost_answers, shares_second=record.sent_at is not None)

    def was_killed(self, record: Any, holder: Holder) -> bool:
        """Whether a killed try of this task was sending the event."""
        return STATUSES[record.status] == SENDING and holder.is_of(self.task_instance)

    def _decide_state(self, job: Job, status: str, holder: Holder, content: Content) -> Claim | Receipt:
        """Decide about a choice: the last row of a device counts, so a row that repeats Adjust's state is not sent, and any
        other is."""
        if status == SENDING and holder.is_alive:
            return receipt_for(job, Outcome.HELD, "sent_elsewhere", f"another task is sending it, {holder}")
        if status == Outcome.DELIVERED.value and content is Content.SAME:
            # Outside of Airflow all runs have the same name, but are not tries of one run.
            if self.task_instance.run_id and holder.is_of(self.task_instance):
                return receipt_for(job, Outcome.DELIVERED, "", _BY_AN_EARLIER_TRY)
            return receipt_for(
                job, Outcome.SKIPPED, "delivered_before", "Adjust already has this choice for the device"
            )
        return Claim()

    def _claimed(self, receipt: Receipt, holder: Holder) -> Receipt:
        """The receipt, with the DAG that has the event if it is another one."""
        is_foreign = holder.id != 0 and holder.dag_id != self.task_instance.dag_id
        return receipt._replace(claimed_by=holder.dag_id) if is_foreign else receipt

    def _offers_again(self, job: Job, reason: str) -> bool:
        limit = self.retry_unknown_devices
        return limit is not None and reason == "device_not_found" and self.now() - job.event.occurred_at <= limit

    def decide_for_app(self, job: Job, record: Any, holder: Holder, event_key: str, reason: str) -> Receipt | None:
        """Decide about an id that the app has under another event token; None if that event was refused."""
        if record.try_id == self.try_id:
            return repeated(job, record.position)
        if reason == ERASED:
            return _erased(job)
        where = f"the app has this id as an event {event_key}, sent {holder} (id_scope is app)"
        status = STATUSES[record.status]
        if status in {Outcome.DELIVERED.value, Outcome.DUPLICATE.value}:
            return self._claimed(receipt_for(job, Outcome.SKIPPED, "delivered_before", where), holder)
        if status == SENDING and holder.is_alive:
            return self._claimed(receipt_for(job, Outcome.HELD, "sent_elsewhere", where), holder)
        if status == Outcome.REJECTED.value:
            return None
        detail = f"{where}, and no answer came; check in Adjust"
        return self._claimed(receipt_for(job, Outcome.IN_DOUBT, "no_answer", detail), holder)


def _is_told(decided: Claim | Receipt) -> bool:
    """Whether Adjust already received the same choice."""
    return isinstance(decided, Receipt) and (
        decided.outcome is Outcome.DELIVERED or decided.reason == "delivered_before"
    )


def _by_an_earlier_try(job: Job, record: Any, reason: str) -> Receipt:
    """The receipt of an earlier try, with the time that it sent instead of the event's own."""
    outcome = Outcome(STATUSES[record.status])
    sent_at = record.sent_at and record.sent_at.replace(tzinfo=UTC)
    is_own_time = sent_at == whole_seconds(job.event.occurred_at)
    receipt = receipt_for(job, outcome, reason, _BY_AN_EARLIER_TRY, http_status=record.http_status)
    return receipt if is_own_time else receipt._replace(sent_at=sent_at)


def _erased(job: Job) -> Receipt:
    """The receipt of an erased event, however it had ended: it must not be sent."""
    return receipt_for(job, Outcome.SKIPPED, ERASED, "it was erased from the ledger, which keeps only its id")
