"""No fault and no outage loses an event, or leaves a task green over a missing one: scripts/fault_campaign.py, in short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fault_campaign.py"


@pytest.mark.slow
@pytest.mark.airflow
def test_every_fault_and_every_outage(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--events", "6000", "--keep", str(tmp_path / "campaign")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "nothing lost, nothing silently green" in done.stdout
