"""A campaign that is stopped in its middle leaves no process, and no file in the folder for temporary ones."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from running_campaign import command

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize(
    ("module", "options", "number"),
    [
        ("crashes", ("--kills=10", "--rows=300"), signal.SIGINT),
        ("faults", ("--events=600", "--only=stall"), signal.SIGTERM),
    ],
)
def test_an_interrupted_campaign_leaves_nothing(
    tmp_path: Path, module: str, options: tuple[str, ...], number: signal.Signals
) -> None:
    words, environment = command(module, *options)
    process = subprocess.Popen(words, env=environment | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = ""
    while not line.startswith(("| stall_before 1%", "checkpoint, resend")):  # by then all of its parts are in use
        line = process.stdout.readline()
        assert line, "the campaign has ended too early"
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(60) == 130
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    # The Postgres wheel has one lock for all servers of a machine.
    assert {path.name for path in tmp_path.iterdir()} <= {".lockfile"}
