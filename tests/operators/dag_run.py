"""A DAG's run on a real Airflow against a local stand-in for Adjust, and what is left of it."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, recorded
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer


class DagRun(NamedTuple):
    """The folder that the DAG knows as TEST_FOLDER, what Airflow said and kept, and the ids that Adjust recorded."""

    folder: Path
    log: str
    code: int
    recorded: list[str | None]
    database: Path

    def kept(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of Airflow's metadata database."""
        with sqlite3.connect(self.database) as database:
            return database.execute(query).fetchall()

    @property
    def results(self) -> dict[str, Any]:
        """What a task of the DAG has written to `results.json`."""
        results: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return results


def run_dag(code: str, dag_id: str, folder: Path, airflow_home: Path, **environment: str) -> DagRun:
    """Run the DAG to its end; `adjust_default` leads to a stand-in of its own."""
    (folder / "dags").mkdir()
    (folder / "dags" / f"{dag_id}.py").write_text(code)
    with SandboxServer(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN], event_tokens=[EVENT_TOKEN]) as sandbox:
        adjust = {"app_token": APP_TOKEN, "environment": "production"}
        connection = {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": adjust}
        known = os.environ | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(connection),
            "TEST_FOLDER": str(folder),
        }
        done = airflow_command("dags", "test", dag_id, env=known | environment)
        events = recorded(sandbox)
    log = done.stdout + done.stderr
    (folder / "log.txt").write_text(log)
    return DagRun(folder, log, done.returncode, events, airflow_home / "airflow.db")
