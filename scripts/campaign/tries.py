"""The tries of a task. Each is a process of its own that runs the real operator as Airflow's task runner does."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_adjust.s2s import LookupPolicy
from campaign.journal import keep_journal
from campaign.wall_clock import let_the_wall_clock_jump

S2S_TOKEN = "campaign-s2s-token"  # noqa: S105 - accepted by the stand-in only
API_TOKEN = "campaign-api-token"  # noqa: S105
EVENT_TOKEN = "f0ob4r"  # noqa: S105 - the example in Adjust's documentation
#: The fork server imports these once, so that each try does not.
_PRELOADED = [
    "campaign.tries",
    "airflow_provider_adjust.operators.adjust_send_events",
    "airflow_provider_adjust.transfers.sql_to_adjust",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.sqlite.hooks.sqlite",
]
_QUERY = """
SELECT row->>'order_id' AS order_id, row->>'gps_adid' AS gps_adid, row->>'adid' AS adid, row->>'created_at' AS created_at,
       row->>'android_id' AS android_id, row->>'revenue' AS revenue, row->>'currency' AS currency
FROM purchases ORDER BY position
"""


@dataclass(frozen=True)
class Try:
    """One try of the task: all that its process needs to know."""

    folder: Path
    name: str
    number: int
    #: The operator's arguments beside those that are always the same.
    options: dict[str, Any]
    environment: dict[str, str]
    source: str = "file"
    clock_jumps: bool = False

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def journal(self) -> Path:
        return self.folder / f"journal-{self.number}"

    @property
    def rejected(self) -> Path:
        return self.folder / ("rejected.jsonl" if self.number == 1 else f"rejected.try{self.number}.jsonl")

    @property
    def _end(self) -> Path:
        return self.folder / f"end-{self.number}"

    def note_end(self, state: str, cause: BaseException | None = None) -> None:
        self._end.write_text(state if cause is None else f"{state} ({type(cause).__name__})")

    def end(self) -> str | None:
        """The state that Airflow would give the task, with the error's name; None for a try that was killed."""
        return self._end.read_text() if self._end.exists() else None


class FileStateStore:
    """Airflow's task state store as a task sees it: a value that was set outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Any:
        return json.loads(self._path.read_text()).get(key) if self._path.exists() else None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps({key: value}))
        written.replace(self._path)


def adjust_connection(url: str, **extra: Any) -> str:
    """The connection to the stand-in, or to the outage that takes its place."""
    extra = {"app_token": "4w565xzmb54d", "environment": "sandbox", "connect_timeout": 1, "read_timeout": 1, **extra}
    return json.dumps({"conn_type": "adjust", "host": url, "password": S2S_TOKEN, "extra": extra})


class Tries:
    """Starts tries from a process that has imported Airflow once for all of them."""

    def __init__(self) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(_PRELOADED)

    @contextmanager
    def running(self, this: Try) -> Iterator[BaseProcess]:
        """The try's process; it has ended when the block is left."""
        process = self._processes.Process(target=run_try, args=(this,), name=this.name)
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()


def run_try(this: Try) -> None:
    """Run the operator once and leave a note of its end."""
    output = os.open(this.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(this.environment)
    keep_journal(this.journal)
    if this.clock_jumps:
        let_the_wall_clock_jump()
    operator = _operator(this)
    # The stand-in's Device API does not lag.
    sending = replace(operator.send_options(), lookups=LookupPolicy(wait=0.5, every=0.1))
    operator.send_options = lambda: sending
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ti = SimpleNamespace(dag_id="campaign", run_id=this.name, task_id="send", map_index=-1, try_number=this.number)
    try:
        operator.execute({"ti": ti, "task_state_store": FileStateStore(this.folder / "state.json")})
        this.note_end("success")
    except Exception as error:
        # As Airflow judges it: the task fails for good, or another try follows.
        if type(error).__name__ == "AirflowFailException":
            this.note_end("failed", error.__cause__ or error)
        else:
            this.note_end("up_for_retry", error)


def _operator(this: Try) -> Any:
    from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    shared: dict[str, Any] = {
        "task_id": "send",
        "event_token": EVENT_TOKEN,
        "id_field": "order_id",
        "event_id_param": "event_id",
        "rejected_path": (this.folder / "rejected.jsonl").as_uri(),
        "ledger_conn_id": "ledger" if "AIRFLOW_CONN_LEDGER" in this.environment else None,
        **this.options,
    }
    if this.source == "file":
        return AdjustSendEventsOperator(events=this.rows.as_uri(), **shared)
    return SqlToAdjustOperator(sql=_QUERY, sql_conn_id="warehouse", fetch_size=50, **shared)
