"""Kill a sending task again and again while it works, and check that no promise about its events is broken.

Each story sends one file to the local stand-in for Adjust, which misbehaves: errors, resets, cut and lost answers. The
task is killed at seeded points, by SIGKILL or by the SIGTERM that Airflow sends, and tried again as Airflow would. The
last tries are not killed. Then the stand-in's records are compared with the promises of docs/delivery-guarantees.md. The
campaign exits with 1 when a promise is broken.

    python -m campaign.crashes --kills 200 --seed 1
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from importlib.metadata import version
from itertools import cycle
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from own_postgres import connection_to, own_postgres
from packaging.version import Version

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.crash_story import COLUMNS, EXPLAINED, SETTINGS, CrashStory, Setting
from campaign.home import campaign_arguments, campaign_home
from campaign.ledgers import claimed, ledger_connection
from campaign.rows import write_rows
from campaign.story import RESENDS
from campaign.tries import API_TOKEN, S2S_TOKEN, Tries, Try, adjust_connection

_FAULTS = {
    "503": 0.006,
    "429": 0.0015,
    "reset_before": 0.003,
    "reset_after": 0.003,
    "truncate": 0.003,
    "slow": 0.003,
    "stall_before": 0.001,
    "stall_after": 0.001,
}
#: Seconds that a task may take to stop: it waits for what is in flight, for a read timeout at most.
_GRACE = 30.0
#: At most so many tries are not killed, until one of them has nothing left to do.
_LAST_TRIES = 5


class Campaign:
    """Runs stories; they share the stand-in's rules, a Postgres and a folder."""

    def __init__(self, home: Path, postgres: dict[str, str], *, rows: int, seed: int) -> None:
        self._home = home
        self._postgres = postgres
        self._rows = rows
        self._chance = random.Random(seed)
        self._stories = 0
        self._tries = Tries()

    def run_story(self, setting: Setting, kills: int) -> CrashStory:
        """Send one file under a setting with a number of kills; return the observations."""
        self._stories += 1
        name = f"story{self._stories}"
        folder = self._home / name
        folder.mkdir()
        chance = random.Random(self._chance.random())
        expected, unknown = write_rows(folder / "rows.jsonl", name, self._rows, chance)
        story = CrashStory(expected, setting=setting)
        settings: dict[str, Any] = {"latency": 0.004, "slow_seconds": 0.3, "stall_seconds": 1.0, "retry_after": 0}
        settings |= {"tokens": [S2S_TOKEN], "unknown_devices": unknown, "faults": _FAULTS}
        with SandboxServer(**settings, seed=chance.randrange(2**31)) as sandbox:
            self._try_until_settled(story, sandbox, folder, name, kills, chance)
            story.see_recorded(sandbox)
            story.refused_for_order = sandbox.stats()["order_violations"]
        return story

    def _try_until_settled(
        self, story: CrashStory, sandbox: SandboxServer, folder: Path, name: str, kills: int, chance: random.Random
    ) -> None:
        ledger = ledger_connection(story.setting.memory, folder, self._postgres)
        environment = {
            "AIRFLOW_CONN_ADJUST_DEFAULT": adjust_connection(
                sandbox.url, api_token=API_TOKEN, api_endpoint=sandbox.url
            ),
            **({"AIRFLOW_CONN_LEDGER": json.dumps(ledger)} if ledger else {}),
        }
        options = {"max_rejected": self._rows, "on_in_doubt": story.setting.on_in_doubt, **RESENDS}
        for number in range(1, kills + _LAST_TRIES + 1):
            this = Try(folder, name, number, options, environment)
            kind = None
            with self._tries.running(this) as process:
                if story.kills.total() < kills:
                    kind = self._kill(story, process, sandbox, 1.5 * self._rows / (kills + 2), chance)
                process.join()
            if kind == "SIGKILL" and ledger:
                story.doubts.update(claimed(ledger, name))
            story.see_journal(this)
            story.see_answers(this, stopped=kind == "SIGTERM")
            end = this.end()
            if end is None and kind != "SIGKILL":
                story.problems.append(f"try {number} died (exit code {process.exitcode}); see {folder}/log")
                return
            # A held event stays held: after one try without a kill, another would change nothing.
            is_held = kind is None and story.setting.on_in_doubt == "hold" and "(EventsUnresolved)" in (end or "")
            if end == "success" or is_held:
                story.see_listed(this.rejected)
                return
        story.problems.append(f"the last try has not settled every event: {end}")

    def _kill(
        self, story: CrashStory, process: BaseProcess, sandbox: SandboxServer, requests: float, chance: random.Random
    ) -> str | None:
        """Kill at a request of this try, give or take some milliseconds; None when the try was faster."""
        gentle = chance.random() < 0.25
        before = sandbox.stats()["requests"]
        at = before + chance.randrange(1 if gentle else 0, max(2, int(requests)))
        delay = chance.uniform(0, 0.4 if at == before else 0.03)
        while sandbox.stats()["requests"] < at and process.is_alive():
            time.sleep(0.002)
        process.join(delay)
        if not process.is_alive():
            return None
        kind = "SIGTERM" if gentle else "SIGKILL"
        os.kill(process.pid or 0, signal.Signals[kind])
        story.kills[kind] += 1
        process.join(_GRACE)
        if process.is_alive():
            story.problems.append(f"still running {_GRACE:.0f} s after {kind}")
            process.kill()
            process.join()
        return kind


