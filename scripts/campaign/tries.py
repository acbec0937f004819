"""The tries of a task. Each is a process of its own that runs the real operator as Airflow's task runner does."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_adjust.s2s import LookupPolicy
from campaign.clocks import continue_with_another_clock
from campaign.journal import keep_journal
from campaign.leases import shorten_leases
from campaign.pymysql_hook import use_pymysql
from campaign.rows import EVENT_TOKEN
from campaign.wall_clock import let_the_wall_clock_jump

S2S_TOKEN = "campaign-s2s-token"  # noqa: S105 - accepted by the stand-in only
API_TOKEN = "campaign-api-token"  # noqa: S105
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
FROM {table} ORDER BY position
"""
#: As a warehouse that is busy: a row takes a millisecond.
_SLOW_QUERY = f"SELECT slow.* FROM ({_QUERY}) AS slow, LATERAL pg_sleep(0.001 + 0 * length(slow.order_id)) AS pause"  # noqa: S608


@dataclass(frozen=True)
class Try:
    """One try of the task, with everything that its process needs."""

    folder: Path
    name: str
    number: int
    #: The operator's arguments beside those that are always the same.
    options: dict[str, Any]
    environment: dict[str, str]
    source: str = "file"
    clock_jumps: bool = False
    #: How far the worker's clock is from the others', as libfaketime reads it.
    clock: str = ""
    #: Seconds of a lease without a renewal; None uses the provider's default.
    lease: float | None = None
    #: Where the file of rejected rows and the task state are, if not in the folder.
    rejected_folder: Path | None = None
    store_folder: Path | None = None
    table: str = "purchases"
    #: The query that replaces the one for purchases.
    query: str = ""

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def journal(self) -> Path:
        return self.folder / f"journal-{self.number}"

    @property
    def rejected(self) -> Path:
        return self.first_rejected.with_stem("rejected" if self.number == 1 else f"rejected.try{self.number}")

    @property
    def first_rejected(self) -> Path:
        return (self.rejected_folder or self.folder) / "rejected.jsonl"

    @property
    def store(self) -> Path:
        return (self.store_folder or self.folder) / "state.json"

    @property
    def _result(self) -> Path:
        return self.folder / f"result-{self.number}"

    @property
    def _end(self) -> Path:
        return self.folder / f"end-{self.number}"

    def note_end(self, state: str, cause: BaseException | None = None) -> None:
        self._end.write_text(state if cause is None else f"{state} ({type(cause).__name__})")

    def note_result(self, result: dict[str, Any]) -> None:
        self._result.write_text(json.dumps(result))

    def result(self) -> dict[str, Any]:
        """How the task reported its end; empty for a try that ended before that."""
        return json.loads(self._result.read_text()) if self._result.exists() else {}

    def end(self) -> str | None:
        """The state that Airflow would give the task, with the error's name; None for a try that was killed."""
        return self._end.read_text() if self._end.exists() else None


class FileStateStore:
    """Airflow's task state store as a task sees it: a value that was set outlives the process.

    While there is a file beside it that says so, the API server is away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outage = outage_of(path)

    def get(self, key: str) -> Any:
        self._meet_outage()
        return json.loads(self._path.read_text()).get(key) if self._path.exists() else None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._meet_outage()
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps({key: value}))
        written.replace(self._path)

    def _meet_outage(self) -> None:
        if self._outage.exists():
            from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
            from airflow.sdk.execution_time.comms import ErrorResponse

            detail = {"status_code": 500, "message": "Internal Server Error"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


def outage_of(store: Path) -> Path:
    """The file that simulates an outage of the API server."""
    return store.with_suffix(".away")


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


def run_pickled(path: str) -> None:
    """Run the try that was written to a file."""
    run_try(pickle.loads(Path(path).read_bytes()))  # noqa: S301 - this program's own file


def run_try(this: Try) -> None:
    """Run the operator once and leave a note of its end."""
    if this.clock:
        pickled = this.folder / f"try-{this.number}"
        pickled.write_bytes(pickle.dumps(this))
        continue_with_another_clock(this.clock, pickled)
    output = os.open(this.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(this.environment)
    keep_journal(this.journal)
    use_pymysql()
    if this.clock_jumps:
        let_the_wall_clock_jump()
    # A try waits until the lease of a killed one has expired: here 3 s instead of a minute and a half.
    shorten_leases(3.0 if this.lease is None else this.lease)
    operator = _operator(this)
    # The stand-in's Device API does not lag.
    sending = replace(operator.send_options(), lookups=LookupPolicy(wait=0.5, every=0.1))
    operator.send_options = lambda: sending
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ti = SimpleNamespace(dag_id="campaign", run_id=this.name, task_id="send", map_index=-1, try_number=this.number)
    try:
        operator.execute({"ti": ti, "task_state_store": FileStateStore(this.store)})
        this.note_end("success")
    except Exception as error:
        # As Airflow judges it: the task fails for good, or another try follows.
        if type(error).__name__ == "AirflowFailException":
            this.note_end("failed", error.__cause__ or error)
        else:
            this.note_end("up_for_retry", error)
    finally:
        this.note_result(getattr(operator, "delivery_result", None) or {})


def _operator(this: Try) -> Any:
    from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    shared: dict[str, Any] = {
        "task_id": "send",
        "event_token": EVENT_TOKEN,
        "id_field": "order_id",
        "event_id_param": "event_id",
        "rejected_path": this.first_rejected.as_uri(),
        "ledger_conn_id": "ledger" if "AIRFLOW_CONN_LEDGER" in this.environment else None,
        **this.options,
    }
    if this.source == "file":
        return AdjustSendEventsOperator(events=this.rows.as_uri(), **shared)
    sql = this.query or (_SLOW_QUERY if this.source == "slow" else _QUERY).format(table=this.table)
    return SqlToAdjustOperator(sql=sql, sql_conn_id="warehouse", fetch_size=50, **shared)
