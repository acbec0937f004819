"""A campaign is a command, so that anybody can run it for longer; here it is run as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def command(module: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """The words, and the environment in which they work."""
    return [sys.executable, "-m", f"campaign.{module}", *options], os.environ | {"PYTHONPATH": str(SCRIPTS)}


def run(module: str, *options: str, seconds: int) -> str:
    """Run it to its end; return what it says."""
    words, environment = command(module, *options)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=seconds)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
