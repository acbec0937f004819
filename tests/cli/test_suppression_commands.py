"""`suppression`: who may be asked for, what is shown, and that an id comes from stdin and goes nowhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, Connect, device, purchase, reveals
from operators.sending import operator

from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator
from airflow_provider_adjust.sandbox import SandboxServer

Cli = Callable[..., Any]
LEDGER = ("--ledger-conn-id", "adjust_ledger")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def opt_out(adjust: SandboxServer, *numbers: int) -> None:
    adjust.configure(opted_out_devices=[device(number) for number in numbers])
    rows = [purchase(number) for number in numbers]
    operator(rows, ledger_conn_id="adjust_ledger", tolerate=["device_opted_out"]).execute({})
    adjust.configure(opted_out_devices=[])


def test_devices_are_counted_checked_and_lifted(
    cli: Cli, adjust: SandboxServer, connect: Connect, ledger: sa.Engine, stdin: Callable[[str], None]
) -> None:
    assert cli("suppression", "count", *LEDGER).out == "No device is suppressed\n"
    opt_out(adjust, 1, 2)
    connect(adjust.url, gdpr_url=adjust.url)
    forget = {"task_id": "forget", "ledger_conn_id": "adjust_ledger", "confirm": "permanently"}
    AdjustForgetDevicesOperator(devices=[{"gps_adid": device(3)}], asked_by="ticket 17", **forget).execute({})

    counted = cli("suppression", "count", *LEDGER).out
    [opted_out] = [line.split() for line in counted.splitlines() if "opted_out" in line]
    assert opted_out[:4] == [APP_TOKEN, "production", "loopback", "opted_out"]
    assert opted_out[-2] == "2"

    stdin(f"gps_adid={device(1).upper()}\n\ngps_adid = {device(3)}\nidfa={device(1)}\n")
    done = cli("suppression", "check", *LEDGER)
    said = done.out.splitlines()
    assert "Device 1 (gps_adid): suppressed since" in done.out
    assert "for ticket 17, answered 200" in " ".join(done.out.split())
    assert "Device 3 (idfa): not suppressed, and never erased" in done.out
    assert (done.code, done.err) == (0, ""), said

    stdin(f"gps_adid={device(1)}\n")
    done = cli("suppression", "lift", *LEDGER)
    assert done.out.startswith("1 ids would not be suppressed any more. Nothing was changed")
    stdin(f"gps_adid={device(1)}\n")
    lifted = cli("suppression", "lift", *LEDGER, "--yes")
    assert lifted.out.startswith("1 ids are not suppressed any more")
    changed = purchase(1, revenue="7")
    assert operator([changed], ledger_conn_id="adjust_ledger").execute({})["delivered"] == 1
    shown = [each for each in reveals(counted + done.out + lifted.out) if each != APP_TOKEN]
    assert shown == []


def test_a_lost_key_is_reported(
    cli: Cli, adjust: SandboxServer, connect: Connect, ledger: sa.Engine, stdin: Callable[[str], None]
) -> None:
    opt_out(adjust, 1)
    connect(adjust.url, token="anotherTokenThatIsNew")
    assert "not the connection's" in cli("suppression", "count", *LEDGER).out
    for command in ("check", "lift"):
        stdin(f"gps_adid={device(1)}")
        assert "1 ids are suppressed under a digest key that the connection does not have" in " ".join(
            cli("suppression", command, *LEDGER).err.split()
        )


def test_what_names_no_device_or_no_app_is_refused_and_not_repeated(
    cli: Cli, adjust: SandboxServer, connect: Connect, ledger: sa.Engine, stdin: Callable[[str], None]
) -> None:
    for text in (device(1), f"order_id={device(1)}", "gps_adid=", "", f"gps_adid={device(1) * 40}"):
        stdin(text)
        done = cli("suppression", "check", *LEDGER)
        assert (done.code, reveals(done.err)) == (2, [])
    connect(adjust.url, gdpr_url=adjust.url, app_token=None)
    stdin(f"gps_adid={device(1)}")
    assert "needs an app token" in " ".join(cli("suppression", "check", *LEDGER).err.split())


def test_a_terminal_is_asked_by_a_prompt_that_does_not_show_the_id(
    cli: Cli, adjust: SandboxServer, ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt_out(adjust, 1)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"gps_adid={device(1)}")
    assert "Device 1 (gps_adid): suppressed since" in cli("suppression", "check", *LEDGER).out
