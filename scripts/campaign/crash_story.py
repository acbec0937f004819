"""The promises of docs/explanations/delivery-guarantees.md for a task that is killed, and whether they were kept.

The judge knows three things only: the warehouse's rows, what the stand-in recorded, and what the provider says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from campaign.rows import Key
from campaign.settings import Setting
from campaign.story import Story


@dataclass(kw_only=True)
class CrashStory(Story):
    """The events of one file, over all tries and kills of all runs."""

    setting: Setting
    kills: Counter[str] = field(default_factory=Counter)
    #: Events that are delivered according to the ledger.
    called_delivered: set[Key] = field(default_factory=set)
    #: How many events of all its tries a run's last try reports as delivered.
    counted_delivered: list[int] = field(default_factory=list)
    #: Sent by a run although an earlier try, stopped by SIGTERM, had the answer.
    resent_answered: set[Key] = field(default_factory=set)
    refused_for_order: int = 0
    #: How often something around the tasks failed.
    troubles: int = 0

    @property
    def knows_its_doubts(self) -> bool:
        """A checkpoint does not cover requests in flight when its task was killed, but it covers an orderly end."""
        return self.setting.memory != "checkpoint" or not self.kills["SIGKILL"]

    def out_of_order(self) -> int:
        """Count the recorded events that are older than the one before them in one of their lanes."""
        latest: dict[tuple[str, str, str], int] = {}
        count = 0
        for _, params in self.recorded:
            happened_at = int(params["created_at_unix"])
            token = params["event_token"]
            lanes = [(token, name, params[name]) for name in ("gps_adid", "adid", "android_id") if name in params]
            count += any(happened_at < latest.get(lane, 0) for lane in lanes)
            latest.update((lane, max(happened_at, latest.get(lane, 0))) for lane in lanes)
        return count

    def falsely_delivered(self) -> int:
        """Count the events reported as delivered that the stand-in has not recorded."""
        recorded = self.times_recorded().keys()
        too_many = (count - len(recorded) for count in self.counted_delivered)
        return max(len(self.called_delivered - recorded), *too_many, 0)

    def needlessly_unresolved(self) -> int:
        """Count events left open although the setting settles them.

        ``resend`` resends an event once, so one that was in doubt twice is open; ``verify`` asks, so only what the Device
        API cannot tell is open. What is held waits for one of these.
        """
        open_ones = {key for key, outcome in self.listed.items() if outcome == "in_doubt"}
        if self.setting.on_in_doubt == "hold":
            excused = open_ones
        elif self.setting.on_in_doubt == "verify":
            excused = set() if self.setting.can_tell else {key for key in open_ones if self.doubts[key]}
        else:
            excused = {key for key in open_ones if self.doubts[key] > 1 or not self.knows_its_doubts}
        return len(open_ones - excused) if open_ones else len(self.listed)

    def broken_promises(self) -> list[str]:
        promises: dict[str, int] = {
            "lost": len(self.lost()),
            "unexpected": len(self.unexpected()),
            "recorded out of order": self.out_of_order(),
            "called delivered, and not recorded": self.falsely_delivered(),
            "answered, yet sent again after SIGTERM": len(self.resent_answered),
            "needlessly unresolved": self.needlessly_unresolved(),
        }
        if self.knows_its_doubts:
            promises["recorded twice without doubt"] = len(self.twice_without_doubt())
            promises["refused for their order"] = self.refused_for_order
        if self.setting.on_in_doubt != "resend":
            promises[f"recorded twice with {self.setting.on_in_doubt}"] = len(self.recorded_twice())
        if self.setting.few_doubts and len(self.doubts) > len(self.expected) // 20:
            promises["in doubt although all were answered"] = len(self.doubts)
        return [*self.problems, *(f"{count} {promise}" for promise, count in promises.items() if count)]


def _if_known(count: Callable[[CrashStory], int]) -> Callable[[CrashStory], object]:
    return lambda story: count(story) if story.knows_its_doubts else "-"


COLUMNS: tuple[tuple[str, Callable[[CrashStory], object]], ...] = (
    ("SIGKILL", lambda story: story.kills["SIGKILL"]),
    ("SIGTERM", lambda story: story.kills["SIGTERM"]),
    ("troubles", lambda story: story.troubles),
    ("expected", lambda story: len(story.expected)),
    ("recorded", lambda story: len(story.times_recorded())),
    ("listed", lambda story: len(story.listed)),
    ("lost", lambda story: len(story.lost())),
    ("in doubt", _if_known(lambda story: len(story.doubts))),
    ("twice", lambda story: len(story.recorded_twice())),
    ("undoubted", _if_known(lambda story: len(story.twice_without_doubt()))),
    ("false", lambda story: story.falsely_delivered()),
    ("disorder", lambda story: story.out_of_order()),
    ("refused", lambda story: story.refused_for_order),
    ("resent", lambda story: len(story.resent_answered)),
)
EXPLAINED = """\
troubles   how often something around the task failed for a while
expected   events that Adjust should have: the file's, less invalid rows and unknown devices
listed     left as held or in doubt in the last try's rejected file
lost       expected, never recorded, not listed
in doubt   got no answer, or left as "sending" by a kill
twice      recorded more than once; undoubted: more often than their doubts explain
false      called delivered by the provider and not recorded
disorder   recorded behind a later event of the same device and event token
refused    refused by the stand-in since a later event of the lane was there
resent     sent again although answered in a try that was stopped by SIGTERM"""
