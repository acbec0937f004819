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
from dataclasses import dataclass, field
from typing import Literal, Protocol

from airflow_provider_adjust.s2s.device_api import Standing
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    LedgerUnavailable,
)
from airflow_provider_adjust.s2s.events import Lane
from airflow_provider_adjust.s2s.pace import Pace
from airflow_provider_adjust.s2s.receipts import UNRESOLVED, Receipt
from airflow_provider_adjust.s2s.responses import Outcome, Verdict, classify
from airflow_provider_adjust.s2s.schedule import Job, Schedule
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target, Transport

OnInDoubt = Literal["resend", "hold", "verify"]

#: Events read ahead for each request that may be in flight: enough that busy devices do not starve the others.
_BUFFERED_PER_REQUEST = 32
#: Events read between two looks at the answers.
_READ_AT_ONCE = 32
#: Longest wait for answers, so that a request to stop is seen.
_LONGEST_POLL = 0.5

#: How long the Device API is asked before an event counts as absent: practice says that it lags some 30 seconds.
_VERIFY_FOR = 60.0
_VERIFY_EVERY = 5.0
#: Lanes whose last delivered second is remembered, to tell an event in doubt from its predecessor of the same second.
_REMEMBERED_LANES = 100_000

_TokenPair = tuple[str, str]


