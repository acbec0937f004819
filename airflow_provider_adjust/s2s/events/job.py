"""An event to be sent, and the ledger's permission to send it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_adjust.s2s.events.event import Event


@dataclass(slots=True, eq=False)
class Job:
    """An event to send, the row it comes from, and the row's position in the input, from 1. Treat it as immutable.

    ``route`` is the connection that it is sent through. ``sent_before``: an earlier try may have sent it, and its answer is not
    known. ``lost_answers``: how many requests of earlier tries had no answer. ``after_kill``: an earlier try was killed, and may
    have sent it without recording that. ``shares_second``: another event of the input has, or may have, the same second in one of
    its lanes; set only if events in doubt are looked up.
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
    ``instead`` is the event to send in place of one that is too late for its lanes. ``shares_second``: another delivery has sent
    an event with the same second in one of its lanes.
    """

    sent_before: bool = False
    lost_answers: int = 0
    instead: Event | None = None
    shares_second: bool = False
