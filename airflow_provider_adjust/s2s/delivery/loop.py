"""The loop: events in, receipts out.

One thread reads events, hands those with free lanes to a transport, collects completions, and turns each into a
receipt, a retry or a stop. Only a bounded number of events is read ahead of the answers. The loop waits only in the
transport's ``poll``, so that a test's transport can control the clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import UNRESOLVED, Outcome, Recorded, Verdict
from airflow_provider_adjust.s2s.answers.receipt import (
    Receipt,
    held_behind_another,
    receipt_for,
    still_in_doubt,
    unanswered_too_often,
)
from airflow_provider_adjust.s2s.delivery.admission import ClaimStore, Dispatcher, TokenCanary
from airflow_provider_adjust.s2s.delivery.doubt import is_refused_after_resend, refused_after_resend, resent_too_often
from airflow_provider_adjust.s2s.delivery.halts import Halts, unsent
from airflow_provider_adjust.s2s.delivery.lanes import Pending, Schedule
from airflow_provider_adjust.s2s.delivery.lookup import (
    DeviceLookup,
    LookupResult,
    Start,
    check_can_verify,
    start_thread,
)
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.pacing import DelayQueue, Pace
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.server_clock import ServerClock
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.delivery.source import ReadAhead, Source
from airflow_provider_adjust.s2s.delivery.stops import nothing_settled, retry_after_too_long
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, LedgerUnavailable
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.ledger.records import repeated
from airflow_provider_adjust.s2s.transports import Completion, Transport

#: The longest poll in seconds, so that a request to stop is noticed; and while a claim is pending.
_LONGEST_POLL = 0.5
_POLL_DURING_CLAIM = 0.002
#: Outcomes of answers that do not settle an event.
_OPEN = frozenset({Outcome.HALT, Outcome.IN_DOUBT, Outcome.RETRY})


class Delivery:
    """One run of the loop. ``run`` may be called once.

    :param routes: the destination of events and their look-up, by the route of the job.
    :param sink: records each receipt before anything more is sent.
    :param claims: the ledger.
    :param start_lookup: runs a call of the Device API beside the loop.
    """

    def __init__(
        self,
        transport: Transport,
        routes: Mapping[str | None, Route],
        options: SendOptions,
        *,
        sink: Sink,
        claims: ClaimStore | None = None,
        start_lookup: Start = start_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._routes = routes
        self._sink = sink
        self._pace = Pace(options.max_in_flight, options.max_events_per_second)
        self._on_in_doubt = options.on_in_doubt
        self._retries = options.retries
        self._max_resends = options.max_resends
        self._lookup: DeviceLookup | None = None
        if options.on_in_doubt == "verify":
            check_can_verify(routes.values())
            self._lookup = DeviceLookup(routes, options.lookups, start=start_lookup)
        self._canary = TokenCanary()
        self._clock = clock
        self._schedule = Schedule()
        self._dispatcher = Dispatcher(self._schedule, self._canary, claims)
        self._ahead = ReadAhead.of(options.max_in_flight)
        #: Requests in flight.
        self.in_flight = 0
        self._delayed = DelayQueue()
        self._settled = 0
        #: Attempts that ended in doubt since the last event was settled.
        self._lost_in_a_row = 0
        self._receipts: deque[Receipt] = deque()
        self._stopped: Exception | None = None
        self._has_ended = False
        self._halts = Halts(routes)
        self.server_clock = ServerClock()
        #: Consecutive events that were left in doubt and not sent again.
        self._left_in_doubt = 0

    @property
    def slowed_to(self) -> str | None:
        """The current limit as text, if Adjust has asked to slow down."""
        return self._pace.slowed_to

    @property
    def waiting_for(self) -> str:
        """What the delivery waits for, as text; empty while it sends."""
        if self._sink.behind:
            return "waiting to save the checkpoint"
        looked_up = sum(1 for _ in self._lookup or ())
        delayed = sum(1 for _ in self._delayed)
        waiting = []
        if (pause := self._pace.paused_for(self._clock())) > 0:
            waiting.append(f"all paused for {pause:.0f} s as Adjust asked")
        if looked_up:
            waiting.append(f"{looked_up:,} looked up in the Device API")
        if delayed:
            waiting.append(f"{delayed:,} waiting for another attempt")
        if self._dispatcher.asking and not self.in_flight:
            waiting.append("waiting for the ledger")
        return ", ".join(waiting)

    def stop(self, reason: Exception) -> None:
        """Send nothing more, but wait for requests in flight. May be called from a signal handler."""
        self._stopped = self._stopped or reason

    def run(self, stream: Iterable[Job | Receipt]) -> Iterator[Receipt]:
        """Deliver the stream's events; yield each receipt once the sink has recorded it."""
        for receipts in self.rounds(stream):
            yield from receipts

    def rounds(self, stream: Iterable[Job | Receipt]) -> Iterator[list[Receipt]]:
        """Deliver the stream's events; yield the new receipts, once the sink has recorded them, at least twice a second.

        Receipts in the stream, of rows that are not valid events, are passed on. An error of the stream ends the reading;
        events read before it are delivered first, then it is raised.

        :raises DeliveryHalted: Adjust rejected the credentials or the app; for one route of several, after the end of the others.
        :raises NotAdjust: something other than Adjust answered.
        :raises AdjustUnreachable: no event was settled while one used up its attempts.
        """
        source = Source(stream)
        while True:
            self._read(source)
            self._wake()
            # Before more is sent, since the ledger must know the earlier events of a lane, even if they were only looked up.
            yield self.hand_over()
            self._send()
            yield self.hand_over()
            if not self.in_flight and (self._stopped or (source.exhausted and not len(self._schedule))):
                break
            if not self.in_flight and self._dispatcher.wait_for_answer(self._patience(source)):
                continue
            for completion in self._transport.poll(self._patience(source)):
                self._take(completion)
            # Before more is sent, since the ledger must know the earlier events of a lane.
            yield self.hand_over()
        self.hold_the_rest()
        yield self.hand_over()
        if error := self._halts.ending(self._stopped, source.error):
            raise error

    def hand_over(self) -> list[Receipt]:
        """Pass the new receipts to the sink, and return them.

        If the sink fails, nothing more is sent, but it still records all other receipts.
        """
        taken = []
        while self._receipts:
            receipt = self._receipts.popleft()
            taken.append(receipt)
            try:
                self._sink.take(receipt)
            except Exception as error:
                self.stop(error)
        try:
            self._sink.keep_up()
        except Exception as error:
            self.stop(error)
        return taken

    def _read(self, source: Source) -> None:
        """Read events ahead of the answers."""
        for _ in range(min(self._ahead.at_once, self._room)):
            if self._stopped or (item := source.read()) is None:
                return
            if isinstance(item, Receipt):
                self._receipts.append(item)
                continue
            if (first := self._dispatcher.first_of(item)) != item.position:
                self._receipts.append(repeated(item, first))
                continue
            pending = Pending(item, doubtful=item.sent_before, lost_answers=item.lost_answers)
            if item.sent_before and self._on_in_doubt == "hold":
                self._schedule.close(pending)
                self._receipts.append(still_in_doubt(item))
            elif self._on_in_doubt == "resend" and item.lost_answers > self._max_resends:
                self._schedule.close(pending)
                self._receipts.append(unanswered_too_often(item))
            elif not self._schedule.add(pending):
                self._receipts.append(held_behind_another(item))

    @property
    def _room(self) -> int:
        """How many more events may be read ahead."""
        return self._ahead.most - len(self._schedule)

    def _wake(self) -> None:
        """Offer events again after their backoff, and look up events in doubt that are due."""
        for pending in self._delayed.take_due(self._clock()):
            self._schedule.make_ready(pending)
        if self._lookup and not self._stopped:
            for pending, result in self._lookup.results(self._clock):
                self._take_lookup(pending, result)
        for closed in iter(self._schedule.take_closed, None):
            self._hold_unsent(closed)

    def _send(self) -> None:
        now = self._clock()
        self._pace.share(self._dispatcher.rate_share())
        try:
            self._look_ahead()
            window = self._pace.window if self._may_send else 0
            while self.in_flight < window and not self._stopped and self._pace.may_start(now):
                if not self._dispatcher.may_send() or (pending := self._dispatcher.next()) is None:
                    break
                if pending.job.route in self._halts:
                    self._hold_unsent(pending)
                    self._release(pending)
                elif self._lookup and pending.doubtful and not pending.attempts:
                    # An earlier try left it in doubt.
                    self._begin_lookup(pending, self._lookup)
                else:
                    self._submit(pending, now)
                self._look_ahead()  # claim the next ones while these are in flight
        except (LedgerUnavailable, AdjustConfigurationError) as error:
            self.stop(error)

    @property
    def _may_send(self) -> bool:
        return not self._stopped and not self._sink.behind

    def _look_ahead(self) -> None:
        """Process the answered claims, and claim more events while few are available."""
        if self._stopped or not self._dispatcher.asks:
            return
        while True:
            if self._dispatcher.answered:
                self._take_claims()
            if not self._dispatcher.ask():
                return

    def _take_claims(self) -> None:
        for pending, answer in self._dispatcher.collect():
            if isinstance(answer, Receipt):
                self._end_unsent(pending, answer)
            else:
                pending.accept(answer)
                is_open = not self._stopped and pending.job.route not in self._halts
                if self._lookup and pending.doubtful and not pending.attempts and is_open:
                    # Now rather than when it may be sent, since neither a pause nor a full window affects the look-up.
                    self._begin_lookup(pending, self._lookup)
                else:
                    self._dispatcher.admit(pending)

    def _submit(self, pending: Pending, now: float) -> None:
        if not pending.attempts:
            pending.settled_before = self._settled
        pending.attempts += 1
        self.in_flight += 1
        self._pace.sent(now)
        self._transport.submit(pending, self._routes[pending.job.route].target, pending.sent_event.body)

    def _end_unsent(self, pending: Pending, receipt: Receipt) -> None:
        """End an event that the ledger has settled before, or does not allow now."""
        self._receipts.append(receipt)
        if receipt.outcome in UNRESOLVED:
            self._hold_followers(pending)
        else:
            if not receipt.is_refused_here:
                self._canary.confirm(pending)  # Adjust has accepted these tokens before
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
            self._unresolved(pending, Verdict(Outcome.IN_DOUBT, result.reason, result.detail))
        else:
            self._schedule.make_ready(pending)

    def _patience(self, source: Source) -> float:
        """Seconds for which there is nothing to do unless an answer arrives."""
        now = self._clock()
        lookup = None if self._stopped else self._lookup
        times = (self._delayed.next_due, lookup.next_due(now) if lookup else None)
        longest = min([_LONGEST_POLL, *(due - now for due in times if due is not None)])
        if self.in_flight < self._pace.window:
            pause = self._pace.wait(now)
            if pause > 0:
                longest = min(longest, pause)
            elif self._dispatcher.asking and self.in_flight:
                longest = min(longest, _POLL_DURING_CLAIM)
            elif not source.exhausted and self._may_send and self._room > 0:
                longest = 0.0
        return max(0.0, longest)

    def _take(self, completion: Completion) -> None:
        pending: Pending = completion.key
        answer = None if completion.failure else completion.body
        self.in_flight -= 1
        self.server_clock.see(completion.date)
        verdict = judge(completion)
        self._pace.answered(verdict, self._clock(), self.in_flight)
        if verdict.outcome in _OPEN:
            self._take_open(pending, verdict, answer)
        else:
            self._pace.endpoint_ok()
            # A refusal for the order does not hold its lanes: later events may be sent.
            refused = is_refused_after_resend(pending, verdict)
            self._settle(pending, refused_after_resend(verdict) if refused else verdict, answer)
        self._release(pending)

    def _take_open(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        """Process an answer that does not settle its event."""
        outcome = verdict.outcome
        if outcome is Outcome.IN_DOUBT or (outcome is Outcome.HALT and verdict.leaves_in_doubt):
            pending.doubtful = True
            pending.lost_answers += 1
        if outcome is Outcome.HALT:
            self._halt(pending.job.route, verdict)
            self._unresolved(pending, verdict, answer)
        elif outcome is Outcome.IN_DOUBT and self._lookup:
            self._begin_lookup(pending, self._lookup)
        elif pending.job.route in self._halts:
            self._unresolved(pending, verdict, answer)
        elif outcome is Outcome.RETRY:
            self._retry(pending, verdict, answer)
        elif self._on_in_doubt == "resend" and verdict.may_be_resent:
            self._resend(pending, verdict, answer)
        else:
            self._leave_in_doubt(pending, verdict, answer)

    def _halt(self, route: str | None, verdict: Verdict) -> None:
        """Halt the route; stop the delivery if it was the last one."""
        self._halts.add(route, verdict)
        self._schedule.close_route(route)
        for pending in self._delayed.take_route(route):
            self._schedule.make_ready(pending)
        if self._halts.are_all and (error := self._halts.error()):
            self.stop(error)

    def _settle(self, pending: Pending, verdict: Verdict, answer: bytes | None = None) -> None:
        self._settled += 1
        self._lost_in_a_row = 0
        self._left_in_doubt = 0
        self._canary.confirm(pending)
        self._schedule.settle(pending)
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
                lost_answers=pending.lost_answers,
                sent_at=pending.sent_at,
            )
        )

    def _release(self, pending: Pending) -> None:
        for unblocked in self._canary.release(pending):
            self._schedule.make_ready(unblocked)

    def _resend(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        """Send an event in doubt again, unless its resends are used up."""
        if pending.lost_answers <= self._max_resends:
            self._retry(pending, verdict, answer)
            return
        self._lost_in_a_row += pending.attempts
        if not self._settled or self._lost_in_a_row >= self._retries.attempts:
            self.stop(nothing_settled(self._lost_in_a_row, verdict))
        self._unresolved(pending, resent_too_often(verdict), answer)

    def _retry(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        now = self._clock()
        retry_after = verdict.retry_after
        concerns_one = self._pace.concerns_one(verdict)
        is_too_long = retry_after is not None and retry_after > self._retries.max_retry_after
        if is_too_long and not (concerns_one and self._settled):
            self.stop(retry_after_too_long(verdict))
        if pending.attempts >= self._retries.attempts and pending.settled_before == self._settled:
            self.stop(nothing_settled(pending.attempts, verdict))
        if self._stopped or is_too_long or pending.attempts >= self._retries.attempts:
            self._unresolved(pending, verdict, answer)
            return
        pause = self._retries.wait(pending.attempts) if retry_after is None else retry_after
        if verdict.slow_down and not concerns_one and (retry_after is not None or verdict.http_status == 429):
            self._pace.pause(now, pause)
        self._delayed.add(pending, now + pause)

    def _leave_in_doubt(self, pending: Pending, verdict: Verdict, answer: bytes | None) -> None:
        """Leave an event in doubt without a resend; stop after many, so that an outage does not affect every event."""
        self._left_in_doubt += 1
        if self._left_in_doubt >= self._retries.attempts * self._pace.window:
            self.stop(nothing_settled(self._left_in_doubt, verdict))
        self._unresolved(pending, verdict, answer)

    def _unresolved(self, pending: Pending, verdict: Verdict, answer: bytes | None = None) -> None:
        self._end(pending, Outcome.IN_DOUBT if pending.doubtful else Outcome.HELD, verdict, answer)
        self._hold_followers(pending)

    def _hold_followers(self, pending: Pending) -> None:
        self._receipts.extend(held_behind_another(follower.job) for follower in self._schedule.hold(pending))

    def hold_the_rest(self) -> None:
        """After a stop: give all waiting events an outcome, too. Only the first call does."""
        if self._has_ended:
            return
        self._has_ended = True
        try:
            self._take_claims()
        except (LedgerUnavailable, AdjustConfigurationError) as error:
            self.stop(error)
        closed = iter(self._schedule.take_closed, None)
        heads = [*self._delayed, *(self._lookup or ()), *self._dispatcher.drain(), *closed]
        for head in sorted(heads, key=lambda pending: pending.turn):
            self._hold_unsent(head)

    def _hold_unsent(self, head: Pending) -> None:
        self._receipts.extend(map(unsent, (head, *self._schedule.hold(head))))
