"""Send 100,000 events through every fault that the sandbox knows and every outage that a machine can stage.

Each case sends one file or query with the real operator, try after try, as Airflow would. When Airflow would not try
again, the fault is fixed and the task cleared, as a person would. Then the stand-in's records are compared with the
events that should arrive. The campaign exits with 1 when an event is lost, when one was sent twice that was never in
doubt, or when a task succeeded although events were missing.

    python -m campaign.faults --events 100000 --seed 1
    python -m campaign.faults --events 1695 --only "html 5%"
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from campaign.disks import Disk, small_disk
from campaign.fault_cases import Case, all_cases
from campaign.home import campaign_arguments, campaign_home
from campaign.ledgers import claimed, ledger_connection
from campaign.outages import Surroundings, surroundings
from campaign.rows import purchases
from campaign.story import RESENDS, Story, listed_in
from campaign.tries import Tries, Try, adjust_connection

#: Airflow's tries of a task, and the tries after the fault was fixed.
_RETRIES, _LAST_TRIES = 3, 4
#: Seconds; a try that takes longer hangs.
_LONGEST_TRY = 300.0


@dataclass(kw_only=True)
class FaultStory(Story):
    """The outcome of a case."""

    case: Case
    ends: list[str] = field(default_factory=list)
    fixed_after: int | None = None
    seconds: float = 0.0

    @property
    def knows_its_doubts(self) -> bool:
        """Not for a checkpoint: events settled after a try's last write are sent again by the next try."""
        return self.case.memory != "checkpoint" or len(self.ends) == 1

    def broken_promises(self) -> set[str]:
        promises = {
            "lost": self.lost(),
            "unexpected": self.unexpected(),
            "recorded twice without doubt": self.twice_without_doubt() if self.knows_its_doubts else set(),
        }
        return {*self.problems, *(f"{len(broken)} {promise}" for promise, broken in promises.items() if broken)}

    def cells(self) -> list[object]:
        fixed = "" if self.fixed_after is None else f", fixed after {self.fixed_after}"
        return [
            self.case.name,
            self.case.memory,
            self.ends[0],
            f"{len(self.ends)}{fixed}",
            self.ends[-1],
            f"{len(self.expected):,}",
            f"{len(self.times_recorded()):,}",
            len(self.listed),
            len(self.lost()),
            len(self.doubts),
            len(self.recorded_twice()),
            len(self.twice_without_doubt()),
            f"{self.seconds:.0f}",
        ]


_COLUMNS = (
    *("fault", "memory", "first try", "tries", "last try", "expected", "recorded", "listed", "lost"),
    *("in doubt", "twice", "undoubted", "s"),
)


