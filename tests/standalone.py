"""A real Airflow for what nothing less can show: `airflow standalone`, or its API server alone, in a home of its own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx

DAGS = Path(__file__).parent / "dags"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Standalone:
    """A running `airflow standalone`."""

    def __init__(self, process: subprocess.Popen[bytes], environment: dict[str, str], folder: Path) -> None:
        self.process = process
        self.environment = environment
        self.folder = folder
        self._others: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where its UI and its API are."""
        return f"http://127.0.0.1:{self.environment['AIRFLOW__API__PORT']}"

    def command(self, *words: str) -> str:
        """Run an `airflow` command and return what it prints."""
        return _run(words, self.environment)

    __call__ = command

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start another of Airflow's processes, which ends with the others."""
        with (self.folder / f"{words[0]}.log").open("w") as log:
            process = _started(words, self.environment, log)
        self._others.append(process)
        return process

    def end(self) -> None:
        """End all of them, at once."""
        for process in (self.process, *self._others):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def knows(self, dag_id: str) -> bool:
        """Tell whether the DAG is there."""
        try:
            return bool(self._query("SELECT 1 FROM serialized_dag WHERE dag_id = ?", dag_id))
        except sqlite3.OperationalError:  # Airflow is still making its tables
            return False

    def states(self, dag_id: str) -> dict[str, str | None]:
        """The state of each task of the DAG's only run."""
        return dict(self._query("SELECT task_id, state FROM task_instance WHERE dag_id = ?", dag_id))

    def _query(self, query: str, *values: str) -> list[Any]:
        # A command of Airflow's own would take seconds for each look.
        with closing(sqlite3.connect(self.folder / "airflow.db", timeout=30)) as database:
            return database.execute(query, values).fetchall()


def own_environment(folder: Path, dags: Path, **settings: str) -> dict[str, str]:
    """The environment of an Airflow with a home and ports of its own."""
    port = free_port()
    return os.environ | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TEST_FOLDER": str(folder),
        **settings,
    }


@contextmanager
def standalone(folder: Path, dags: Path, dag_id: str, **settings: str) -> Iterator[Standalone]:
    """Run `airflow standalone` until the DAG is there, and end all that it started."""
    environment = own_environment(folder, dags, **settings)
    with (folder / "standalone.log").open("w") as log:
        process = _started(("standalone",), environment, log)
        airflow = Standalone(process, environment, folder)
        try:
            wait_for("the DAG", lambda: airflow.knows(dag_id), seconds=300)
            yield airflow
        finally:
            airflow.end()


@contextmanager
def lone_api_server(folder: Path, dags: Path, **settings: str) -> Iterator[Standalone]:
    """Run the API server alone: `airflow standalone` insists on the simple auth manager."""
    environment = own_environment(folder, dags, **settings)
    _run(("db", "migrate"), environment)
    with (folder / "api-server.log").open("w") as log:
        airflow = Standalone(_started(("api-server",), environment, log), environment, folder)
        try:
            wait_for("the API server", lambda: _answers(f"{airflow.url}/api/v2/version"))
            yield airflow
        finally:
            airflow.end()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False


def _run(words: tuple[str, ...], environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-m", "airflow", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _started(words: tuple[str, ...], environment: dict[str, str], log: IO[str]) -> subprocess.Popen[bytes]:
    # A session of its own, so that all that it starts can be ended with it.
    return subprocess.Popen(
        [sys.executable, "-m", "airflow", *words],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