class Claims(Protocol):
    """Who must know of an event before it goes out, and may say that it is not to be sent (the ledger)."""

    batch_size: int

    def claim(self, jobs: Sequence[Job]) -> list[Receipt | None]:
        """For each event None, or the receipt of one that is not to be sent now."""


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
        if on_in_doubt == "verify" and standing_of is None:
            raise AdjustConfigurationError(
                "on_in_doubt='verify' needs the API token in the connection, for the Device API"
            )
        self._standing_of = standing_of if on_in_doubt == "verify" else None
        self._last_seconds: dict[Lane, str] = {}
        self._clock = clock
        self._schedule = Schedule()
        self._buffer = max_in_flight * _BUFFERED_PER_REQUEST
        self._in_flight = 0
        self._waiting: list[tuple[float, int, Job]] = []
        self._retried = 0
        self._settled = 0
        self._exhausted = False
        self._source_error: BaseException | None = None
        self._stopped: DeliveryStopped | None = None
        self._proven: set[_TokenPair] = set()
        self._probing: set[_TokenPair] = set()
        self._parked: dict[_TokenPair, list[Job]] = {}

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
            yield from self._read(source)
            yield from self._send()
            if not self._in_flight and (self._stopped or (self._exhausted and not len(self._schedule))):
                break
            for completion in self._transport.poll(self._patience()):
                yield from self._take(completion)
        yield from self._hold_the_rest()
        if self._stopped:
            raise self._stopped
        if self._source_error:
            raise self._source_error

    def _read(self, source: Iterator[Job | Receipt]) -> Iterator[Receipt]:
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
                yield item
            elif item.doubtful and self._on_in_doubt == "hold":
                self._schedule.close(item)
                yield _receipt(item, Outcome.IN_DOUBT, "no_answer", _STILL_IN_DOUBT)
            elif not self._schedule.add(item):
                yield _receipt(item, Outcome.HELD, "lane_held", _LANE_HELD)

    def _send(self) -> Iterator[Receipt]:
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            job = heapq.heappop(self._waiting)[2]
            if job.verify_until is None:
                self._schedule.make_ready(job)
            else:
                yield from self._verify(job)
        while not self._stopped and self._in_flight < self._pace.window and self._pace.wait(now) <= 0:
            while not self._claimed and self._schedule.has_ready and not self._stopped:
                yield from self._claim()
            if not self._claimed or self._stopped:
                return
            job = self._claimed.popleft()
            if not job.attempts:
                job.settled_before = self._settled
            job.attempts += 1
            self._in_flight += 1
            self._pace.sent(now)
            self._transport.submit(job, self._target_of(job), job.event.body)

    def _claim(self) -> Iterator[Receipt]:
        """Take ready events, as many as are claimed together, and let those through that may be sent."""
        batch: list[Job] = []
        most = self._claims.batch_size if self._claims else 1
        while len(batch) + len(self._claimed) < most and (job := self._schedule.next_ready()) is not None:
            if not self._may_go(job):
                continue
            if job.claimed or self._claims is None:
                self._let_through(job)
            else:
                batch.append(job)
        if not batch or self._claims is None:
            return
        try:
            answers = self._claims.claim(batch)
        except Exception as error:
            self.stop(LedgerUnavailable.because(error))
            self._claimed.extend(batch)
            return
        for job, receipt in zip(batch, answers, strict=True):
            if receipt is None:
                job.claimed = True
                self._let_through(job)
                continue
            if receipt.outcome in UNRESOLVED:
                yield receipt
                for follower in self._schedule.hold(job):
                    yield _receipt(follower, Outcome.HELD, "lane_held", _LANE_HELD)
            else:
                # Adjust took this token pair before, so it need not be tried with one event alone.
                self._proven.add(_tokens(job))
                self._schedule.settle(job)
                yield receipt
            self._release(_tokens(job))

    def _let_through(self, job: Job) -> None:
        """An event that an earlier try left in doubt is looked up before it is sent again."""
        if job.doubtful and not job.attempts and self._standing_of:
            self._begin_to_verify(job)
        else:
            self._claimed.append(job)

    def _begin_to_verify(self, job: Job) -> None:
        job.verify_until = self._clock() + _VERIFY_FOR
        self._wait(job, 0.0)
        self._release(_tokens(job))

    def _verify(self, job: Job) -> Iterator[Receipt]:
        """Ask the Device API how an event in doubt stands, for as long as its answer may lag."""
        now, until = self._clock(), job.verify_until or 0.0
        detail = "the Device API cannot tell whether Adjust has it"
        try:
            standing = self._standing(job)
        except AdjustError as error:
            standing, detail = Standing.UNKNOWN, str(error)
            if now < until:
                self._wait(job, _VERIFY_EVERY)
                return
        if standing is Standing.ABSENT and now < until:
            self._wait(job, min(_VERIFY_EVERY, until - now))
            return
        job.verify_until = None
        if standing is Standing.RECORDED:
            yield from self._settle(job, Verdict(Outcome.DELIVERED, "", "the Device API shows it"))
        elif standing is Standing.UNKNOWN or job.attempts >= self._retries.attempts:
            job.doubtful = standing is Standing.UNKNOWN
            yield from self._unresolved(job, Verdict(Outcome.IN_DOUBT, "not_verified", detail), doubtful=job.doubtful)
        else:
            job.doubtful = False
            self._schedule.make_ready(job)

    def _standing(self, job: Job) -> Standing:
        second = job.event.params["created_at_unix"]
        if any(self._last_seconds.get(lane) == second for lane in job.event.lanes):
            return Standing.UNKNOWN  # the last event that the Device API shows may be the one before
        return self._standing_of(job) if self._standing_of else Standing.UNKNOWN

    def _may_go(self, job: Job) -> bool:
        """One event of a token pair goes first: a wrong token is then refused once, not once for each in flight."""
        pair = _tokens(job)
        if pair in self._proven:
            return True
        if pair in self._probing:
            self._parked.setdefault(pair, []).append(job)
            return False
        self._probing.add(pair)
        return True

    def _patience(self) -> float | None:
        now = self._clock()
        longest = _LONGEST_POLL
        if self._waiting:
            longest = min(longest, self._waiting[0][0] - now)
        if self._in_flight < self._pace.window:
            wait = self._pace.wait(now)
            if wait > 0:
                longest = min(longest, wait)
            elif not self._exhausted and not self._stopped and len(self._schedule) < self._buffer:
                longest = 0.0
        return max(0.0, longest)

    def _take(self, completion: Completion) -> Iterator[Receipt]:
        job: Job = completion.key
        self._in_flight -= 1
        verdict = judge(completion)
        self._pace.answered(verdict)
        outcome = verdict.outcome
        if outcome is Outcome.HALT:
            self.stop(DeliveryHalted(_halt_message(verdict)))
            # What a 202 means for the event itself is not documented: it is neither delivered nor surely lost.
            doubtful = job.doubtful or verdict.http_status == 202
            yield from self._unresolved(job, verdict, doubtful=doubtful)
        elif outcome is Outcome.RETRY:
            yield from self._retry(job, verdict)
        elif outcome is Outcome.IN_DOUBT:
            job.doubtful = True
            if self._standing_of:
                self._begin_to_verify(job)
            elif self._on_in_doubt == "resend" and verdict.http_status in {None, 200}:
                yield from self._retry(job, verdict)
            else:
                yield from self._unresolved(job, verdict, doubtful=True)
        else:
            self._pace.prove()
            yield from self._settle(job, verdict)
        self._release(_tokens(job))

    def _settle(self, job: Job, verdict: Verdict) -> Iterator[Receipt]:
        self._settled += 1
        self._proven.add(_tokens(job))
        self._schedule.settle(job)
        if self._standing_of and verdict.outcome is Outcome.DELIVERED:
            for lane in job.event.lanes:
                self._last_seconds.pop(lane, None)
                self._last_seconds[lane] = job.event.params["created_at_unix"]
            while len(self._last_seconds) > _REMEMBERED_LANES:
                del self._last_seconds[next(iter(self._last_seconds))]
        yield _receipt(job, verdict.outcome, verdict.reason, verdict.message, verdict)

    def _release(self, pair: _TokenPair) -> None:
        if pair in self._probing:
            self._probing.remove(pair)
            for parked in self._parked.pop(pair, ()):
                self._schedule.make_ready(parked)

    def _retry(self, job: Job, verdict: Verdict) -> Iterator[Receipt]:
        now = self._clock()
        wish = verdict.retry_after
        if wish is not None and wish > self._retries.longest_wish:
            self.stop(
                AdjustUnreachable(f"Adjust asks to wait {wish:.0f} s ({_words(verdict)}); retry then", retry_after=wish)
            )
        if job.attempts >= self._retries.attempts and job.settled_before == self._settled:
            self.stop(
                AdjustUnreachable(
                    f"no event could be settled in {job.attempts} attempts, the last ended with {_words(verdict)}; "
                    "check the endpoint, the network and Adjust's status page, then retry the task",
                    retry_after=wish,
                )
            )
        if self._stopped or job.attempts >= self._retries.attempts:
            yield from self._unresolved(job, verdict, doubtful=job.doubtful)
            return
        wait = self._retries.wait(job.attempts) if wish is None else wish
        if verdict.slow_down and (wish is not None or verdict.http_status == 429):
            self._pace.pause(now, wait)
        self._wait(job, wait)

    def _wait(self, job: Job, seconds: float) -> None:
        self._retried += 1
        heapq.heappush(self._waiting, (self._clock() + seconds, self._retried, job))

    def _unresolved(self, job: Job, verdict: Verdict, *, doubtful: bool) -> Iterator[Receipt]:
        outcome = Outcome.IN_DOUBT if doubtful else Outcome.HELD
        followers = self._schedule.hold(job)
        yield _receipt(job, outcome, verdict.reason, verdict.message, verdict)
        for follower in followers:
            yield _receipt(follower, Outcome.HELD, "lane_held", _LANE_HELD)

    def _hold_the_rest(self) -> Iterator[Receipt]:
        """After a stop: what waited for a retry or for its turn has an outcome too."""
        heads = [job for _, _, job in self._waiting]
        heads.extend(self._claimed)
        heads.extend(job for parked in self._parked.values() for job in parked)
        while (ready := self._schedule.next_ready()) is not None:
            heads.append(ready)
        for head in sorted(heads, key=lambda job: job.position):
            for job in (head, *self._schedule.hold(head)):
                yield _receipt(job, Outcome.IN_DOUBT if job.doubtful else Outcome.HELD, "stopped", _STOPPED)