class Campaign:
    def __init__(self, home: Path, shared: Surroundings, seed: int) -> None:
        self._home = home
        self._shared = shared
        self._seed = seed
        self._cases = 0
        self._tries = Tries()

    def run_case(self, case: Case, rows: int) -> FaultStory:
        """Send a number of rows through the case, until a try succeeds or no try is left."""
        self._cases += 1
        name = f"case{self._cases}"
        folder = self._home / name
        folder.mkdir()
        # The same faults for a case, alone or among the others.
        chance = random.Random(f"{self._seed} {case.name} {case.memory}")
        warehouse = purchases(name, rows, chance)
        warehouse.write(folder / "rows.jsonl")
        sandbox = self._shared.sandbox
        sandbox.reset()
        sandbox.configure(unknown_devices=warehouse.unknown_devices, faults=case.faults, seed=chance.randrange(2**31))
        if case.source == "postgres":
            self._shared.load(folder / "rows.jsonl")
        story = FaultStory(warehouse.expected, case=case)
        started = time.monotonic()
        self._try_until_green(story, folder, name, rows)
        story.seconds = time.monotonic() - started
        return story

    def _try_until_green(self, story: FaultStory, folder: Path, name: str, rows: int) -> None:
        case = story.case
        if case.full_disk:
            with small_disk(folder / "disk", "rejected.jsonl") as disk:
                disk.fill()
                self._try_on(disk, story, folder, name, rows)
        else:
            self._try_on(None, story, folder, name, rows)

    def _try_on(self, disk: Disk | None, story: FaultStory, folder: Path, name: str, rows: int) -> None:
        case = story.case
        ledger = ledger_connection(case.memory, folder, {"postgres": self._shared.connection})
        is_broken = True
        for number in range(1, _RETRIES + _LAST_TRIES + 1):
            host = case.host(self._shared) if case.host and is_broken else self._shared.sandbox.url
            environment = {
                "AIRFLOW_CONN_ADJUST_DEFAULT": adjust_connection(host),
                "AIRFLOW_CONN_WAREHOUSE": json.dumps(self._shared.connection),
                **({"AIRFLOW_CONN_LEDGER": json.dumps(ledger)} if ledger else {}),
            }
            options = {"max_rejected": rows, "transport": case.transport, **RESENDS}
            this = Try(folder, name, number, options, environment, case.source, case.clock_jumps)
            if disk:
                this = replace(this, rejected_folder=folder / "disk")
            end = self._run(this, case.strike if number == 1 else None, rows)
            self._see(story, this, end)
            if disk:
                disk.free()
            if end == "success":
                return
            if ledger:
                story.doubts.update(claimed(ledger, name))
            if is_broken and (case.breaks_once or case.host or end.startswith("failed") or number >= _RETRIES):
                is_broken = False
                story.fixed_after = None if case.breaks_once else number
                self._shared.sandbox.configure(faults={})
        story.problems.append("never green")

    def _run(self, this: Try, strike: Callable[[Surroundings, BaseProcess], None] | None, rows: int) -> str:
        sandbox = self._shared.sandbox
        before = sandbox.stats()["recorded"]
        with self._tries.running(this) as process:
            until = time.monotonic() + _LONGEST_TRY
            while strike and process.is_alive() and time.monotonic() < until:
                if sandbox.stats()["recorded"] - before >= rows // 3:
                    strike(self._shared, process)
                    break
                time.sleep(0.002)
            process.join(_LONGEST_TRY)
            if process.is_alive():
                return f"hangs for {_LONGEST_TRY:.0f} s"
            return this.end() or f"killed ({process.exitcode})"

    def _see(self, story: FaultStory, this: Try, end: str) -> None:
        story.ends.append(end)
        story.see_recorded(self._shared.sandbox)
        story.listed = listed_in(this.rejected)
        story.see_journal(this)
        if end == "success" and (story.lost() or story.listed):
            story.problems.append(f"green although {len(story.lost())} are lost and {len(story.listed)} listed")
        if end.startswith("hangs"):
            story.problems.append(end)


def run(cases: list[Case], events: int, seed: int, home: Path) -> int:
    """Run all cases, print a line of Markdown for each, and return how many promises were broken."""
    rows = max(60, -(-events // len(cases)))
    broken = recorded = 0
    print("| " + " | ".join(_COLUMNS) + " |\n|" + "---|" * len(_COLUMNS), flush=True)
    with surroundings() as shared:
        campaign = Campaign(home, shared, seed)
        started = time.monotonic()
        for case in cases:
            story = campaign.run_case(case, rows)
            recorded += len(story.times_recorded())
            print("| " + " | ".join(map(str, story.cells())) + " |", flush=True)
            for promise in story.broken_promises():
                broken += 1
                print(f"BROKEN: {case.name}, {case.memory}: {promise}", flush=True)
    print(
        f"\n{len(cases)} cases of {rows:,} rows in {time.monotonic() - started:,.0f} s with seed {seed}, "
        f"{recorded:,} events recorded: "
        + (
            f"{broken} promises broken"
            if broken
            else "nothing lost, nothing twice without doubt, nothing silently green"
        )
    )
    return broken


def main() -> None:
    parser = campaign_arguments(__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="rows over all cases")
    parser.add_argument("--only", default="", help="only the cases with this in their name")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if arguments.only in case.name]
    if not cases:
        parser.error(f"no case has {arguments.only!r} in its name")
    os.environ["RES_OPTIONS"] = "attempts:1 timeout:1"  # the host name without an address is refused at once
    with campaign_home(arguments.keep) as home:
        if run(cases, arguments.events, arguments.seed, home):
            sys.exit(1)


if __name__ == "__main__":
    main()
