"""The loop: events in, receipts out.

One thread reads events, hands those whose lanes are free to a transport, collects completions, and turns each into a
receipt, a retry or a stop. Only a bounded number of events is read ahead of the answers. The loop waits only in the
transport's ``poll``, so that a test can pass a transport that controls the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import UNRESOLVED, OnInDoubt, Outcome, Recorded, Verdict
from airflow_provider_adjust.s2s.answers.receipt import (
    Receipt,
    held_behind_another,
    receipt_for,
    still_in_doubt,
    stopped_before_sent,
)
from airflow_provider_adjust.s2s.delivery.admission import ClaimStore, Dispatcher, TokenCanary
from airflow_provider_adjust.s2s.delivery.lanes import Schedule
from airflow_provider_adjust.s2s.delivery.lookup import DeviceLookup
from airflow_provider_adjust.s2s.delivery.pacing import DelayQueue, Pace, Retries
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    LedgerUnavailable,
)
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.redaction import redact_event_values
from airflow_provider_adjust.s2s.transports import Completion, Target, Transport


def words(verdict: Verdict) -> str:
    """The answer in a few words, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {verdict.message}" if verdict.message else status


def redacted(verdict: Verdict, job: Job, target: Target) -> Verdict:
    """The verdict without what the answer repeats of the event and the token."""
    return replace(verdict, message=redact_event_values(verdict.message, job.event.params, EVENT, target.s2s_token))


def halted(verdict: Verdict) -> DeliveryHalted:
    return DeliveryHalted(
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {words(verdict)}): {verdict.remedy}"
    )