_LANE_HELD = "an earlier event of the same device and event token is unresolved; this one goes after it next time"
_STILL_IN_DOUBT = "an earlier try sent this event and got no answer; look into Adjust, then send it as a row of its own"
_STOPPED = "the delivery stopped before this event was sent"


def judge(completion: Completion) -> Verdict:
    """Return the verdict on an answer, or on the lack of one."""
    if completion.failure is None:
        return classify(completion.status or 0, completion.body, retry_after=completion.retry_after)
    message = completion.failure_name
    if completion.failure is Failure.NOT_SENT:
        return Verdict(Outcome.RETRY, "connection_failed", message)
    if completion.failure is Failure.TLS:
        remedy = "check the connection's endpoint and the certificates that the worker trusts"
        return Verdict(Outcome.HALT, "tls_refused", message, remedy)
    if completion.status is not None and completion.status >= 500:
        return Verdict(Outcome.RETRY, f"http_{completion.status}", message, http_status=completion.status)
    return Verdict(Outcome.IN_DOUBT, "no_answer", message, http_status=completion.status)


def _tokens(job: Job) -> _TokenPair:
    return job.event.params["app_token"], job.event.params["event_token"]


def _words(verdict: Verdict) -> str:
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {verdict.message}" if verdict.message else status


def _halt_message(verdict: Verdict) -> str:
    return (
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {_words(verdict)}): {verdict.remedy}"
    )


def _receipt(job: Job, outcome: Outcome, reason: str, detail: str, verdict: Verdict | None = None) -> Receipt:
    return Receipt(
        outcome=outcome,
        reason=reason,
        event_id=job.event.event_id,
        position=job.position,
        detail=detail,
        http_status=verdict.http_status if verdict else None,
        response=verdict.response if verdict else None,
        attempts=job.attempts,
        event=job.event,
        row=job.row,
    )
