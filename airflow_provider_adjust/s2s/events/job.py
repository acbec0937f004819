"""An event to be sent, and the ledger's permission to send it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_adjust.s2s.events.event import Event


@dataclass(slots=True, eq=False)
class Job:
    """An event to be sent, the row it comes from, and the row's place in the input, from 1. As events, nobody changes it.

    ``route`` names the connection that it goes through. ``sent_before``: an earlier try may have sent it, and no answer
    to that is known. ``lost_answers``: how many requests of earlier tries had no answer. ``after_kill``: an earlier try was
    killed, and may have sent it without a trace. ``shares_second``: another event of the input has the same second in one
    of its lanes, or may have; noted only where events in doubt are looked up.
    """

    event: Event
    position: int
    row: Any = field(default=None, repr=False)
    route: str | None = None
    sent_before: bool = False
    lost_answers: int = 0
    after_kill: bool = False
    shares_second: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's permission to send an event.

    ``sent_before``: an earlier claim was never settled, or its answer was lost. ``lost_answers`` counts such requests.
    ``instead`` is what is sent in place of an event that comes too late for its lanes. ``shares_second``: another delivery has
    sent an event of its second in one of its lanes.
    """

    sent_before: bool = False
    lost_answers: int = 0
    instead: Event | None = None
    shares_second: bool = False
