"""A temporary, complete Airflow on this machine: `airflow standalone`, its REST API, and a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

#: Seconds for Airflow's four parts to end by themselves.
_PATIENCE = 30


class AirflowIsBusy(RuntimeError):
    """Airflow answered 503 and did nothing: its database on SQLite takes one writer at a time."""


class LocalAirflow:
    """A running Airflow. It needs no login and listens on this machine only."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self._session = requests.Session()
        self._session.trust_env = False  # a user's proxy would not reach this machine

    def api(self, method: str, path: str, **body: Any) -> Any:
        """Call Airflow's REST API; return its answer.

        :raises AirflowIsBusy: Airflow asks to be called again.
        :raises RuntimeError: Airflow refuses the call.
        """
        if "Authorization" not in self._session.headers:
            token = self._session.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
            self._session.headers["Authorization"] = f"Bearer {token}"
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body or None, timeout=60)
        if not answer.ok:
            error = AirflowIsBusy if answer.status_code == requests.codes.service_unavailable else RuntimeError
            raise error(f"Airflow answers {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def call_until_done(self, method: str, path: str, **body: Any) -> None:
        """Call Airflow's REST API, and retry while it is busy."""

        def done() -> bool:
            with suppress(AirflowIsBusy):
                self.api(method, path, **body)
                return True
            return False

        self.wait_for(f"{method} {path}", done)

    def add_connection(self, connection_id: str, **fields: Any) -> None:
        """Save a connection where the UI shows it."""
        self.api("POST", "connections", connection_id=connection_id, **fields)

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = 300) -> Any:
        """Return the first value of the condition that is true.

        :raises RuntimeError: Airflow has ended, or the time is up.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"airflow standalone has ended with {self.process.returncode}; its log is {self.log}"
                )
            if found := condition():
                return found
            time.sleep(0.5)
        raise RuntimeError(f"waited {seconds:.0f} seconds for {what}; Airflow's log is {self.log}")

    def wait_until_ready(self, *dag_ids: str) -> None:
        """Return once the scheduler runs and the DAGs have been read."""

        def healthy() -> bool:
            with suppress(requests.ConnectionError):
                health = self.api("GET", "monitor/health")
                return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor"))
            return False

        self.wait_for("a healthy scheduler", healthy)
        self.wait_for(
            "the DAGs", lambda: set(dag_ids) <= {dag["dag_id"] for dag in self.api("GET", "dags?limit=500")["dags"]}
        )

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return how the run ended, or None while it has not."""
        state = self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state if state in {"success", "failed"} else None


@contextmanager
def local_airflow(home: Path, *, port: int | None = None, **settings: str) -> Iterator[LocalAirflow]:
    """Start Airflow with its own home and ports; stop it with everything that it has started."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = home / "standalone.log"
    with running(("standalone",), own_environment(home, port, **settings), log) as process:
        yield LocalAirflow(process, f"http://127.0.0.1:{port}", log)


def own_environment(home: Path, port: int, **settings: str) -> dict[str, str]:
    """The environment of an Airflow with a home and ports of its own; a developer's settings for theirs are left out."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    return inherited | own_settings(home, port) | settings


def own_settings(home: Path, port: int) -> dict[str, str]:
    """The variables of an Airflow with a home and ports of its own."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # On a busy machine SQLite's own 5 seconds are too few, and Airflow's API answers 500.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        # A task that does not reach the API server within 5 seconds fails, which is too short there as well.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


@contextmanager
def running(words: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of Airflow's commands; end it with all that it has started."""
    with log.open("w") as output:
        # In a new session: Ctrl-C reaches only the script, which then stops Airflow in order.
        process = subprocess.Popen(  # noqa: S603 - Airflow's own command line
            [sys.executable, "-m", "airflow", *words],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop Airflow like Ctrl-C, and then kill what is left."""
    family = _family(process.pid)
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    # Processes that it has started meanwhile are of its session.
    family |= {other for other in psutil.process_iter() if _session_of(other.pid) == process.pid}
    _, alive = psutil.wait_procs(family, timeout=5)
    for survivor in alive:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=5)
    process.wait()


def _family(pid: int) -> set[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def free_port(wanted: int = 0) -> int:
    """Return the wanted port, or another one where that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])
