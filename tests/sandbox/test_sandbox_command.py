"""`python -m airflow_provider_adjust.sandbox`, as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from sandbox_event import EVENT_OF_NOW

COMMAND = [sys.executable, "-m", "airflow_provider_adjust.sandbox", "--port", "0"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        match = re.fullmatch(r"Adjust sandbox listening on (http://127\.0\.0\.1:\d+)\n", line)
        assert match, line
        yield process, match[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: int) -> None:
    with running() as (process, _):
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


def test_every_option_reaches_the_sandbox() -> None:
    options = (
        "--token T --token U --app-token 4w565xzmb54d --event-token f0ob4r --unique-event-token f0ob4r"
        " --unknown-device gone --opted-out-device out --inactive-app-token off --api-token A --unknown-share 0"
        " --latency 0.001 --faults 503=1.0 --seed 1 --retry-after 1 --stall-seconds 1 --slow-seconds 1"
        " --no-enforce --no-keep-events"
    )
    with running(*options.split()) as (_, url):

        def send(token: str, **changes: str) -> requests.Response:
            return requests.post(
                f"{url}/event",
                data={**EVENT_OF_NOW, **changes},
                headers={"Authorization": f"Bearer {token}"},
                timeout=5,
            )

        faulty = send("T")
        assert (faulty.status_code, faulty.headers["Retry-After"]) == (503, "1")
        requests.post(f"{url}/_sandbox/config", json={"faults": ""}, timeout=5)
        cases = [
            ("wrong", {}, 202),
            ("T", {"app_token": "other"}, 404),
            ("T", {"event_token": "other"}, 400),
            ("T", {"gps_adid": "gone"}, 404),
            ("T", {"gps_adid": "out"}, 451),
            ("T", {}, 200),
            ("U", {}, 400),  # the event is unique
        ]
        assert [send(token, **changes).status_code for token, changes, _ in cases] == [status for *_, status in cases]
        assert requests.get(f"{url}/_sandbox/events", timeout=5).json() == []
        assert requests.get(f"{url}/device_service/api/v2/inspect_device", timeout=5).status_code == 401


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--faults", "explode=1"], "unknown fault 'explode'"),
        (["--unknown-share", "2"], "unknown_share must be between 0 and 1"),
        (["--host", "0.0.0.0"], "loopback"),
        (["--port", "70000"], "port"),
    ],
)
def test_an_invalid_option_is_explained(options: list[str], message: str) -> None:
    result = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=20, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
