"""The loop: events in, receipts out.

One thread reads events, hands those that the schedule frees to a transport, collects completions, and turns each into a
receipt, a retry or a stop. Only a bounded number of events is read ahead of the answers. Waiting is always waiting for
the transport, so that a test can give it a transport whose clock it turns.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from airflow_provider_adjust.s2s.device_api import Standing
from airflow_provider_adjust.s2s.echoes import without_echoes
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    LedgerUnavailable,
)
from airflow_provider_adjust.s2s.pace import Pace
from airflow_provider_adjust.s2s.probes import Probes
from airflow_provider_adjust.s2s.receipts import UNRESOLVED, Receipt
from airflow_provider_adjust.s2s.responses import Outcome, Verdict
from airflow_provider_adjust.s2s.schedule import Job, Schedule
from airflow_provider_adjust.s2s.transports import Completion, Target, Transport
from airflow_provider_adjust.s2s.verdicts import halt_message, judge, receipt_for, words
from airflow_provider_adjust.s2s.verification import Verification

OnInDoubt = Literal["resend", "hold", "verify"]

#: Events read ahead for each request that may be in flight: enough that busy devices do not starve the others.
_BUFFERED_PER_REQUEST = 32
#: Events read between two looks at the answers.
_READ_AT_ONCE = 32
#: Longest wait for answers, so that a request to stop is seen; and while a claim is on its way.
_LONGEST_POLL = 0.5
_LOOK_AT_CLAIM = 0.002

_LANE_HELD = "an earlier event of the same device and event token is unresolved; this one goes after it next time"
_STILL_IN_DOUBT = "an earlier try sent this event and got no answer; look into Adjust, then send it as a row of its own"
_STOPPED = "the delivery stopped before this event was sent"


class Claims(Protocol):
    """Who must know of an event before it goes out, and may say that it is not to be sent (the ledger)."""

    batch_size: int

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Receipt | None]]:
        """For each event None, or the receipt of one that is not to be sent now; known once that is written down."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an event is sent, and how long it waits in between: exponential, with full jitter, in seconds.

    Adjust's own wish (``Retry-After``, ``retry_in``) replaces the wait. A wish longer than ``longest_wish`` ends the
    delivery, so that the task does not hold a worker for it.
    """

    attempts: int = 7
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_wish: float = 120.0
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, attempts: int) -> float:
        return self.jitter() * min(self.longest_wait, self.first_wait * 2.0 ** (attempts - 1))


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
        claims: Claims | None = None,
        standing_of: Callable[[Job], Standing] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._target_of = target_of
        self._pace = Pace(max_in_flight, max_events_per_second)
        self._on_in_doubt = on_in_doubt
        self._retries = retries or Retries()
        self._claims = claims
        self._claimed: deque[Job] = deque()
        self._claiming: tuple[list[Job], Future[list[Receipt | None]]] | None = None
        if on_in_doubt == "verify" and standing_of is None:
            raise AdjustConfigurationError(
                "on_in_doubt='verify' needs the API token in the connection, for the Device API"
            )
        self._verification = Verification(standing_of) if on_in_doubt == "verify" and standing_of else None
        self._probes = Probes()
        self._clock = clock
        self._schedule = Schedule()
        self._buffer = max_in_flight * _BUFFERED_PER_REQUEST
        self._in_flight = 0
        self._waiting: list[tuple[float, int, Job]] = []
        self._waited = 0
        self._settled = 0
        self._receipts: list[Receipt] = []
        self._exhausted = False
        self._source_error: BaseException | None = None
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
        source = iter(stream)
        while True:
            self._read(source)
            self._wake()
            # Before more is sent: the ledger has to know what came before in a lane, also if it was only looked up.
            yield from self._take_receipts()
            self._send()
            yield from self._take_receipts()
            if not self._in_flight and (self._stopped or (self._exhausted and not len(self._schedule))):
                break
            if self._claiming and not self._in_flight:
                wait((self._claiming[1],), self._patience())
                continue
            for completion in self._transport.poll(self._patience()):
                self._take(completion)
            # Before more is sent: the ledger has to know what came before in a lane.
            yield from self._take_receipts()
        self._hold_the_rest()
        yield from self._take_receipts()
        if self._stopped:
            raise self._stopped
        if self._source_error:
            raise self._source_error

    def _take_receipts(self) -> list[Receipt]:
        receipts, self._receipts = self._receipts, []
        return receipts

    def _read(self, source: Iterator[Job | Receipt]) -> None:
        for _ in range(_READ_AT_ONCE):
            if self._exhausted or self._stopped or len(self._schedule) >= self._buffer:
                return
            try:
                item = next(source)
            except StopIteration:
                self._exhausted = True
                return
            except Exception as error:
                self._exhausted = True
                self._source_error = error
                return
            if isinstance(item, Receipt):
                self._receipts.append(item)
            elif item.doubtful and self._on_in_doubt == "hold":
                self._schedule.close(item)
                self._receipts.append(receipt_for(item, Outcome.IN_DOUBT, "no_answer", _STILL_IN_DOUBT))
            elif not self._schedule.add(item):
                self._receipts.append(receipt_for(item, Outcome.HELD, "lane_held", _LANE_HELD))

    def _wake(self) -> None:
        """Events whose wait is over may be sent again, or are looked up."""
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            job = heapq.heappop(self._waiting)[2]
            if job.verify_until is None:
                self._schedule.make_ready(job)
            else:
                self._verify(job)

    def _send(self) -> None:
        now = self._clock()
        while not self._stopped and self._in_flight < self._pace.window and self._pace.wait(now) <= 0:
            next_job = self._next_to_send()
            if next_job is None:
                break
            self._submit(next_job, now)
        if self._claims and not self._stopped:
            self._claim(self._claims)  # the next ones, while these are under way

    def _submit(self, job: Job, now: float) -> None:
        if not job.attempts:
            job.settled_before = self._settled
        job.attempts += 1
        self._in_flight += 1
        self._pace.sent(now)
        self._transport.submit(job, self._target_of(job), job.event.body)

    def _next_to_send(self) -> Job | None:
        while not self._claimed and self._claims is None and (ready := self._schedule.next_ready()) is not None:
            if self._probes.may_go(ready):
                self._let_through(ready)
        if not self._claimed and self._claims:
            self._claim(self._claims)
        return self._claimed.popleft() if self._claimed and not self._stopped else None

    def _claim(self, claims: Claims) -> None:
        """Take note of what was claimed, and claim more while little is at hand."""
        if self._claiming and self._claiming[1].done():
            self._end_claim()
        at_hand = len(self._claimed)
        if self._claiming or at_hand > claims.batch_size // 2 or (at_hand and self._schedule.ready < at_hand):
            return
        batch: list[Job] = []
        while len(batch) < claims.batch_size and (job := self._schedule.next_ready()) is not None:
            if not self._probes.may_go(job):
                continue
            if job.claimed:
                self._let_through(job)
            else:
                batch.append(job)
        if batch:
            self._claiming = batch, claims.begin_claim(batch)
            if self._claiming[1].done():
                self._end_claim()

    def _end_claim(self) -> None:
        """Let those through that may be sent; waits for the answer if it is not there."""
        assert self._claiming is not None  # noqa: S101 - the callers have looked
        batch, answer = self._claiming
        self._claiming = None
        try:
            receipts = answer.result()
        except Exception as error:
            self.stop(LedgerUnavailable.because(error))
            self._claimed.extend(batch)
            return
        for job, receipt in zip(batch, receipts, strict=True):
            if receipt is None:
                job.claimed = True
                self._let_through(job)
                continue
            self._receipts.append(receipt)
            if receipt.outcome in UNRESOLVED:
                self._hold_followers(job)
            else:
                self._probes.prove(job)  # Adjust took these tokens before
                self._schedule.settle(job)
            self._release(job)

    def _let_through(self, job: Job) -> None:
        """An event that an earlier try left in doubt is looked up before it is sent again."""
        if job.doubtful and not job.attempts and self._verification:
            self._begin_to_verify(job, self._verification)
        else:
            self._claimed.append(job)

    def _begin_to_verify(self, job: Job, verification: Verification) -> None:
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
        job.doubtful = finding.standing is not Standing.ABSENT
        if finding.standing is Standing.RECORDED:
            self._settle(job, Verdict(Outcome.DELIVERED, "", "the Device API shows it"))
        elif job.doubtful or job.attempts >= self._retries.attempts:
            self._unresolved(job, Verdict(Outcome.IN_DOUBT, "not_verified", finding.detail))
        else:
            self._schedule.make_ready(job)

    def _patience(self) -> float:
        now = self._clock()
        longest = _LONGEST_POLL
        if self._waiting:
            longest = min(longest, self._waiting[0][0] - now)
        if self._in_flight < self._pace.window:
            pause = self._pace.wait(now)
            if pause > 0:
                longest = min(longest, pause)
            elif self._claiming and self._in_flight:
                longest = min(longest, _LOOK_AT_CLAIM)
            elif not self._exhausted and not self._stopped and len(self._schedule) < self._buffer:
                longest = 0.0
        return max(0.0, longest)

    def _take(self, completion: Completion) -> None:
        job: Job = completion.key
        answer = None if completion.failure else completion.body
        self._in_flight -= 1
        verdict = judge(completion)
        if answer is not None and verdict.message:
            message = without_echoes(verdict.message, job.event.params, self._target_of(job).s2s_token)
            verdict = replace(verdict, message=message)
        self._pace.answered(verdict)
        outcome = verdict.outcome
        if outcome is Outcome.HALT:
            self.stop(DeliveryHalted(halt_message(verdict)))
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
        if wish is not None and wish > self._retries.longest_wish:
            self.stop(
                AdjustUnreachable(f"Adjust asks to wait {wish:.0f} s ({words(verdict)}); retry then", retry_after=wish)
            )
        if job.attempts >= self._retries.attempts and job.settled_before == self._settled:
            self.stop(
                AdjustUnreachable(
                    f"no event could be settled in {job.attempts} attempts, the last ended with {words(verdict)}; "
                    "check the endpoint, the network and Adjust's status page, then retry the task",
                    retry_after=wish,
                )
            )
        if self._stopped or job.attempts >= self._retries.attempts:
            self._unresolved(job, verdict, answer)
            return
        pause = self._retries.wait(job.attempts) if wish is None else wish
        if verdict.slow_down and (wish is not None or verdict.http_status == 429):
            self._pace.pause(now, pause)
        self._wait(job, pause)

    def _wait(self, job: Job, seconds: float) -> None:
        self._waited += 1
        heapq.heappush(self._waiting, (self._clock() + seconds, self._waited, job))

    def _unresolved(self, job: Job, verdict: Verdict, answer: bytes | None = None) -> None:
        self._end(job, Outcome.IN_DOUBT if job.doubtful else Outcome.HELD, verdict, answer)
        self._hold_followers(job)

    def _hold_followers(self, job: Job) -> None:
        for follower in self._schedule.hold(job):
            self._receipts.append(receipt_for(follower, Outcome.HELD, "lane_held", _LANE_HELD))

    def _hold_the_rest(self) -> None:
        """After a stop: what waited for a retry or for its turn has an outcome too."""
        if self._claiming:
            self._end_claim()
        heads = [*(job for _, _, job in self._waiting), *self._claimed, *self._probes.parked]
        while (ready := self._schedule.next_ready()) is not None:
            heads.append(ready)
        for head in sorted(heads, key=lambda job: job.turn):
            for job in (head, *self._schedule.hold(head)):
                outcome = Outcome.IN_DOUBT if job.doubtful else Outcome.HELD
                self._receipts.append(receipt_for(job, outcome, "stopped", _STOPPED))
