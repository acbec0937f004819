"""Looks up an event in doubt in Adjust's Device API before it is sent again.

The calls run in threads beside the delivery's loop, a few at a time, so that the loop never waits for one. A thread asks
and hands over the answer, nothing else: what it means is decided in the loop's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.delivery.options import LookupPolicy
from airflow_provider_adjust.s2s.delivery.pacing import DelayQueue
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError

#: How long the loop may wait for something else while a call is under way, in seconds.
_POLL_DURING_CALL = 0.05

#: Runs the work beside the caller.
Start = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What is known of an event; ``check_again_in`` is set while the answer may still change, in seconds."""

    recorded: Recorded
    detail: str = "the Device API cannot tell whether Adjust has it"
    check_again_in: float | None = None
    reason: str = "not_verified"


_SHARED_SECOND = LookupResult(
    Recorded.UNKNOWN,
    "the Device API shows an event of this second; another row has the same device, event token and second, and it may be "
    "that one: check in Adjust which are recorded",
    reason="shared_second",
)
_TOO_SLOW = LookupResult(Recorded.UNKNOWN, "the Device API gave no answer in time")


def check_can_verify(routes: Iterable[Route]) -> None:
    """Refuse ``on_in_doubt="verify"`` where nobody could tell whether Adjust has an event.

    :raises AdjustConfigurationError: the Device API does not know the endpoint's events, or cannot be asked.
    """
    for route in routes:
        endpoint = route.parser.endpoint
        if not endpoint.verifiable:
            raise AdjustConfigurationError(
                f"on_in_doubt='verify' cannot be given with endpoint={endpoint.name!r}: Adjust's Device API knows events "
                f"only, and no {endpoint.title}; choose resend or hold"
            )
        if route.lookup is None:
            raise AdjustConfigurationError(
                "on_in_doubt='verify' needs the API token in the connection, for the Device API"
            )


def start_thread(work: Callable[[], None]) -> None:
    """Run the work in a thread that does not keep the process from ending."""
    threading.Thread(target=work, name="adjust-lookup", daemon=True).start()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the Device API said to a call that began at that time."""

    pending: Pending
    began: float
    said: Recorded | Exception


class DeviceLookup:
    """The events that are being looked up. Times are monotonic seconds, given by the caller.

    :param routes: each has a lookup, which asks the Device API whether Adjust has recorded an event.
    :param start: runs a call.
    """

    def __init__(
        self, routes: Mapping[str | None, Route], policy: LookupPolicy, *, start: Start = start_thread
    ) -> None:
        self._routes = routes
        self._policy = policy
        self._start = start
        self._waiting = DelayQueue()
        #: When the look-up of each event was asked for, the earliest first.
        self._since: dict[Pending, float] = {}
        #: Calls under way, also of events that have been given up.
        self._calls = 0
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._since)

    def next_due(self, now: float) -> float | None:
        """When there may be something to do; None while nothing is looked up."""
        return now + _POLL_DURING_CALL if self._calls else self._waiting.next_due

    def begin(self, pending: Pending, now: float) -> None:
        """Have the event checked from now on."""
        self._since[pending] = now
        self._waiting.add(pending, now)

    def results(self, clock: Callable[[], float]) -> Iterator[tuple[Pending, LookupResult]]:
        """Start the calls that are due, and return the results that will not change any more.

        :raises Exception: what a call raised that is not an error of the Device API's.
        """
        self._call(clock())
        while not self._answers.empty():
            answer = self._answers.get()
            self._calls -= 1
            if answer.pending in self._since and (result := self._result(answer, clock())):
                del self._since[answer.pending]
                yield answer.pending, result
            self._call(clock())
        yield from self._overdue(clock())

    def _call(self, now: float) -> None:
        while self._calls < self._policy.at_once and (pending := next(self._waiting.take_due(now), None)):
            if pending in self._since:
                self._calls += 1
                self._start(partial(self._ask, pending, now))

    def _ask(self, pending: Pending, now: float) -> None:
        """In a thread of its own."""
        lookup = self._routes[pending.job.route].lookup
        said: Recorded | Exception
        try:
            said = lookup(pending.event) if lookup else Recorded.UNKNOWN
        except Exception as error:
            said = error
        self._answers.put(_Answer(pending, now, said))

    def _result(self, answer: _Answer, now: float) -> LookupResult | None:
        """The final result; None if the event is to be checked again."""
        result = self.judge(answer.pending, answer.said, answer.began)
        if result.check_again_in is None:
            return result
        self._waiting.add(answer.pending, now + result.check_again_in)
        return None

    def judge(self, pending: Pending, said: Recorded | Exception, now: float) -> LookupResult:
        """What an answer means. "Not there" counts only at the end of the wait, because the Device API lags."""
        left = self._since[pending] + self._policy.wait - now
        if isinstance(said, AdjustError):
            return LookupResult(Recorded.UNKNOWN, str(said), self._policy.every if left > 0 else None)
        if isinstance(said, Exception):
            raise said
        if said is Recorded.NO and left > 0:
            return LookupResult(said, check_again_in=min(self._policy.every, left))
        if said is Recorded.YES and pending.job.shares_second:
            return _SHARED_SECOND
        return LookupResult(said)

    def _overdue(self, now: float) -> Iterator[tuple[Pending, LookupResult]]:
        """Give up the events with calls that take too long, or have not even begun."""
        while self._since:
            pending, since = next(iter(self._since.items()))
            if now < since + self._policy.longest:
                return
            del self._since[pending]
            yield pending, _TOO_SLOW
