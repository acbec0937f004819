"""The observations of one file's events over all tries: sent, answered, recorded by the stand-in, listed as unresolved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.journal import read_journal
from campaign.tries import Try

#: An event is sent again until its answer comes, and one that Adjust refuses after that does not fail the task: the
#: stand-in's records say whether it was lost.
RESENDS: dict[str, Any] = {"max_resends": 1_000, "tolerate": ("duplicate", "refused_after_resend")}


@dataclass
class Story:
    #: The events that Adjust should have: the file's, less invalid rows and unknown devices.
    expected: set[str]
    recorded: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    #: Left as held or in doubt in the last try's rejected file.
    listed: set[str] = field(default_factory=set)
    #: How often it was unknown whether Adjust has an event: no answer arrived, or a kill left it ``sending``.
    doubts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def see_recorded(self, sandbox: SandboxServer) -> None:
        self.recorded = [
            (json.loads(event["params"]["callback_params"])["event_id"], event["params"]) for event in sandbox.events()
        ]

    def see_listed(self, path: Path) -> None:
        """What the task says Adjust may lack; an event that Adjust refused for its order only must not be lost."""
        lines = map(json.loads, path.read_text().splitlines() if path.is_file() else [])
        unresolved = (line for line in lines if line["outcome"] in {"held", "in_doubt"})
        self.listed = {line["event_id"] for line in unresolved if line["reason"] not in RESENDS["tolerate"]}

    def see_journal(self, this: Try) -> None:
        self.doubts.update(event_id for what, event_id in read_journal(this.journal) if what == "in_doubt")

    def times_recorded(self) -> Counter[str]:
        return Counter(event_id for event_id, _ in self.recorded)

    def lost(self) -> set[str]:
        return self.expected - self.times_recorded().keys() - self.listed

    def unexpected(self) -> set[str]:
        return self.times_recorded().keys() - self.expected

    def recorded_twice(self) -> set[str]:
        return {event_id for event_id, times in self.times_recorded().items() if times > 1}

    def twice_without_doubt(self) -> set[str]:
        """Recorded more often than once and once more for each time that it was in doubt."""
        return {event_id for event_id, times in self.times_recorded().items() if times > 1 + self.doubts[event_id]}
