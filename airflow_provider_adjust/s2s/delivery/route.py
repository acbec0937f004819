"""The route of one app's rows to Adjust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.rehearsals import environment_at
from airflow_provider_adjust.s2s.transports import Target

#: Tells whether Adjust has recorded an event.
Lookup = Callable[[Event], Recorded]


@dataclass(frozen=True, slots=True)
class Route:
    """How the rows of one app are read, where its events are sent, and how an event in doubt is looked up."""

    parser: EventParser
    target: Target
    lookup: Lookup | None = None
    #: The longest time of a request, in seconds.
    longest_request: float = 0.0
    #: The name of the connection, for messages.
    connection: str = ""

    @property
    def shown_environment(self) -> str:
        """The environment as people are shown it; empty where each row names its own."""
        return environment_at(self.target.host, self.parser.defaults.get("environment", ""))
