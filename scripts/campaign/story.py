"""The observations of one file's events over all tries: sent, answered, recorded by the stand-in, listed as unresolved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.journal import read_journal
from campaign.rows import EVENT_TOKEN, Key
from campaign.tries import Try

#: An event is sent again until its answer comes, and one that Adjust refuses after that does not fail the task: the
#: stand-in's records say whether it was lost.
RESENDS: dict[str, Any] = {"max_resends": 1_000, "tolerate": ("duplicate", "refused_after_resend")}


@dataclass
class Story:
    #: The events that Adjust should have, with the second of each: those of the file without invalid rows and unknown devices.
    expected: dict[Key, int]
    recorded: list[tuple[Key, dict[str, str]]] = field(default_factory=list)
    #: Left as held or in doubt in the last try's rejected file.
    listed: dict[Key, str] = field(default_factory=dict)
    #: How often it was unknown whether Adjust has an event: no answer arrived, or a kill left it ``sending``.
    doubts: Counter[Key] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def see_recorded(self, sandbox: SandboxServer) -> None:
        events = [event["params"] for event in sandbox.events()]
        self.recorded = [
            ((params["event_token"], json.loads(params["callback_params"])["event_id"]), params) for params in events
        ]

    def see_journal(self, this: Try) -> None:
        self.doubts.update(key for what, key in read_journal(this.journal) if what == "in_doubt")

    def times_recorded(self) -> Counter[Key]:
        return Counter(key for key, _ in self.recorded)

    def lost(self) -> set[Key]:
        return self.expected.keys() - self.times_recorded().keys() - self.listed.keys()

    def unexpected(self) -> set[Key]:
        """Recorded without a row for it: with another id, or the time of another row with the same id."""
        return {key for key, params in self.recorded if self.expected.get(key) != int(params["created_at_unix"])}

    def recorded_twice(self) -> set[Key]:
        return {key for key, times in self.times_recorded().items() if times > 1}

    def twice_without_doubt(self) -> set[Key]:
        """Recorded more often than once plus the number of times that it was in doubt."""
        return {key for key, times in self.times_recorded().items() if times > 1 + self.doubts[key]}


def listed_in(path: Path) -> dict[Key, str]:
    """The unresolved events of a rejected file, held or in doubt, without lines that a kill has torn."""
    listed = {}
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line["outcome"] in {"held", "in_doubt"}:
            listed[line["row"].get("event_token") or EVENT_TOKEN, line["event_id"]] = line["outcome"]
    return listed
