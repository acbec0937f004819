"""A real scheduler, executor and API server for the tests that nothing less can serve: ``airflow standalone``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Command = Callable[..., str]


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


def own_environment(folder: Path, dags: Path, **environment: str) -> dict[str, str]:
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
        **environment,
    }


def command_line(environment: dict[str, str]) -> Command:
    """``airflow`` in that environment: takes its words, and returns what it prints."""

    def command(*words: str) -> str:
        airflow = [sys.executable, "-m", "airflow", *words]
        done = subprocess.run(airflow, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return command


@contextmanager
def running(name: str, words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A program that runs for as long as the context lasts, and writes to a log named after it."""
    with (folder / f"{name}.log").open("w") as log:
        # A session of its own, so that all that it starts can be ended with it.
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def knows_dag(command: Command, dag_id: str) -> bool:
    try:
        return dag_id in command("dags", "list", "-o", "plain")
    except AssertionError:  # the database is still being made
        return False


@contextmanager
def standalone(folder: Path, dags: Path, dag_id: str, **environment: str) -> Iterator[Command]:
    """Start it with a home and ports of its own, wait until it knows the DAG, and yield its command line."""
    own = own_environment(folder, dags, **environment)
    command = command_line(own)
    with running("standalone", [sys.executable, "-m", "airflow", "standalone"], folder, own):
        wait_for("the DAG", lambda: knows_dag(command, dag_id))
        yield command
