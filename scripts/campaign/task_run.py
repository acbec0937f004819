"""One run of the task in a story: try after try, as Airflow would, killed at seeded points until the kills are done."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any

from airflow_provider_adjust.sandbox import SandboxServer
from campaign.crash_story import CrashStory
from campaign.journal import read_journal
from campaign.ledgers import claimed
from campaign.rows import Key
from campaign.story import listed_in
from campaign.tries import API_TOKEN, Tries, Try, adjust_connection
from campaign.troubles import Scene

#: Seconds that a task may take to stop: it waits for requests in flight, for a read timeout at most.
_GRACE = 30.0
#: The most tries that are not killed, until one has nothing left to do.
_LAST_TRIES = 6
_UNDISTURBED = 3
#: Seconds; a try that takes longer hangs.
_LONGEST_TRY = 300.0
#: Two runs of a story see the same things at once.
_seen = Lock()

#: Troubles in which the checkpoint cannot be saved.
_CHECKPOINT_AWAY = frozenset({"API server away", "disk full at the state store"})


@dataclass(kw_only=True)
class TaskRun:
    story: CrashStory
    scene: Scene
    sandbox: SandboxServer
    tries: Tries
    folder: Path
    name: str
    clock: str
    rows: int
    kills: int
    chance: random.Random
    connections: dict[str, dict[str, Any]]
    table: str
    #: The rejected file's unresolved events at the end.
    listed: dict[Key, str] = field(default_factory=dict)
    _answered: set[Key] = field(default_factory=set)
    _killed: int = 0
    _process: BaseProcess | None = None
    _is_stopped: bool = False

    def stop(self) -> None:
        """End the try that runs, and let none follow; any thread may call this."""
        self._is_stopped = True
        if self._process is not None:
            self._process.kill()

    def until_settled(self) -> None:
        """Try until nothing is left to do, or another try would change nothing."""
        before: dict[Key, str] | None = None
        for number in range(1, self.kills + _LAST_TRIES + 1):
            if self._is_stopped:
                return
            this = self._make_try(number)
            kind = self._run(this)
            end = this.end()
            if end is None and kind != "SIGKILL":
                self._note_problem(f"try {number} died or hangs; see {self.folder}/log")
                return
            if kind == "SIGKILL":
                continue
            self.listed = listed_in(this.rejected)
            if end == "success":
                if self.listed:
                    self._note_problem(f"green although {len(self.listed)} are listed")
                break
            if kind is None and number > self.kills and "(EventsUnresolved)" in (end or "") and before == self.listed:
                break
            before = self.listed if kind is None else None
        else:
            self._note_problem(f"the last try has not settled every event: {end}")
        with _seen:
            self.story.counted_delivered.append(this.result().get("delivered", 0) + this.result().get("duplicate", 0))

    def _make_try(self, number: int) -> Try:
        setting = self.story.setting
        door = self.scene.door.url if setting.closes or setting.trouble == "firewall" else self.sandbox.url
        environment = {
            "AIRFLOW_CONN_ADJUST_DEFAULT": adjust_connection(door, api_token=API_TOKEN, api_endpoint=self.sandbox.url),
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in self.connections.items()},
        }
        options = {"max_rejected": self.rows, "on_in_doubt": setting.on_in_doubt, **setting.options}
        disk = self.folder / "disk" if self.scene.disk else None
        return Try(
            self.folder,
            self.name,
            number,
            options,
            environment,
            setting.source,
            clock=self.clock,
            lease=setting.lease,
            rejected_folder=disk if setting.trouble == "disk full at the rejected file" else None,
            store_folder=disk if setting.trouble == "disk full at the state store" else None,
            table=self.table,
        )

    def _run(self, this: Try) -> str | None:
        """Run a try to its end or to the kill; return the signal."""
        trouble, kind = self.story.setting.trouble, None
        is_troubled = trouble is not None and this.number <= max(self.kills, 2)
        with (
            self.tries.running(this) as process,
            self.scene.troubled(trouble, this, self.chance) if is_troubled and trouble else nullcontext(),
        ):
            self._process = process
            if self._is_stopped:
                process.kill()
            # A try that a trouble ends is not killed, and the last tries are not killed either.
            if self._killed < self.kills and this.number <= self.kills + _LAST_TRIES - _UNDISTURBED:
                kind = self._kill(process, this)
            process.join(_LONGEST_TRY)
        with _seen:
            self._see(this, kind)
        return kind

    def _see(self, this: Try, kind: str | None) -> None:
        left_open: set[Key] = set()
        # A task that was stopped has a few seconds, in which a ledger that only reads takes nothing.
        could_not_write = kind == "SIGKILL" or (kind == "SIGTERM" and "read-only" in (self.story.setting.trouble or ""))
        if could_not_write and "ledger" in self.connections:
            left_open = set(claimed(self.connections["ledger"], self.name))
            self.story.doubts.update(left_open)
        self.story.see_journal(this)
        noted = list(read_journal(this.journal))
        self.story.resent_answered |= {key for what, key in noted if what == "sent"} & self._answered
        if kind == "SIGTERM":
            settled = {"delivered", "duplicate"}
            if self.story.setting.trouble != "disk full at the rejected file":
                # A refusal that could not be listed is not settled, so that it is offered again.
                settled.add("rejected")
            answered = {key for what, key in noted if what in settled}
            if self.story.setting.trouble in _CHECKPOINT_AWAY:
                # A stopped task has a few seconds, and its memory took nothing in them.
                self.story.doubts.update(answered)
            else:
                self._answered |= answered - left_open

    def _kill(self, process: BaseProcess, this: Try) -> str | None:
        """Kill at a request of this try, plus or minus some milliseconds; None if the try was faster."""
        kinds = self.story.setting.kinds
        kind = kinds[0] if len(kinds) == 1 else self.chance.choices(kinds, (3, 1))[0]
        is_gentle = kind == "SIGTERM"
        before = self.sandbox.stats()["requests"]
        requests = 1.5 * self.rows * len(self.story.setting.clocks) / (self.kills + 2)
        at = before + self.chance.randrange(1 if is_gentle else 0, max(2, int(requests)))
        delay = self.chance.uniform(0, 0.4 if at == before else 0.03)
        while process.is_alive() and (
            self.sandbox.stats()["requests"] < at or (is_gentle and not this.journal.exists())
        ):
            time.sleep(0.002)
        process.join(delay)
        if not process.is_alive():
            return None
        os.kill(process.pid or 0, signal.Signals[kind])
        self._killed += 1
        with _seen:
            self.story.kills[kind] += 1
        process.join(_GRACE)
        if process.is_alive():
            self._note_problem(f"still running {_GRACE:.0f} s after {kind}")
            process.kill()
            process.join()
        return kind

    def _note_problem(self, problem: str) -> None:
        with _seen:
            self.story.problems.append(problem)
