"""What a task waits for before it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow


def test_a_task_that_reads_no_database_loads_nothing_that_queries(tmp_path: Path) -> None:
    code = (
        "import sys; from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator; "
        "print([name for name in ('sqlparse', 'airflow.providers.common.sql.hooks.sql') if name in sys.modules])"
    )
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
