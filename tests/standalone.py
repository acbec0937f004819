"""A real Airflow for what nothing less can show: scripts/local_airflow.py's, with its command line and its database."""

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

from local_airflow import free_port, own_settings, running

__all__ = ["DAGS", "Standalone", "free_port", "own_environment", "standalone", "wait_for"]

DAGS = Path(__file__).parent / "dags"


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Standalone:
    """A running `airflow standalone`, and what was started beside it."""

    def __init__(self, environment: dict[str, str], folder: Path, parts: ExitStack) -> None:
        self.environment = environment
        self.folder = folder
        self._parts = parts
        self.process = self.start("standalone")

    def command(self, *words: str) -> str:
        """Run an `airflow` command and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *words], env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    __call__ = command

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start another of Airflow's processes, which ends with the others."""
        return self._parts.enter_context(running(words, self.environment, self.folder / f"{words[0]}.log"))

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
    """Run `airflow standalone` until the DAG is there, and end all that it started."""
    with ExitStack() as parts:
        airflow = Standalone(own_environment(folder, dags, **settings), folder, parts)
        wait_for("the DAG", lambda: airflow.knows(dag_id), seconds=300)
        yield airflow
