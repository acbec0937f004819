"""Lanes: events are sent in chronological order per device and event token.

Adjust rejects an event that is older than one it already has for the same device and event token, so a lane
(device id name, device id value, event token) has one event in flight at a time. An event with several device ids is in
several lanes and waits until it is the oldest in all of them. Lanes do not wait for one another.

Events are added in the order of sending. This module neither reads a clock nor sends anything.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from airflow_provider_adjust.s2s.events.event import Event, Lane
from airflow_provider_adjust.s2s.events.job import Claim, Job

#: The route (and so the S2S token), app token, endpoint, and the endpoint's key, such as the event token.
Tokens = tuple[str | None, str, str, str]


@dataclass(slots=True, eq=False)
class Pending:
    """An event that was read and is not settled. Each field after ``job`` is written by one class only."""

    job: Job
    #: By the loop: how often it was sent.
    attempts: int = 0
    #: By the loop: an answer to an earlier attempt was lost, so that Adjust may already have the event.
    doubtful: bool = False
    #: By the loop: how many requests got no answer, over all tries.
    lost_answers: int = 0
    #: By the loop: how many events had been settled when this one was first sent.
    settled_before: int = 0
    #: By the loop: the event that is sent instead, if this one is too late for its lanes.
    instead: Event | None = None
    #: By the dispatcher: whether the ledger has recorded that it is being sent.
    claimed: bool = False
    #: By the canary: its route, app and event token.
    tokens: Tokens | None = None
    #: By the schedule: the number of its lanes in which another event is ahead of it.
    ahead: int = 0
    #: By the schedule: its position in the order of sending.
    turn: int = 0

    @property
    def event(self) -> Event:
        return self.job.event

    @property
    def sent_event(self) -> Event:
        """The event that is sent."""
        return self.instead or self.job.event

    @property
    def sent_at(self) -> datetime | None:
        """The time that is sent instead of the event's own."""
        return self.instead.occurred_at if self.instead else None

    def accept(self, claim: Claim) -> None:
        """Copy the ledger's record of the event. Called by the loop."""
        if claim.instead:
            self.instead = claim.instead
        if claim.instead or claim.shares_second:
            # It shares its second with the lane's last event, so the Device API cannot distinguish the two.
            self.job = replace(self.job, shares_second=True)
        if claim.sent_before:
            self.doubtful = True
            self.lost_answers = max(self.lost_answers, claim.lost_answers)

    @property
    def position(self) -> int:
        return self.job.position


class Schedule:
    """The events that were read and are not settled."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[Pending]] = {}
        self._ready: list[tuple[int, Pending]] = []
        self._added = 0
        self._waiting = 0
        self._held: set[Lane] = set()
        self._closed_routes: set[str | None] = set()
        self._closed: deque[Pending] = deque()

    def __len__(self) -> int:
        """The number of events that were added, and neither settled nor held."""
        return self._waiting

    def add(self, pending: Pending) -> bool:
        """Queue the event behind all events in its lanes. Return False if a lane is held, and so the event, too."""
        if self._held and not self._held.isdisjoint(pending.event.lanes):
            self._hold([pending])
            return False
        self._waiting += 1
        self._added += 1
        pending.turn = self._added
        pending.ahead = 0
        for lane in pending.event.lanes:
            queue = self._lanes.get(lane)
            if queue is None:
                self._lanes[lane] = deque((pending,))
            else:
                queue.append(pending)
                pending.ahead += 1
        if pending.ahead == 0:
            self.make_ready(pending)
        return True

    def make_ready(self, pending: Pending) -> None:
        """Offer an event that is the oldest in its lanes, for the first time or again."""
        if pending.job.route in self._closed_routes:
            self._closed.append(pending)
        else:
            heapq.heappush(self._ready, (pending.turn, pending))

    def close_route(self, route: str | None) -> None:
        """Offer no more events of the route. ``take_closed`` returns each when it would have been offered."""
        self._closed_routes.add(route)
        ready, self._ready = self._ready, []
        for _, pending in sorted(ready):
            self.make_ready(pending)

    def take_closed(self) -> Pending | None:
        """The next event of a closed route that is the oldest in its lanes. It occupies them until it is held."""
        return self._closed.popleft() if self._closed else None

    @property
    def ready(self) -> int:
        """How many events may be sent now."""
        return len(self._ready)

    def next_ready(self) -> Pending | None:
        """Take the earliest event that may be sent now. It occupies its lanes until it is settled or held."""
        return heapq.heappop(self._ready)[1] if self._ready else None

    def next_claimed(self) -> Pending | None:
        """Like ``next_ready``, if the ledger already has the event: then it is sent again."""
        return self.next_ready() if self._ready and self._ready[0][1].claimed else None

    def settle(self, pending: Pending) -> None:
        """Free the lanes of a resolved event."""
        self._waiting -= 1
        for lane in pending.event.lanes:
            queue = self._lanes[lane]
            if queue.popleft() is not pending:
                raise AssertionError("an event was settled before the older ones of its lane")
            if not queue:
                del self._lanes[lane]
                continue
            follower = queue[0]
            follower.ahead -= 1
            if follower.ahead == 0:
                self.make_ready(follower)

    def close(self, pending: Pending) -> None:
        """Close the lanes behind an event that will not be sent. It was not added; older events continue."""
        self._hold([pending])

    def hold(self, pending: Pending) -> list[Pending]:
        """Close the lanes of an unresolved event, and return the events behind it, oldest first.

        A held event also closes its other lanes: sending later events there would put it out of order next time.
        """
        held = self._hold([pending])
        self._waiting -= len(held)
        held.remove(pending)
        return sorted(held, key=lambda other: other.turn)

    def _hold(self, unsettled: Iterable[Pending]) -> list[Pending]:
        held = list(unsettled)
        known = set(map(id, held))
        for pending in held:  # grows during the iteration
            for lane in pending.event.lanes:
                self._held.add(lane)
                queue = self._lanes.get(lane)
                if queue is None or pending not in queue:
                    continue
                while True:
                    last = queue.pop()
                    if last is pending:
                        break
                    if id(last) not in known:
                        known.add(id(last))
                        held.append(last)
                if not queue:
                    del self._lanes[lane]
        return held
