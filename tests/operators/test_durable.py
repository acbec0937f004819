"""Retries on a real Airflow: one continues where the first try stopped, one is not made because it could change nothing."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
from packaging.version import Version
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = pytest.mark.airflow

TOKEN = "s2s-token-of-the-test"


@pytest.fixture
def run_dag(airflow_db: Path, tmp_path: Path, adjust_sandbox: SandboxServer) -> Any:
    """Run a DAG of durable_dag.py to its end; returns the finished process."""
    adjust_sandbox.configure(tokens=[TOKEN])

    def run(dag_id: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        connection = {
            "conn_type": "adjust",
            "host": adjust_sandbox.url,
            "password": token,
            "extra": {"app_token": "4w565xzmb54d", "environment": "sandbox"},
        }
        environment = os.environ | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent.parent / "dags"),
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(connection),
            "TEST_START": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
            "TEST_REJECTED": (tmp_path / "rejected.jsonl").as_uri(),
        }
        return airflow_command("dags", "test", dag_id, env=environment)

    return run


@pytest.mark.skipif(Version(airflow.__version__) < Version("3.3"), reason="the task state store came with Airflow 3.3")
def test_a_retry_sends_only_what_the_first_try_did_not(
    run_dag: Any, adjust_sandbox: SandboxServer, tmp_path: Path
) -> None:
    done = run_dag("durable")

    assert "the database went away" in done.stdout + done.stderr
    assert "An earlier try settled 300 events" in done.stdout + done.stderr
    stats = adjust_sandbox.stats()
    assert stats["recorded"] == 399
    assert stats["repeated_event_ids"] == 0
    assert stats["order_violations"] == 0
    # What the first try refused is in the second try's file too, so that one file lists all.
    (line,) = (tmp_path / "rejected.try2.jsonl").read_text().splitlines()
    assert json.loads(line)["event_id"] == "order-10"


def test_a_wrong_token_is_not_retried(run_dag: Any, adjust_sandbox: SandboxServer) -> None:
    done = run_dag("refused", token="another-token")

    assert adjust_sandbox.stats()["requests"] == 1
    assert "put the app's S2S security token into the connection" in done.stdout + done.stderr
    assert "another-token" not in done.stdout + done.stderr
    assert "device-1" not in done.stdout + done.stderr
