"""A real Airflow for what nothing less can show, whole or its API server alone, with its command line and its database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from local_airflow import free_port, own_settings, running

__all__ = ["DAGS", "Standalone", "free_port", "lone_api_server", "own_environment", "standalone", "wait_for"]

DAGS = Path(__file__).parent / "dags"


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Standalone:
    """An Airflow of this test's own, and its processes."""

    process: subprocess.Popen[bytes]

    def __init__(self, environment: dict[str, str], folder: Path, parts: ExitStack) -> None:
        self.environment = environment
        self.folder = folder
        self._parts = parts

    @property
    def url(self) -> str:
        """Where its UI and its API are."""
        return f"http://127.0.0.1:{self.environment['AIRFLOW__API__PORT']}"

    def command(self, *words: str) -> str:
        """Run an `airflow` command and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *words], env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    __call__ = command

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one of Airflow's processes, which ends with the others."""
        return self._parts.enter_context(running(words, self.environment, self.folder / f"{words[0]}.log"))

    def knows(self, dag_id: str) -> bool:
        """Whether Airflow has read the DAG."""
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
    """The environment of an Airflow with a home and ports of its own, and the secrets that all tests share."""
    own = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "TEST_FOLDER": str(folder),
    }
    return os.environ | own_settings(folder / "airflow", free_port()) | own | settings


@contextmanager
def standalone(folder: Path, dags: Path, dag_id: str, **settings: str) -> Iterator[Standalone]:
    """Run `airflow standalone` until it has read the DAG, and stop everything that it started."""
    with ExitStack() as parts:
        airflow = Standalone(own_environment(folder, dags, **settings), folder, parts)
        airflow.process = airflow.start("standalone")
        wait_for("the DAG", lambda: airflow.knows(dag_id), seconds=300)
        yield airflow


@contextmanager
def lone_api_server(folder: Path, dags: Path, **settings: str) -> Iterator[Standalone]:
    """Run the API server alone: `airflow standalone` insists on the simple auth manager."""
    with ExitStack() as parts:
        airflow = Standalone(own_environment(folder, dags, **settings), folder, parts)
        airflow.command("db", "migrate")
        airflow.process = airflow.start("api-server")
        wait_for("the API server", lambda: _answers(f"{airflow.url}/api/v2/version"))
        yield airflow


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False
