"""Sending tasks that are killed lose nothing, send nothing twice that was not in doubt, and keep the order.

The campaign is a script, so that anybody can run it for longer: scripts/crash_campaign.py says what it does and checks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "crash_campaign.py"


def campaign(folder: Path, *, kills: int, rows: int, seconds: int) -> str:
    command = [sys.executable, str(SCRIPT), "--seed", "1", "--keep", str(folder / "campaign")]
    command += ["--kills", str(kills), "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def kills_of(output: str) -> int:
    (kills,) = re.findall(r"^(\d+) kills in .*: every promise kept$", output, re.MULTILINE)
    return int(kills)


@pytest.mark.airflow
def test_ten_kills(tmp_path: Path) -> None:
    output = campaign(tmp_path, kills=10, rows=500, seconds=180)

    assert kills_of(output) >= 8, "too few kills came before their try was done"
    assert "sqlite, hold" in output


@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path) -> None:
    assert kills_of(campaign(tmp_path, kills=200, rows=2500, seconds=3600)) >= 200
