"""The loop: events in, receipts out.

One thread reads events, hands those with free lanes to a transport, collects completions, and turns each into a
receipt, a retry or a stop. Only a bounded number of events is read ahead of the answers. The loop waits only in the
transport's ``poll``, so that a test can pass a transport that controls the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import NOT_FROM_ADJUST, UNRESOLVED, Outcome, Recorded, Verdict
from airflow_provider_adjust.s2s.answers.receipt import (
    Receipt,
    held_behind_another,
    receipt_for,
    still_in_doubt,
    stopped_before_sent,
)
from airflow_provider_adjust.s2s.delivery.admission import ClaimStore, Dispatcher, TokenCanary
from airflow_provider_adjust.s2s.delivery.lanes import Pending, Schedule
from airflow_provider_adjust.s2s.delivery.lookup import DeviceLookup, LookupResult
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.pacing import DelayQueue, Pace
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    LedgerUnavailable,
    NotAdjust,
)
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.redaction import escape, redact_event_values
from airflow_provider_adjust.s2s.transports import Completion, Transport

#: Events read ahead for each request that may be in flight: enough that busy devices do not starve the others.
_BUFFERED_PER_REQUEST = 32
#: Events read between two polls.
_READ_AT_ONCE = 32
#: Longest poll in seconds, so that a request to stop is seen; and while a claim is under way.
_LONGEST_POLL = 0.5
_POLL_DURING_CLAIM = 0.002
#: Characters of an answer that is not Adjust's, in the error's message. The receipt has more.
_FIRST_WORDS = 60


class Source:
    """An iterator that keeps its error, so that the rows read before it are still delivered."""

    def __init__(self, stream: Iterable[Job | Receipt]) -> None:
        self._items = iter(stream)
        self.exhausted = False
        self.error: Exception | None = None

    def read(self) -> Job | Receipt | None:
        """The next item; None at the end or at the first error."""
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


class Delivery:
    """One run of the loop. ``run`` may be called once.

    :param routes: where events go and how they are looked up, by their job's route.
    :param sink: takes each receipt before anything more is sent.
    :param claims: the ledger.
    """

    def __init__(
        self,
        transport: Transport,
        routes: Mapping[str | None, Route],
        options: SendOptions,
        *,
        sink: Sink,
        claims: ClaimStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._routes = routes
        self._sink = sink
        self._pace = Pace(options.max_in_flight, options.max_events_per_second)
        self._on_in_doubt = options.on_in_doubt
        self._retries = options.retries
        if options.on_in_doubt == "verify" and not all(route.lookup for route in routes.values()):
            raise AdjustConfigurationError(
                "on_in_doubt='verify' needs the API token in the connection, for the Device API"
            )
        self._lookup = DeviceLookup(routes, options.lookups) if options.on_in_doubt == "verify" else None
        self._canary = TokenCanary()
        self._clock = clock
        self._schedule = Schedule()
        self._dispatcher = Dispatcher(self._schedule, self._canary, claims)
        self._buffer = options.max_in_flight * _BUFFERED_PER_REQUEST
        self._in_flight = 0
        self._delayed = DelayQueue()
        self._settled = 0
        self._left_in_doubt = 0
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
        """Deliver the stream's events and yield a receipt for each once the sink has taken it.

        Receipts in the stream, of rows that are not valid events, are passed on. An error of the stream ends the reading; what
        was read before it is delivered first, then it is raised.

        :raises DeliveryHalted: Adjust rejected the credentials or the app.
        :raises NotAdjust: something other than Adjust answered.
        :raises AdjustUnreachable: nothing was settled while an event used up its attempts.
        """
        source = Source(stream)
        while True:
            self._read(source)
            self._wake()
            # Before more is sent: the ledger has to know what came before in a lane, also if it was only looked up.
            yield from self._hand_over()
            self._send()
            yield from self._hand_over()
            if not self._in_flight and (self._stopped or (source.exhausted and not len(self._schedule))):
                break
            if not self._in_flight and self._dispatcher.wait_for_answer(self._patience(source)):
                continue
            for completion in self._transport.poll(self._patience(source)):
                self._take(completion)
            # Before more is sent: the ledger has to know what came before in a lane.
            yield from self._hand_over()
        self._hold_the_rest()
        yield from self._hand_over()
        if self._stopped:
            raise self._stopped
        if source.error:
            raise source.error

    def _hand_over(self) -> list[Receipt]:
        """Have the sink take the new receipts, and return them."""
        receipts, self._receipts = self._receipts, []
        for receipt in receipts:
            try:
                self._sink.take(receipt)
            except LedgerUnavailable as error:
                self.stop(error)
        return receipts

    def _read(self, source: Source) -> None:
        """Read a little ahead of the answers."""
        for _ in range(_READ_AT_ONCE):
            if self._stopped or not self._has_room or (item := source.read()) is None:
                return
            if isinstance(item, Receipt):
                self._receipts.append(item)
                continue
            pending = Pending(item, doubtful=item.sent_before)
            if item.sent_before and self._on_in_doubt == "hold":
                self._schedule.close(pending)
                self._receipts.append(still_in_doubt(item))
            elif not self._schedule.add(pending):
                self._receipts.append(held_behind_another(item))

    @property
    def _has_room(self) -> bool:
        return len(self._schedule) < self._buffer

    def _wake(self) -> None:
        """Offer events again after their backoff, and look up the events in doubt that are due."""
        for pending in self._delayed.take_due(self._clock()):
            self._schedule.make_ready(pending)
        if self._lookup:
            for pending, result in self._lookup.results(self._clock):
                self._take_lookup(pending, result)

    def _send(self) -> None:
        now = self._clock()
        try:
            self._look_ahead()
            while not self._stopped and self._in_flight < self._pace.window and self._pace.wait(now) <= 0:
                pending = self._dispatcher.next()
                if pending is None:
                    break
                if self._lookup and pending.doubtful and not pending.attempts:
                    # An earlier try left it in doubt.
                    self._begin_lookup(pending, self._lookup)
                else:
                    self._submit(pending, now)
                self._look_ahead()  # claim the next ones, while these are under way
        except LedgerUnavailable as error:
            self.stop(error)

    def _look_ahead(self) -> None:
        """Act on the claims that are answered, and claim more events while few are at hand."""
        if self._stopped:
            return
        while True:
            if self._dispatcher.answered:
                self._take_claims()
            self._dispatcher.ask()
            if not self._dispatcher.answered:
                return

    def _take_claims(self) -> None:
        for pending, answer in self._dispatcher.collect():
            if isinstance(answer, Receipt):
                self._end_unsent(pending, answer)
            else:
                pending.doubtful = pending.doubtful or answer.sent_before
                if self._lookup and pending.doubtful and not pending.attempts and not self._stopped:
                    # Now, and not when it may be sent: a pause or a full window need not hold up the look-up.
                    self._begin_lookup(pending, self._lookup)
                else:
                    self._dispatcher.admit(pending)

    def _submit(self, pending: Pending, now: float) -> None:
        if not pending.attempts:
            pending.settled_before = self._settled
        pending.attempts += 1
        self._in_flight += 1
        self._pace.sent(now)
        self._transport.submit(pending, self._routes[pending.job.route].target, pending.event.body)

    def _end_unsent(self, pending: Pending, receipt: Receipt) -> None:
        """The ledger knows how this event ended, or that it must not go now."""
        self._receipts.append(receipt)
        if receipt.outcome in UNRESOLVED:
            self._hold_followers(pending)
        else:
            self._canary.confirm(pending)  # Adjust took these tokens before
            self._schedule.settle(pending)
        self._release(pending)

    def _begin_lookup(self, pending: Pending, lookup: DeviceLookup) -> None:
        lookup.begin(pending, self._clock())
        self._release(pending)

    def _take_lookup(self, pending: Pending, result: LookupResult) -> None:
        pending.doubtful = result.recorded is not Recorded.NO
        if result.recorded is Recorded.YES:
            self._settle(pending, Verdict(Outcome.DELIVERED, "", "the Device API shows it"))
        elif pending.doubtful or pending.attempts >= self._retries.attempts:
            self._unresolved(pending, Verdict(Outcome.IN_DOUBT, "not_verified", result.detail))
        else:
            self._schedule.make_ready(pending)

    def _patience(self, source: Source) -> float:
        """Seconds for which nothing but an answer can make a difference."""
        now = self._clock()
        longest = _LONGEST_POLL
        for due in (self._delayed.next_due, self._lookup.next_due if self._lookup else None):
            if due is not None:
                longest = min(longest, due - now)
        if self._in_flight < self._pace.window:
            pause = self._pace.wait(now)
            if pause > 0:
                longest = min(longest, pause)
            elif self._dispatcher.asking and self._in_flight:
                longest = min(longest, _POLL_DURING_CLAIM)
            elif not source.exhausted and not self._stopped and self._has_room:
                longest = 0.0
        return max(0.0, longest)

    def _take(self, completion: Completion) -> None:
        pending: Pending = completion.key
        answer = None if completion.failure else completion.body
        self._in_flight -= 1
        verdict = judge(completion)
        if answer is not None and verdict.message:
            verdict = self._redacted(verdict, pending)
        self._pace.answered(verdict)
        outcome = verdict.outcome
        if outcome is Outcome.HALT:
            self.stop(_halted(verdict))
            pending.doubtful = pending.doubtful or verdict.leaves_in_doubt
            self._unresolved(pending, verdict, answer)
        elif outcome is Outcome.RETRY:
            self._retry(pending, verdict, answer)
        elif outcome is Outcome.IN_DOUBT:
            pending.doubtful = True
            if self._lookup:
                self._begin_lookup(pending, self._lookup)
            elif self._on_in_doubt == "resend" and _may_be_resent(verdict):
                self._retry(pending, verdict, answer)
            else:
                self._leave_in_doubt(pending, verdict, answer)
        else:
            self._pace.endpoint_ok()
            self._settle(pending, verdict, answer)
        self._release(pending)

    def _redacted(self, verdict: Verdict, pending: Pending) -> Verdict:
        """The verdict without the values of the event and the token that the answer repeats."""
        s2s_token = self._routes[pending.job.route].target.s2s_token
        event = pending.event
        message = redact_event_values(verdict.message, event.params, event.endpoint, s2s_token)
        return replace(verdict, message=message)

    def _settle(self, pending: Pending, verdict: Verdict, answer: bytes | None = None) -> None:
        self._settled += 1
        self._left_in_doubt = 0
        self._canary.confirm(pending)
        self._schedule.settle(pending)
        if self._lookup and verdict.outcome is Outcome.DELIVERED:
            self._lookup.remember(pending)
        self._end(pending, verdict.outcome, verdict, answer)

    def _end(self, pending: Pending, outcome: Outcome, verdict: Verdict, answer: bytes | None) -> None:
        self._receipts.append(
            receipt_for(
                pending.job,
                outcome,
                verdict.reason,
                verdict.message,
                http_status=verdict.http_status,
                answer=answer,
                attempts=pending.attempts,
            )
        )

    def _release(self, pending: Pending) -> None:
        for unblocked in self._canary.release(pending):
            self._schedule.make_ready(unblocked)

    def _retry(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        now = self._clock()
        retry_after = verdict.retry_after
        if retry_after is not None and retry_after > self._retries.max_retry_after:
            self.stop(_retry_after_too_long(retry_after, verdict))
        if pending.attempts >= self._retries.attempts and pending.settled_before == self._settled:
            self.stop(_nothing_settled(pending.attempts, verdict))
        if self._stopped or pending.attempts >= self._retries.attempts:
            self._unresolved(pending, verdict, answer)
            return
        pause = self._retries.wait(pending.attempts) if retry_after is None else retry_after
        if verdict.slow_down and (retry_after is not None or verdict.http_status == 429):
            self._pace.pause(now, pause)
        self._delayed.add(pending, now + pause)

    def _leave_in_doubt(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        """Sent once and not again. An outage must not use up every event so, one request each."""
        self._left_in_doubt += 1
        if self._left_in_doubt >= self._retries.attempts * self._pace.window:
            self.stop(_nothing_settled(self._left_in_doubt, verdict))
        self._unresolved(pending, verdict, answer)

    def _unresolved(self, pending: Pending, verdict: Verdict, answer: bytes | None = None) -> None:
        self._end(pending, Outcome.IN_DOUBT if pending.doubtful else Outcome.HELD, verdict, answer)
        self._hold_followers(pending)

    def _hold_followers(self, pending: Pending) -> None:
        self._receipts.extend(held_behind_another(follower.job) for follower in self._schedule.hold(pending))

    def _hold_the_rest(self) -> None:
        """After a stop: what waited for a retry or for its turn has an outcome too."""
        try:
            self._take_claims()
        except LedgerUnavailable as error:
            self.stop(error)
        heads = [*self._delayed, *(self._lookup or ()), *self._dispatcher.drain()]
        for head in sorted(heads, key=lambda pending: pending.turn):
            self._receipts.extend(
                stopped_before_sent(each.job, doubtful=each.doubtful, attempts=each.attempts)
                for each in (head, *self._schedule.hold(head))
            )


def _may_be_resent(verdict: Verdict) -> bool:
    """Whether another try may bring an answer that decides: not after a status that Adjust never gives, such as 204."""
    status = verdict.http_status
    return status in {None, 200} or (status or 0) >= 500


def _words(verdict: Verdict, longest: int | None = None) -> str:
    """The answer in short, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {escape(verdict.message, longest)}" if verdict.message else status


def _halted(verdict: Verdict) -> DeliveryStopped:
    if verdict.reason in NOT_FROM_ADJUST:
        words = _words(verdict, _FIRST_WORDS)
        return NotAdjust(
            f"something other than Adjust answered, nothing more was sent ({verdict.reason}; {words}): {verdict.remedy}"
        )
    return DeliveryHalted(
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {_words(verdict)}): {verdict.remedy}"
    )


def _retry_after_too_long(seconds: float, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(
        f"Adjust asks to wait {seconds:.0f} s ({_words(verdict)}); retry then", retry_after=seconds
    )


def _nothing_settled(attempts: int, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(
        f"no event could be settled in {attempts} attempts, the last ended with {_words(verdict)}; "
        "check the endpoint, the network and Adjust's status page, then retry the task",
        retry_after=verdict.retry_after,
    )
