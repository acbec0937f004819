"""An event on its way through a delivery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_adjust.s2s.events.event import Event


@dataclass(slots=True, eq=False)
class Job:
    """An event on its way: where its row stood in the input (from 1), and how often it has been sent."""

    event: Event
    position: int
    row: Any = field(default=None, repr=False)
    route: str | None = None
    attempts: int = 0
    #: An answer to an earlier attempt was lost, so that Adjust may already have the event.
    doubtful: bool = False
    #: The ledger knows that it is being sent.
    claimed: bool = False
    #: Until when the Device API is asked whether Adjust has the event, in monotonic seconds.
    verify_until: float | None = None
    #: How many events had been settled when this one was first sent.
    settled_before: int = 0
    #: In how many of its lanes another event is still ahead of it.
    ahead: int = 0
    #: Its place in the order in which events are to be sent.
    turn: int = 0
