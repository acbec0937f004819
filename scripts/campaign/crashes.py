"""Kill a sending task again and again while it works, and check that no promise about its events is broken.

Each story sends one file to the local stand-in for Adjust, which misbehaves: errors, resets, cut and lost answers. The
task is killed at seeded points, by SIGKILL or by the SIGTERM that Airflow sends, and tried again as Airflow would; in
some stories something around it fails for a while, or two runs send the same file at once. The last tries are not
disturbed. Then the stand-in's records and what the provider says are compared with the promises of
docs/explanations/delivery-guarantees.md. The campaign exits with 1 when a promise is broken.

    python -m campaign.crashes --kills 200 --seed 1
    python -m campaign.crashes --kills 20 --only "clocks|read-only"
    python -m campaign.crashes --kills 20 --only plain
"""

from __future__ import annotations

import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import own_mariadb
import own_pgbouncer
import own_postgres

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.crash_story import CrashStory
from campaign.disks import small_disk
from campaign.door import Door
from campaign.exports import broken_proofs
from campaign.home import campaign_arguments, campaign_home
from campaign.ledgers import Servers, called_delivered, engine_of, ledger_connection
from campaign.outages import load_rows
from campaign.settings import SETTINGS, Setting, missing_for
from campaign.task_run import TaskRun
from campaign.totals import Totals
from campaign.tries import API_TOKEN, S2S_TOKEN, Tries
from campaign.troubles import Scene

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
#: Settings without a file or a circumstance of their own.
PLAIN = r"^\w+, \w+$"


class Campaign:
    """Runs stories; they share the stand-in's rules, the servers and a folder."""

    def __init__(self, home: Path, servers: Servers, *, rows: int, seed: int) -> None:
        self._home = home
        self._servers = servers
        self._postgres = engine_of(servers["postgres"])
        self._rows = rows
        self._chance = random.Random(seed)
        self._stories = 0
        self._tries = Tries()

    def run_story(self, setting: Setting, kills: int) -> CrashStory:
        """Send one file under a setting with a number of kills; return the observations."""
        self._stories += 1
        name = f"story{self._stories}"
        chance = random.Random(self._chance.random())
        rows = min(self._rows, setting.most_rows)
        warehouse = setting.make_rows(name, rows, chance)
        story = CrashStory(warehouse.expected, setting=setting)
        settings: dict[str, Any] = {"latency": 0.004, "slow_seconds": 0.3, "stall_seconds": 1.0, "retry_after": 0}
        settings |= {"tokens": [S2S_TOKEN], "api_tokens": [API_TOKEN], "unknown_devices": warehouse.unknown_devices}
        settings |= {"faults": _FAULTS if setting.has_faults else {}, "seed": chance.randrange(2**31)}
        with ExitStack() as stack:
            sandbox = stack.enter_context(SandboxServer(**settings))
            door = stack.enter_context(Door(sandbox.url))
            door.closes = setting.closes
            scene = Scene(door, self._postgres)
            folders = [
                self._home / (name if each == 0 else f"{name}-{each + 1}") for each in range(len(setting.clocks))
            ]
            ledger = ledger_connection(setting.memory, folders[0], self._servers)
            connections = {"warehouse": self._servers["postgres"], **({"ledger": ledger} if ledger else {})}
            for folder in folders:
                folder.mkdir()
                warehouse.write(folder / "rows.jsonl")
            if setting.source == "slow":
                load_rows(self._postgres, folders[0] / "rows.jsonl", name)
            if setting.trouble and "disk full" in setting.trouble:
                target = "rejected.jsonl" if "rejected" in setting.trouble else "state.new"
                scene.disk = stack.enter_context(small_disk(folders[0] / "disk", target))
            shared: dict[str, Any] = {"story": story, "scene": scene, "sandbox": sandbox, "tries": self._tries}
            shared |= {"rows": len(warehouse.rows), "connections": connections, "table": name}
            shared["kills"] = -(-kills // len(folders)) if setting.kinds else 0
            runs = [
                TaskRun(**shared, folder=folder, name=folder.name, clock=clock, chance=random.Random(chance.random()))
                for folder, clock in zip(folders, setting.clocks, strict=True)
            ]
            _at_once(runs)
            story.listed = {
                key: outcome for key, outcome in runs[0].listed.items() if all(key in run.listed for run in runs)
            }
            story.see_recorded(sandbox)
            story.refused_for_order = sandbox.stats()["order_violations"]
            story.troubles = scene.times
            if ledger:
                story.called_delivered = set(called_delivered(ledger, name))
                exports = self._home / f"{name}-exports"
                story.problems += broken_proofs(ledger, sandbox, exports, story.times_recorded(), name)
        return story


def _at_once(runs: list[TaskRun]) -> None:
    with ThreadPoolExecutor(len(runs)) as pool:
        try:
            for done in [pool.submit(run.until_settled) for run in runs]:
                done.result()
        except BaseException:  # Ctrl-C, too
            for run in runs:
                run.stop()
            raise


def settings_here(only: str) -> list[Setting]:
    """The settings with a matching name for which this machine has everything; what it lacks is printed."""
    chosen = [each for each in SETTINGS if re.search(PLAIN if only == "plain" else only, str(each))]
    for each in chosen:
        if missing := missing_for(each):
            print(f"left out for want of {missing}: {each}")
    return [each for each in chosen if missing_for(each) is None]


def start_servers(settings: list[Setting], stack: ExitStack) -> Servers:
    """The database servers that the settings need."""
    url = stack.enter_context(own_postgres.own_postgres()).get_uri()
    servers: dict[str, dict[str, Any]] = {"postgres": own_postgres.connection_to(url)}
    memories = {setting.memory for setting in settings}
    if "mariadb" in memories:
        servers["mariadb"] = own_mariadb.connection_to(stack.enter_context(own_mariadb.own_mariadb()).get_uri())
    if "pgbouncer" in memories:
        pool = stack.enter_context(own_pgbouncer.own_pgbouncer(url, pool_size=2))
        servers["pgbouncer"] = own_pgbouncer.connection_to(pool)
    return servers


def run(settings: list[Setting], kills: int, seed: int, rows: int, home: Path, servers: Servers) -> int:
    """Run stories until the kills are done; return how many promises were broken."""
    campaign = Campaign(home, servers, rows=rows, seed=seed)
    totals = Totals()
    can_kill = any(setting.kinds for setting in settings)
    try:
        for number, setting in enumerate(cycle(settings)):
            if number >= len(settings) and (totals.kills >= kills or not can_kill):
                break
            totals.add(campaign.run_story(setting, min(8, max(2, kills // len(settings)))))
    finally:
        totals.print(seed)
    return totals.broken


def main() -> None:
    parser = campaign_arguments(__doc__)
    parser.add_argument("--kills", type=int, default=40, help="the least number of kills over all settings")
    parser.add_argument("--rows", type=int, default=2500, help="rows in each story's file")
    parser.add_argument(
        "--only", default="", help="only the settings with a name that this regular expression finds; or plain"
    )
    arguments = parser.parse_args()
    settings = settings_here(arguments.only)
    if not settings:
        parser.error(f"no setting is left for {arguments.only!r}")
    with campaign_home(arguments.keep) as home, ExitStack() as stack:
        servers = start_servers(settings, stack)
        if run(settings, arguments.kills, arguments.seed, arguments.rows, home, servers):
            sys.exit(1)


if __name__ == "__main__":
    main()
