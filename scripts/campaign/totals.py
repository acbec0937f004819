"""The campaign's table: a line for each story as it ends, then one for each setting.

docs/explanations/delivery-guarantees.md has it.
"""

from __future__ import annotations

import time
from collections import Counter

from campaign.crash_story import COLUMNS, EXPLAINED, CrashStory
from campaign.settings import Setting

_TITLES = [title for title, _ in COLUMNS]
#: The columns of the docs' table, by those of the campaign's.
_IN_DOCS = {
    "SIGKILL": "SIGKILL",
    "SIGTERM": "SIGTERM",
    "troubles": "Outages",
    "expected": "Expected",
    "recorded": "Recorded",
    "lost": "Lost",
    "in doubt": "In doubt",
    "twice": "Recorded twice",
    "undoubted": "Of these not in doubt",
    "false": "Called delivered, not recorded",
    "disorder": "Out of order",
}


class Totals:
    def __init__(self) -> None:
        self.kills = self.broken = 0
        self._of_setting: dict[Setting, Counter[str]] = {}
        self._unknown: set[tuple[Setting, str]] = set()
        self._started = time.monotonic()
        print(EXPLAINED + "\n\n" + _line("setting", _TITLES), flush=True)

    def add(self, story: CrashStory) -> None:
        self.kills += story.kills.total()
        cells = {title: cell_of(story) for title, cell_of in COLUMNS}
        print(_line(str(story.setting), [*cells.values()]), flush=True)
        for promise in story.broken_promises():
            self.broken += 1
            print(f"  BROKEN: {promise}", flush=True)
        counts = {title: cell for title, cell in cells.items() if isinstance(cell, int)}
        self._unknown |= {(story.setting, title) for title in cells if title not in counts}
        self._of_setting.setdefault(story.setting, Counter()).update(counts)

    def print(self, seed: int) -> None:
        print("\nAll stories of a setting\n\n" + "\n".join(self.markdown()))
        end = f"{self.broken} promises broken" if self.broken else "every promise kept"
        print(f"\n{self.kills} kills in {time.monotonic() - self._started:,.0f} s with seed {seed}: {end}")

    def markdown(self) -> list[str]:
        """The table in the docs."""
        rows = [["Setting", *_IN_DOCS.values()]]
        for setting, total in self._of_setting.items():
            rows.append([setting.in_docs(), *(self._cell(setting, total, title) for title in _IN_DOCS)])
        head, *body = ("| " + " | ".join(row) + " |" for row in rows)
        return [head, "|" + "---|" * len(rows[0]), *body]

    def _cell(self, setting: Setting, total: Counter[str], title: str) -> str:
        return "not known" if (setting, title) in self._unknown else f"{total[title]:,}"


def _line(name: str, cells: list[object] | list[str]) -> str:
    return f"{name:<48}" + "".join(f"  {cell!s:>9}" for cell in cells)
