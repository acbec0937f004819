"""Airflow's command line from a process that has imported Airflow already: each command runs in a fork of it.

Importing Airflow costs seconds of a core, which `airflow dags test` would pay again for every test. The process waits
on its standard input, has one thread, and never touches a database, so a fork of it starts as a new process would.
What Airflow reads at its import (AIRFLOW_HOME, the logging level) is the same for every command. A test that sets one
of these starts a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import httpx

__all__ = ["airflow_command", "end_server"]

#: What most commands import, beside the command line itself.
_WARM = (
    "airflow.__main__",
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.dag_command",
    "airflow.dag_processing.collection",
    "airflow.models.renderedtifields",
    "airflow.models.trigger",
    "airflow.providers.common.sql.hooks.sql",
    "airflow.providers.sqlite.hooks.sqlite",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.serialization.serialized_objects",
    "airflow.timetables.trigger",
    "airflow_provider_adjust.cli.send",
    "airflow_provider_adjust.decorators.adjust_events",
    "airflow_provider_adjust.deliveries_page.plugin",
    "airflow_provider_adjust.operators.adjust_reconcile",
    "airflow_provider_adjust.sensors.adjust_events_ready",
    "airflow_provider_adjust.sensors.adjust_events_reported",
    "airflow_provider_adjust.transfers.sql_to_adjust",
    "alembic.command",
    "alembic.runtime.migration",
    "anyio._backends._asyncio",
    "pycurl",
)


def airflow_command(
    *words: str, env: Mapping[str, str] | None = None, timeout: int = 180
) -> subprocess.CompletedProcess[str]:
    """Run an `airflow` command to its end, as `subprocess.run` would with its output captured.

    :param env: the whole environment of the command, this process's where it is None.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        request = {
            "words": words,
            "environment": dict(os.environ if env is None else env),
            "out": str(out),
            "err": str(err),
            "timeout": timeout,
            "folder": str(Path.cwd()),
        }
        code = _server().ask(request)
        return subprocess.CompletedProcess(["airflow", *words], code, out.read_text(), err.read_text())


def end_server() -> None:
    """End the process that has imported Airflow, where one was started."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


class _Server:
    """The process that has imported Airflow."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, request: dict[str, Any]) -> int:
        """Have a command run; return its exit code, or the negative of the signal that ended it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Let the process end, which it does at the end of its input."""
        self._process.communicate()


@cache
def _server() -> _Server:
    return _Server()


def _serve(answers: TextIO) -> dict[str, Any]:
    """Fork for each request on standard input. Return in a child, with its request."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(request["timeout"])
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Turn this process into the one that was asked for."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number, path in ((1, request["out"]), (2, request["err"])):
        target = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(target, number)
        os.close(target)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["airflow", *request["words"]]


async def _answer_once(app: Any) -> None:
    """Have the API that `dags test` asks build its routes, which takes longer than the run of a DAG."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client:
        await client.get("/")


def main() -> None:
    gc.disable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow's output during import is not an answer
    for module in _WARM:
        with suppress(ImportError):  # the oldest Airflow lacks some, and imports them when it needs them
            importlib.import_module(module)
    with suppress(ImportError, AttributeError):
        from airflow.sdk.execution_time.supervisor import in_process_api_server

        asyncio.run(_answer_once(in_process_api_server().app))
    threads = os.listdir("/proc/self/task") if sys.platform == "linux" else ["one"]
    assert len(threads) == 1, "a fork would lack the other threads"
    gc.freeze()  # a child need not go through what was imported, nor copy its pages
    _become(_serve(answers))
    gc.enable()

    from airflow import settings
    from airflow.__main__ import main as airflow_main

    settings.initialize()  # the folder of the DAGs, the database
    airflow_main()


if __name__ == "__main__":
    main()