class Totals:
    """The table: a line for each story as it ends, then one for each setting."""

    def __init__(self) -> None:
        self.kills = self.broken = 0
        self._of_setting: dict[Setting, Counter[str]] = {}
        self._started = time.monotonic()
        print(EXPLAINED + "\n\n" + _line([title for title, _ in COLUMNS]), flush=True)

    def add(self, story: CrashStory) -> None:
        self.kills += story.kills.total()
        cells = {title: cell_of(story) for title, cell_of in COLUMNS}
        print(_line([*cells.values()]), flush=True)
        for promise in story.broken_promises():
            self.broken += 1
            print(f"  BROKEN: {promise}", flush=True)
        counts = {title: cell for title, cell in cells.items() if isinstance(cell, int)}
        self._of_setting.setdefault(story.setting, Counter()).update(counts)

    def print(self, seed: int) -> None:
        print("\nAll stories of a setting\n" + _line([title for title, _ in COLUMNS]))
        for setting, total in self._of_setting.items():
            print(_line([setting, *(total.get(title, "-") for title, _ in COLUMNS[1:])]))
        end = f"{self.broken} promises broken" if self.broken else "every promise kept"
        print(f"\n{self.kills} kills in {time.monotonic() - self._started:,.0f} s with seed {seed}: {end}")


def _line(cells: list[object]) -> str:
    return "  ".join(f"{cell!s:<16}" if place == 0 else f"{cell!s:>9}" for place, cell in enumerate(cells))


def settings_here() -> list[Setting]:
    """A checkpoint needs Airflow's task state store, which came with 3.3."""
    has_store = Version(version("apache-airflow")) >= Version("3.3")
    return [setting for setting in SETTINGS if has_store or setting.memory != "checkpoint"]


def run(kills: int, seed: int, rows: int, home: Path, postgres: dict[str, str]) -> int:
    """Run stories until the kills are done; return how many promises were broken."""
    settings = settings_here()
    campaign = Campaign(home, postgres, rows=rows, seed=seed)
    totals = Totals()
    try:
        for number, setting in enumerate(cycle(settings)):
            if totals.kills >= kills and number >= len(settings):
                break
            totals.add(campaign.run_story(setting, min(8, max(2, kills // len(settings)))))
    finally:
        totals.print(seed)
    return totals.broken


def main() -> None:
    parser = campaign_arguments(__doc__)
    parser.add_argument("--kills", type=int, default=40, help="the least number of kills over all settings")
    parser.add_argument("--rows", type=int, default=2500, help="rows in each story's file")
    arguments = parser.parse_args()
    with campaign_home(arguments.keep) as home, own_postgres() as server:
        if run(arguments.kills, arguments.seed, arguments.rows, home, connection_to(server.get_uri())):
            sys.exit(1)


if __name__ == "__main__":
    main()
