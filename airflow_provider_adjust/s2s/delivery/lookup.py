"""Look up events in doubt in Adjust's Device API before they are sent again.

The calls run in a few threads, so that the delivery loop never waits for one. A thread only returns the answer; the loop's
thread interprets it.
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

#: The longest wait of the loop while a call is running, in seconds.
_POLL_DURING_CALL = 0.05

#: Runs the work concurrently.
Start = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The state of an event at Adjust. ``check_again_in`` is set while it may still change, in seconds."""

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
    """Refuse ``on_in_doubt="verify"`` if look-ups are not possible.

    :raises AdjustConfigurationError: the Device API does not have the endpoint's events, or there is no API token.
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
    """Run the work in a daemon thread, which does not keep the process alive."""
    threading.Thread(target=work, name="adjust-lookup", daemon=True).start()


@dataclass(frozen=True, slots=True)
class _Answer:
    """The Device API's answer to a call that began at that time."""

    pending: Pending
    began: float
    said: Recorded | Exception


class DeviceLookup:
    """The events that are being looked up. Times are monotonic seconds from the caller.

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
        #: The time at which the look-up of each event was requested, earliest first.
        self._since: dict[Pending, float] = {}
        #: Running calls, including those for events that were given up.
        self._calls = 0
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._since)

    def next_due(self, now: float) -> float | None:
        """The time of the next work; None while nothing is looked up."""
        return now + _POLL_DURING_CALL if self._calls else self._waiting.next_due

    def begin(self, pending: Pending, now: float) -> None:
        """Start to look up the event."""
        self._since[pending] = now
        self._waiting.add(pending, now)

    def results(self, clock: Callable[[], float]) -> Iterator[tuple[Pending, LookupResult]]:
        """Start the calls that are due, and return the final results.

        :raises Exception: an error of a call that is not one of the Device API.
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
        """Runs in its own thread."""
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
        """Interpret an answer. "Not there" counts only at the end of the wait, since the Device API lags."""
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
        """Give up events with calls that take too long, or have not begun."""
        while self._since:
            pending, since = next(iter(self._since.items()))
            if now < since + self._policy.longest:
                return
            del self._since[pending]
            yield pending, _TOO_SLOW
