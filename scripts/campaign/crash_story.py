"""The promises of docs/delivery-guarantees.md for a task that is killed, and whether they were kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from campaign.journal import read_journal
from campaign.story import Story
from campaign.tries import Try


@dataclass(frozen=True)
class Setting:
    """Where the task remembers its deliveries, and what it does with an event that got no answer."""

    memory: str
    on_in_doubt: str = "resend"

    def __str__(self) -> str:
        return f"{self.memory}, {self.on_in_doubt}"


SETTINGS = (
    Setting("checkpoint"),
    *(Setting(memory, what) for memory in ("sqlite", "postgres") for what in ("resend", "hold", "verify")),
)


@dataclass(kw_only=True)
class CrashStory(Story):
    """The events of one file, over all tries and kills."""

    setting: Setting
    kills: Counter[str] = field(default_factory=Counter)
    #: Answered in a try that ended by SIGTERM, so the tries after it must know the answer.
    answered: set[str] = field(default_factory=set)
    resent_answered: set[str] = field(default_factory=set)
    refused_for_order: int = 0

    def see_answers(self, this: Try, *, stopped: bool) -> None:
        noted = list(read_journal(this.journal))
        self.resent_answered |= {event_id for what, event_id in noted if what == "sent"} & self.answered
        if stopped:
            self.answered |= {event_id for what, event_id in noted if what in {"delivered", "duplicate", "rejected"}}

    def out_of_order(self) -> int:
        """Count the recorded events that are older than the one before them in one of their lanes."""
        latest: dict[tuple[str, str], int] = {}
        count = 0
        for _, params in self.recorded:
            happened_at = int(params["created_at_unix"])
            lanes = [(name, params[name]) for name in ("gps_adid", "adid", "android_id") if name in params]
            count += any(happened_at < latest.get(lane, 0) for lane in lanes)
            latest.update((lane, max(happened_at, latest.get(lane, 0))) for lane in lanes)
        return count

    def broken_promises(self) -> list[str]:
        promises: dict[str, int] = {
            "lost": len(self.lost()),
            "unexpected": len(self.unexpected()),
            "recorded out of order": self.out_of_order(),
            "answered, yet sent again after SIGTERM": len(self.resent_answered),
        }
        if self.setting.memory != "checkpoint":
            promises["recorded twice without doubt"] = len(self.twice_without_doubt())
            promises["refused for their order"] = self.refused_for_order
        if self.setting.on_in_doubt != "resend":
            promises[f"recorded twice with {self.setting.on_in_doubt}"] = len(self.recorded_twice())
        if self.setting.on_in_doubt != "hold":
            promises["still unresolved without hold"] = len(self.listed)
        return [*self.problems, *(f"{count} {promise}" for promise, count in promises.items() if count)]


def _unless_checkpoint(count: Callable[[CrashStory], int]) -> Callable[[CrashStory], object]:
    """A checkpoint does not know what was under way when its task was killed."""
    return lambda story: "-" if story.setting.memory == "checkpoint" else count(story)


COLUMNS: tuple[tuple[str, Callable[[CrashStory], object]], ...] = (
    ("setting", lambda story: story.setting),
    ("SIGKILL", lambda story: story.kills["SIGKILL"]),
    ("SIGTERM", lambda story: story.kills["SIGTERM"]),
    ("expected", lambda story: len(story.expected)),
    ("recorded", lambda story: len(story.times_recorded())),
    ("listed", lambda story: len(story.listed)),
    ("lost", lambda story: len(story.lost())),
    ("in doubt", _unless_checkpoint(lambda story: len(story.doubts))),
    ("twice", lambda story: len(story.recorded_twice())),
    ("undoubted", _unless_checkpoint(lambda story: len(story.twice_without_doubt()))),
    ("disorder", lambda story: story.out_of_order()),
    ("refused", lambda story: story.refused_for_order),
    ("resent", lambda story: len(story.resent_answered)),
)
EXPLAINED = """\
expected   events that Adjust should have: the file's, less invalid rows and unknown devices
listed     left as held or in doubt in the last try's rejected file
lost       expected, never recorded, not listed
in doubt   got no answer, or left as "sending" by a kill
twice      recorded more than once; undoubted: more often than their doubts explain
disorder   recorded behind a later event of the same device and event token
refused    refused by the stand-in since a later event of the lane was there
resent     sent again although answered in a try that was stopped by SIGTERM"""
