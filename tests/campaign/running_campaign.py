"""Run a campaign as the command that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def command(module: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and its environment."""
    return [sys.executable, "-m", f"campaign.{module}", *options], os.environ | {"PYTHONPATH": str(SCRIPTS)}


def run(module: str, *options: str, seconds: int) -> str:
    """Run a campaign to its end; return its output."""
    words, environment = command(module, *options)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=seconds)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
