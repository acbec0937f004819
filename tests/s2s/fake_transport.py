"""A transport without a network. Its clock only moves when somebody waits."""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target

#: How long an answer takes.
ANSWER_SECONDS = 0.125


@dataclass(frozen=True)
class Answer:
    """How one request ends."""

    status: int | None = None
    body: str = ""
    retry_after: str | None = None
    failure: Failure | None = None
    seconds: float = ANSWER_SECONDS
    content_type: str | None = None


def _error(status: int, message: str, **facts: Any) -> Answer:
    return Answer(status, json.dumps({"error": f"Event request failed ({message})"}), **facts)


OK = Answer(200, '{"status": "OK"}')
DUPLICATE = _error(400, "Ignoring event, earlier unique event tracked")
UNKNOWN_DEVICE = _error(404, "Device not found")
BAD_STATE = _error(400, "Bad event state")
WRONG_TOKEN = _error(401, "Failed to authorize request")
WRONG_EVENT_TOKEN = _error(400, "Invalid event token")
ACCEPTED = _error(202, "Wrong authentication token")
BUSY = Answer(429)
DOWN = Answer(503)
BROKEN = Answer(500)
UNREADABLE = Answer(200, '{"status": ')
FIREWALL = Answer(403, "<html>Blocked</html>")
BAD_GATEWAY = Answer(502, "<html>Bad gateway</html>")
REFUSED = Answer(failure=Failure.NOT_SENT)
LOST = Answer(failure=Failure.NO_ANSWER)
TRUNCATED = Answer(200, failure=Failure.NO_ANSWER)
TRUNCATED_400 = Answer(400, failure=Failure.NO_ANSWER)
TRUNCATED_502 = Answer(502, failure=Failure.NO_ANSWER)
BAD_CERTIFICATE = Answer(failure=Failure.TLS)


class FakeTransport:
    """Ends each request as planned: the answers of an event by its position, in turn, then ``otherwise``.

    It also refuses what no delivery may do: have two events of one lane in flight.
    """

    def __init__(self, answers: Mapping[int, Iterable[Answer]] | None = None, *, otherwise: Answer = OK) -> None:
        self._answers = {position: list(planned) for position, planned in (answers or {}).items()}
        self._otherwise = otherwise
        self._now = 1000.0
        self._ends: list[tuple[float, int, Completion]] = []
        self._fruitless = 0
        self._lanes: set[Any] = set()
        #: Each request: when it started, and what for.
        self.sent: list[tuple[float, int]] = []
        self.targets: list[Target] = []
        self.bodies: list[str] = []
        self.most_in_flight = 0
        #: Called at the start of each ``poll``.
        self.on_poll: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let the clock run on, as while the delivery waits for something else."""
        self._now += seconds

    @property
    def positions(self) -> list[int]:
        """What was sent, in order."""
        return [position for _, position in self.sent]

    def times_of(self, position: int) -> list[float]:
        """Seconds after the start at which the event was sent."""
        return [at - 1000.0 for at, sent in self.sent if sent == position]

    def submit(self, key: Job, target: Target, body: str) -> None:
        assert self._lanes.isdisjoint(key.event.lanes), "two events of one lane are in flight"
        self._lanes.update(key.event.lanes)
        self.sent.append((self._now, key.position))
        self.targets.append(target)
        self.bodies.append(body)
        planned = self._answers.get(key.position)
        answer = planned.pop(0) if planned else self._otherwise
        completion = Completion(
            key,
            answer.status,
            answer.body.encode(),
            answer.retry_after,
            answer.failure,
            "Failed" if answer.failure else "",
            answer.content_type,
        )
        heapq.heappush(self._ends, (self._now + answer.seconds, len(self.sent), completion))
        self.most_in_flight = max(self.most_in_flight, len(self._ends))

    def poll(self, timeout: float | None) -> list[Completion]:
        self.on_poll()
        assert timeout is not None, "a delivery that waits for ever sees no request to stop"
        assert 0 <= timeout <= 0.5
        until = self._now + timeout
        if timeout and until == self._now:
            until = math.nextafter(until, math.inf)
        self._now = max(self._now, min(until, self._ends[0][0]) if self._ends else until)
        done = []
        while self._ends and self._ends[0][0] <= self._now:
            done.append(heapq.heappop(self._ends)[2])
            self._lanes.difference_update(done[-1].key.event.lanes)
        self._fruitless = 0 if done else self._fruitless + 1
        assert self._fruitless < 10_000, "the delivery waits for nothing"
        return done

    def close(self) -> None:
        assert not self._ends, "closed while requests are in flight"


def by_outcome(receipts: Iterable[Any]) -> dict[str, list[int]]:
    """The positions of the receipts by outcome, in the order in which they came."""
    found = defaultdict(list)
    for receipt in receipts:
        found[receipt.outcome.value].append(receipt.position)
    return dict(found)