def asked_to_wait(seconds: float, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(f"Adjust asks to wait {seconds:.0f} s ({words(verdict)}); retry then", retry_after=seconds)


def nothing_settled(job: Job, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(
        f"no event could be settled in {job.attempts} attempts, the last ended with {words(verdict)}; "
        "check the endpoint, the network and Adjust's status page, then retry the task",
        retry_after=verdict.retry_after,
    )


class Source:
    """Reads a stream of events and of receipts of rows that are none.

    An error of the stream ends the reading. It is kept, since what was read before it is to be delivered first.
    """

    def __init__(self, stream: Iterable[Job | Receipt]) -> None:
        self._items = iter(stream)
        self.exhausted = False
        self.error: Exception | None = None

    def read(self) -> Job | Receipt | None:
        """The next item; None when there is none."""
        if self.exhausted:
            return None
        try:
            return next(self._items)
        except StopIteration:
            self.exhausted = True
        except Exception as error:
            self.exhausted = True
            self.error = error
        return None


#: Events read ahead for each request that may be in flight: enough that busy devices do not starve the others.
_BUFFERED_PER_REQUEST = 32
#: Events read between two looks at the answers.
_READ_AT_ONCE = 32
#: Longest wait for answers, so that a request to stop is seen; and while a claim is on its way.
_LONGEST_POLL = 0.5
_LOOK_AT_CLAIM = 0.002


class Delivery:
    """One run of the loop. ``run`` may be called once."""

    def __init__(
        self,
        transport: Transport,
        target_of: Callable[[Job], Target],
        *,
        max_in_flight: int = 32,
        max_events_per_second: float | None = None,
        on_in_doubt: OnInDoubt = "resend",
        retries: Retries | None = None,
        claims: ClaimStore | None = None,
        lookup: Callable[[Job], Recorded] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._target_of = target_of
        self._pace = Pace(max_in_flight, max_events_per_second)
        self._on_in_doubt = on_in_doubt
        self._retries = retries or Retries()
        if on_in_doubt == "verify" and lookup is None:
            raise AdjustConfigurationError(
                "on_in_doubt='verify' needs the API token in the connection, for the Device API"
            )
        self._verification = DeviceLookup(lookup) if on_in_doubt == "verify" and lookup else None
        self._probes = TokenCanary()
        self._clock = clock
        self._schedule = Schedule()
        self._admission = Dispatcher(
            self._schedule, self._probes, claims, refused=self._end_unsent, kept_back=self._verify_first
        )
        self._buffer = max_in_flight * _BUFFERED_PER_REQUEST
        self._in_flight = 0
        self._waiting = DelayQueue()
        self._settled = 0
        self._receipts: list[Receipt] = []
        self._stopped: DeliveryStopped | None = None

    @property
    def slowed_to(self) -> int:
        """Requests that may be in flight now; less than the maximum after 429 or 503."""
        return self._pace.window

    def stop(self, reason: DeliveryStopped) -> None:
        """Send nothing more; what is in flight is still waited for. May be called from a signal handler."""
        self._stopped = self._stopped or reason

    def run(self, stream: Iterable[Job | Receipt]) -> Iterator[Receipt]:
        """Deliver the stream's events and yield a receipt for each as it settles.

        Receipts in the stream, of rows that are no events, are passed on. An error of the stream ends the reading; what
        was read before it is delivered first, then it is raised.

        :raises DeliveryHalted: an answer condemns the whole batch.
        :raises AdjustUnreachable: nothing was settled while an event used up its attempts.
        """
        source = Source(stream)
        while True:
            self._read(source)
            self._wake()
            # Before more is sent: the ledger has to know what came before in a lane, also if it was only looked up.
            yield from self._take_receipts()
            self._send()
            yield from self._take_receipts()
            if not self._in_flight and (self._stopped or (source.exhausted and not len(self._schedule))):
                break
            if not self._in_flight and self._admission.wait_for_answer(self._patience(source)):
                continue
            for completion in self._transport.poll(self._patience(source)):
                self._take(completion)
            # Before more is sent: the ledger has to know what came before in a lane.
            yield from self._take_receipts()
        self._hold_the_rest()
        yield from self._take_receipts()
        if self._stopped:
            raise self._stopped
        if source.error:
            raise source.error

    def _take_receipts(self) -> list[Receipt]:
        receipts, self._receipts = self._receipts, []
        return receipts

    def _read(self, source: Source) -> None:
        """Read a little ahead of the answers."""
        for _ in range(_READ_AT_ONCE):
            if self._stopped or not self._has_room or (item := source.read()) is None:
                return
            if isinstance(item, Receipt):
                self._receipts.append(item)
            elif item.doubtful and self._on_in_doubt == "hold":
                self._schedule.close(item)
                self._receipts.append(still_in_doubt(item))
            elif not self._schedule.add(item):
                self._receipts.append(held_behind_another(item))

    @property
    def _has_room(self) -> bool:
        return len(self._schedule) < self._buffer

    def _wake(self) -> None:
        """Events whose wait is over may be sent again, or are looked up."""
        for job in self._waiting.take_due(self._clock()):
            if job.verify_until is None:
                self._schedule.make_ready(job)
            else:
                self._verify(job)

    def _send(self) -> None:
        now = self._clock()
        try:
            while not self._stopped and self._in_flight < self._pace.window and self._pace.wait(now) <= 0:
                job = self._admission.next()
                if job is None:
                    break
                self._submit(job, now)
            if not self._stopped:
                self._admission.look_ahead()  # the next ones, while these are under way
        except LedgerUnavailable as error:
            self.stop(error)

    def _submit(self, job: Job, now: float) -> None:
        if not job.attempts:
            job.settled_before = self._settled
        job.attempts += 1
        self._in_flight += 1
        self._pace.sent(now)
        self._transport.submit(job, self._target_of(job), job.event.body)

    def _end_unsent(self, job: Job, receipt: Receipt) -> None:
        """The ledger knows how this event ended, or that it must not go now."""
        self._receipts.append(receipt)
        if receipt.outcome in UNRESOLVED:
            self._hold_followers(job)
        else:
            self._probes.prove(job)  # Adjust took these tokens before
            self._schedule.settle(job)
        self._release(job)

    def _verify_first(self, job: Job) -> bool:
        """An event that an earlier try left in doubt is looked up before it is sent again."""
        if job.doubtful and not job.attempts and self._verification:
            self._begin_to_verify(job, self._verification)
            return True
        return False

    def _begin_to_verify(self, job: Job, verification: DeviceLookup) -> None:
        verification.begin(job, self._clock())
        self._wait(job, 0.0)
        self._release(job)

    def _verify(self, job: Job) -> None:
        assert self._verification is not None  # noqa: S101 - nothing else sets verify_until
        finding = self._verification.look(job, self._clock())
        if finding.look_again_in is not None:
            self._wait(job, finding.look_again_in)
            return
        job.verify_until = None
        job.doubtful = finding.recorded is not Recorded.NO
        if finding.recorded is Recorded.YES:
            self._settle(job, Verdict(Outcome.DELIVERED, "", "the Device API shows it"))
        elif job.doubtful or job.attempts >= self._retries.attempts:
            self._unresolved(job, Verdict(Outcome.IN_DOUBT, "not_verified", finding.detail))
        else:
            self._schedule.make_ready(job)

    def _patience(self, source: Source) -> float:
        """Seconds for which nothing but an answer can make a difference."""
        now = self._clock()
        longest = _LONGEST_POLL
        if self._waiting.next_due is not None:
            longest = min(longest, self._waiting.next_due - now)
        if self._in_flight < self._pace.window:
            pause = self._pace.wait(now)
            if pause > 0:
                longest = min(longest, pause)
            elif self._admission.asking and self._in_flight:
                longest = min(longest, _LOOK_AT_CLAIM)
            elif not source.exhausted and not self._stopped and self._has_room:
                longest = 0.0
        return max(0.0, longest)

    def _take(self, completion: Completion) -> None:
        job: Job = completion.key
        answer = None if completion.failure else completion.body
        self._in_flight -= 1
        verdict = judge(completion)
        if answer is not None and verdict.message:
            verdict = redacted(verdict, job, self._target_of(job))
        self._pace.answered(verdict)
        outcome = verdict.outcome
        if outcome is Outcome.HALT:
            self.stop(halted(verdict))
            # What a 202 means for the event itself is not documented: it is neither delivered nor surely lost.
            job.doubtful = job.doubtful or verdict.http_status == 202
            self._unresolved(job, verdict, answer)
        elif outcome is Outcome.RETRY:
            self._retry(job, verdict, answer)
        elif outcome is Outcome.IN_DOUBT:
            job.doubtful = True
            if self._verification:
                self._begin_to_verify(job, self._verification)
            elif self._on_in_doubt == "resend" and verdict.http_status in {None, 200}:
                self._retry(job, verdict, answer)
            else:
                self._unresolved(job, verdict, answer)
        else:
            self._pace.prove()
            self._settle(job, verdict, answer)
        self._release(job)

    def _settle(self, job: Job, verdict: Verdict, answer: bytes | None = None) -> None:
        self._settled += 1
        self._probes.prove(job)
        self._schedule.settle(job)
        if self._verification and verdict.outcome is Outcome.DELIVERED:
            self._verification.remember(job)
        self._end(job, verdict.outcome, verdict, answer)

    def _end(self, job: Job, outcome: Outcome, verdict: Verdict, answer: bytes | None) -> None:
        reason, message, status = verdict.reason, verdict.message, verdict.http_status
        self._receipts.append(receipt_for(job, outcome, reason, message, http_status=status, answer=answer))

    def _release(self, job: Job) -> None:
        for parked in self._probes.release(job):
            self._schedule.make_ready(parked)

    def _retry(self, job: Job, verdict: Verdict, answer: bytes | None) -> None:
        now = self._clock()
        wish = verdict.retry_after
        if wish is not None and wish > self._retries.max_retry_after:
            self.stop(asked_to_wait(wish, verdict))
        if job.attempts >= self._retries.attempts and job.settled_before == self._settled:
            self.stop(nothing_settled(job, verdict))
        if self._stopped or job.attempts >= self._retries.attempts:
            self._unresolved(job, verdict, answer)
            return
        pause = self._retries.wait(job.attempts) if wish is None else wish
        if verdict.slow_down and (wish is not None or verdict.http_status == 429):
            self._pace.pause(now, pause)
        self._wait(job, pause)

    def _wait(self, job: Job, seconds: float) -> None:
        self._waiting.add(job, self._clock() + seconds)

    def _unresolved(self, job: Job, verdict: Verdict, answer: bytes | None = None) -> None:
        self._end(job, Outcome.IN_DOUBT if job.doubtful else Outcome.HELD, verdict, answer)
        self._hold_followers(job)

    def _hold_followers(self, job: Job) -> None:
        self._receipts.extend(map(held_behind_another, self._schedule.hold(job)))

    def _hold_the_rest(self) -> None:
        """After a stop: what waited for a retry or for its turn has an outcome too."""
        try:
            self._admission.close()
        except LedgerUnavailable as error:
            self.stop(error)
        heads = [*self._waiting, *self._admission.left_over()]
        for head in sorted(heads, key=lambda job: job.turn):
            self._receipts.extend(map(stopped_before_sent, (head, *self._schedule.hold(head))))
