"""Sending tasks that are killed lose nothing, send nothing twice that was not in doubt, and keep the order: `make crashes`,
in short. scripts/campaign/crashes.py says what it does and checks.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from running_campaign import run


def campaign(folder: Path, *, kills: int, rows: int, seconds: int, only: str = "") -> str:
    options = ("--seed", "1", "--keep", str(folder / "campaign"), "--kills", str(kills), "--rows", str(rows))
    options += ("--only", only)
    return run("crashes", *options, seconds=seconds)


def kills_of(output: str) -> int:
    (kills,) = re.findall(r"^(\d+) kills in .*: every promise kept$", output, re.MULTILINE)
    return int(kills)


@pytest.mark.airflow
def test_ten_kills(tmp_path: Path) -> None:
    output = campaign(tmp_path, kills=10, rows=500, seconds=600, only=r"^(checkpoint|sqlite|postgres), \w+$")

    assert kills_of(output) >= 8, "too few kills came before their try was done"
    assert "sqlite, hold" in output


@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path) -> None:
    assert kills_of(campaign(tmp_path, kills=200, rows=2500, seconds=3600)) >= 200
