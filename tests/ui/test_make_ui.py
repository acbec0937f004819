"""`make ui`: it says where Airflow is, has it run, and leaves nothing behind when it is stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
from local_airflow import free_port

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "ui.py"

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_url_and_stops_everything_that_it_has_started(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-u", str(SCRIPT), "--port", str(free_port()), "--home", str(tmp_path / "ui")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    try:
        said = ""
        while "Ctrl-C stops everything" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        addresses = re.findall(r"http://127\.0\.0\.1:\d+\S*", said)
        assert [requests.get(address, timeout=60).status_code for address in addresses] == [200, 200]
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 4  # Airflow itself, its scheduler, DAG processor, API server and triggerer
    finally:
        process.send_signal(number)
        process.wait(120)
    assert process.returncode == 0
    assert "Airflow has stopped" in process.stdout.read()
    assert not [child for child in family if child.is_running()]
    with pytest.raises(requests.ConnectionError):
        requests.get(addresses[0], timeout=5)
