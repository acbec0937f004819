"""The commands as processes: through Airflow's command line and our own, in a pipe, on a terminal, until Ctrl-C."""

from __future__ import annotations

import getpass
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import airflow
import pytest
import requests
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, purchase, recorded, reveals
from packaging.version import Version
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer

FileOf = Callable[..., Path]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")
OURS = [sys.executable, "-m", "airflow_provider_adjust"]
LAUNCHERS = [
    pytest.param(OURS, id="python -m"),
    pytest.param(
        [sys.executable, "-m", "airflow", "adjust"],
        id="airflow",
        marks=pytest.mark.skipif(
            Version(airflow.__version__) < Version("3.2"), reason="Airflow takes commands of providers from 3.2 on"
        ),
    ),
]

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_both_command_lines_say_the_same(launcher: list[str], file_of: FileOf, airflow_db: Path) -> None:
    path = file_of(purchase(1), purchase(2, revenue="-1"))
    done = subprocess.run([*launcher, "validate", str(path), *EVENT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout.startswith("Refused\nreason ")
    assert "valid         1  1.25 EUR\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert not reveals(done.stdout + done.stderr)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_sandbox_runs_until_it_is_interrupted(launcher: list[str], airflow_db: Path) -> None:
    command = [*launcher, "sandbox", "--port", "0", "--token", "T", "--no-enforce"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            match = re.fullmatch(r"Adjust sandbox listening on (http://127\.0\.0\.1:\d+)\n", line)
            assert match, line
            wrong = requests.post(f"{match[1]}/event", headers={"Authorization": "Bearer wrong"}, timeout=5)
            assert wrong.status_code == 202
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_sandbox_that_cannot_start_says_why(airflow_db: Path) -> None:
    command = [*OURS, "sandbox", "--port", "0", "--faults", "explode=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "the sandbox cannot start: unknown fault 'explode'" in done.stderr


def test_connections_of_the_metadata_database_are_found(
    adjust_sandbox: SandboxServer, file_of: FileOf, airflow_db: Path
) -> None:
    adjust_sandbox.configure(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN])
    extra = json.dumps({"app_token": APP_TOKEN, "environment": "production"})
    add = ["connections", "add", "in_the_database", "--conn-type", "adjust", "--conn-host", adjust_sandbox.url]
    add += ["--conn-password", S2S_TOKEN, "--conn-extra", extra]
    airflow_command(*add).check_returncode()
    send = ["send", str(file_of(purchase(1))), *EVENT, "--adjust-conn-id", "in_the_database"]
    done = subprocess.run([*OURS, *send], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(recorded(adjust_sandbox)) == 1
    with closing(sqlite3.connect(airflow_db / "airflow.db")) as database:
        [(owner, extra)] = database.execute(
            "SELECT owner, extra FROM log WHERE event = 'cli_adjust_send' AND extra LIKE '%in_the_database%'"
        )
    assert owner == getpass.getuser()
    assert S2S_TOKEN not in extra


def test_a_closed_pipe_is_not_an_error(file_of: FileOf, airflow_db: Path) -> None:
    path = file_of(*map(purchase, range(3000)))
    preview = f"{' '.join(OURS)} preview {path} {' '.join(EVENT)} -n 3000"
    command = ["bash", "-o", "pipefail", "-c", f"{preview} | head -n 1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("Row 1, event o-0, ")
    assert done.returncode == 0
    assert "BrokenPipe" not in done.stderr


def test_a_closed_pipe_does_not_turn_a_failed_delivery_into_a_success(
    adjust: SandboxServer, file_of: FileOf, airflow_db: Path
) -> None:
    """Not even its first line is read: the file is sent all the same, and the exit code says how that went."""
    path = file_of(*map(purchase, range(300)), purchase(300, revenue="-1"))
    for command, code in ((f"send {path}", 1), (f"validate {path}", 1), (f"send {path} --max-rejected 1", 0)):
        piped = f"{' '.join(OURS)} {command} {' '.join(EVENT)} | true"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", piped], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert "BrokenPipe" not in done.stderr
    assert adjust.stats()["requests"] == 600


def on_a_terminal(command: list[str], **environment: str) -> tuple[int, str]:
    """Run the command with a terminal of its own; return its exit code and all that it wrote."""
    terminal, side = pty.openpty()
    settings = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    settings |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"} | environment
    process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=settings)
    os.close(side)
    written = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the other side is closed: the process has ended
            break
        written += chunk
    os.close(terminal)
    return process.wait(timeout=60), written.decode()


RED, GREEN = "\x1b[31m", "\x1b[32m"


def test_a_terminal_gets_coloured_tables(file_of: FileOf, airflow_db: Path) -> None:
    command = [*OURS, "validate", str(file_of(purchase(1), purchase(2, revenue="-1"))), *EVENT]
    code, text = on_a_terminal(command)
    assert code == 1
    assert "╭─" in text
    assert RED in text
    assert GREEN in text
    code, text = on_a_terminal(command, NO_COLOR="1")
    assert code == 1
    assert "╭─" in text
    assert RED not in text
    assert GREEN not in text


def test_a_terminal_gets_a_progress_bar_while_events_are_sent(
    adjust: SandboxServer, tmp_path: Path, airflow_db: Path
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([purchase(number) for number in range(200)]))
    adjust.configure(latency=0.1)
    code, text = on_a_terminal([*OURS, "send", str(path), *EVENT])
    assert code == 0, text
    assert "Sending" in text
    counts = [int(count) for count in re.findall(r"(\d+) events", text)]
    assert any(0 < count < 200 for count in counts), counts
    assert "━" in text
    assert re.search(r"\d/s", text)
    assert re.search(r"\d+ %", text)
    assert adjust.stats()["recorded"] == 200


def test_ctrl_c_waits_for_requests_in_flight_and_sends_nothing_more(
    adjust: SandboxServer, file_of: FileOf, airflow_db: Path
) -> None:
    adjust.configure(latency=0.2)
    path = file_of(*map(purchase, range(2000)))
    command = [*OURS, "send", str(path), *EVENT, "--max-in-flight", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while adjust.stats()["requests"] == 0:
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 3
    assert "Error: received SIGINT" in err
    said = re.search(r"delivered +(\d+)", out)
    assert said
    assert 0 < int(said[1]) == adjust.stats()["recorded"] < 2000


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_help_breaks_between_words(launcher: list[str], airflow_db: Path) -> None:
    code, text = on_a_terminal([*launcher, "send", "--help"], COLUMNS="60", NO_COLOR="1")
    assert code == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    # Above them is the usage, in which a name with its choices stays in one piece.
    told = [line for line in lines if not line.lstrip().startswith("[")]
    assert max(map(len, told)) <= 60, max(told, key=len)
    shown = " ".join(" ".join(lines).split())
    assert "the connection (default: adjust_default)" in shown
    assert "how many events may be refused: a count such as 5, or a share such as 0.02 (default: 0)" in shown


def test_what_airflow_imports_at_every_start_is_light() -> None:
    """Airflow's command line asks every provider for its commands, whichever is run."""
    code = (
        "import sys\n"
        "import airflow_provider_adjust.cli.airflow_cli\n"
        "heavy = {'airflow', 'rich', 'requests', 'jsonschema', 'pendulum', 'sqlalchemy', 'starlette', 'uvicorn'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
