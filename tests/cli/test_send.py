"""`send`: the events at the stand-in, the output, and the exit codes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, device, purchase, recorded, reveals

from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.ledger.schema import deliveries, tries
from airflow_provider_adjust.sandbox import SandboxServer

Cli = Callable[..., Any]
FileOf = Callable[..., Path]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")


def test_a_file_is_sent(adjust: SandboxServer, cli: Cli, file_of: FileOf) -> None:
    done = cli("send", file_of(purchase(1), purchase(2)), *EVENT)
    assert (done.code, done.err) == (0, "")
    assert "delivered       2  2.50 EUR\n" in done.out
    where = f"{adjust.url}/event: app {APP_TOKEN[:4]}..., event token {EVENT_TOKEN}, environment production"
    where += ", a rehearsal: this host is not Adjust's"
    assert done.out.startswith(f"Sending to {where}; connection adjust_default, no ledger\n")
    assert re.search(rf"^Sent from \S+ to {re.escape(where)};", done.out, re.MULTILINE)
    assert sorted(filter(None, recorded(adjust))) == [device(1), device(2)]


def test_a_dry_run_reads_the_connection_and_sends_nothing(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, airflow_db: Path
) -> None:
    path = file_of(*map(purchase, range(9)))
    done = cli("send", path, *EVENT, "--dry-run")
    assert done.code == 0
    assert [line.split(",")[0] for line in done.out.splitlines() if line.startswith("Row ")] == [
        f"Row {number}" for number in range(1, 6)
    ]
    assert "valid         9  11.25 EUR\n" in done.out
    assert done.out.startswith(f"Would send to {adjust.url}/event: ")
    assert not reveals(done.out)
    assert adjust.stats()["requests"] == 0
    done = cli("send", path, *EVENT, "--dry-run", "--adjust-conn-id", "nowhere")
    assert (done.code, done.err.partition(";")[0]) == (
        2,
        "Error: there is no connection 'nowhere'",
    )


def test_what_is_not_delivered_is_listed_and_can_be_sent_again(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, tmp_path: Path
) -> None:
    adjust.configure(unknown_devices=[device(2)])
    rejected = tmp_path / "rejected.jsonl"
    options = (*EVENT, "--column-map", "gaid=gps_adid")
    rows = [purchase(number, gps_adid=...) | {"gaid": device(number)} for number in (1, 2, 3)]
    done = cli("send", file_of(*rows), *options, "--rejected-path", rejected)
    assert done.code == 1
    assert done.err == "Error: 1 of 3 events were refused; --max-rejected allows 0.\n"
    assert "rejected: device_not_found       1  1.25 EUR\n" in done.out
    assert f"1 device_not_found, 1.25 EUR: {reason_of('device_not_found').advice}\n  first: row 2 (event " in done.out
    assert f"listed with reasons in {rejected}" in done.out.replace("file://", "")
    assert not reveals(done.out + done.err)

    again = cli("send", rejected, *options, "--rejected-path", rejected)
    assert (again.code, "exists already" in again.err) == (2, True)
    adjust.configure(unknown_devices=[])
    assert cli("send", rejected, *options).code == 0
    assert recorded(adjust)[-1] == device(2)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 1),
        (("--max-rejected", "1"), 0),
        (("--max-rejected", "0.4"), 0),
        (("--max-rejected", "0.1"), 1),
        (("--tolerate", "device_not_found"), 0),
        (("--max-rejected", "-1"), 2),
        (("--rejected-path", "rejected.txt"), 2),
        (("--ledger-conn-id", "nowhere"), 2),
    ],
)
def test_the_failure_budget_is_the_operators(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, airflow_db: Path, options: tuple[str, ...], code: int
) -> None:
    adjust.configure(unknown_devices=[device(2)])
    assert cli("send", file_of(purchase(1), purchase(2), purchase(3)), *EVENT, *options).code == code
    assert adjust.stats()["requests"] == (0 if code == 2 else 3)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"tokens": ["another"]}, "Adjust refuses the whole batch"),
        ({"faults": "503=1", "retry_after": 900.0}, ""),
    ],
)
def test_a_delivery_that_stops_has_a_code_of_its_own(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, trouble: dict[str, Any], words: str
) -> None:
    adjust.configure(**trouble)
    done = cli("send", file_of(purchase(1), purchase(2)), *EVENT)
    assert done.code == 3
    assert done.err.startswith(f"Error: {words}")
    assert "read" in done.out
    assert not reveals(done.out + done.err)


def test_a_file_that_breaks_off_while_it_is_sent_ends_the_sending(
    adjust: SandboxServer, cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{json.dumps(purchase(n))}\n" for n in range(2000)).encode())[:-4000])
    done = cli("send", path, *EVENT)
    assert (done.code, done.err.partition(":")[0]) == (3, "EOFError")
    said = re.search(r"^delivered +([\d,]+)", done.out, re.MULTILINE)
    assert said
    # What was under way when the file broke off has no outcome to count.
    assert 0 < int(said[1].replace(",", "")) <= adjust.stats()["recorded"] < 2000


def test_with_a_ledger_a_file_that_is_sent_twice_arrives_once(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, ledger: sa.Engine
) -> None:
    options = (*EVENT, "--ledger-conn-id", "adjust_ledger")
    path = file_of(purchase(1), purchase(2))
    assert [cli("send", path, *options).code for _ in range(2)] == [0, 0]
    assert adjust.stats()["recorded"] == 2
    with ledger.connect() as connection:
        assert set(connection.execute(sa.select(deliveries.c.task_id)).scalars()) == {"airflow adjust send"}


def test_each_command_claims_events_as_a_task_of_its_own(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, ledger: sa.Engine
) -> None:
    """What one command has under way, another must not take for its own from an earlier try."""
    for number in (1, 2):
        cli("send", file_of(purchase(number)), *EVENT, "--ledger-conn-id", "adjust_ledger")
    with ledger.connect() as connection:
        assert len(set(connection.execute(sa.select(deliveries.c.run_id)).scalars())) == 2


@pytest.mark.parametrize("rows", [1, 500], ids=["at the end", "on the way"])
def test_a_ledger_that_fails_during_a_write_is_named_without_a_traceback(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, ledger: sa.Engine, rows: int
) -> None:
    with ledger.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER broken BEFORE UPDATE ON adjust_event BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
    done = cli("send", file_of(*map(purchase, range(rows))), *EVENT, "--ledger-conn-id", "adjust_ledger")
    assert (done.code, done.err.partition(":")[0]) == (3, "Error"), done.err
    assert "Traceback" not in done.err
    assert re.search(r"^delivered +\d", done.out, re.MULTILINE)


def test_the_ledger_records_a_command_that_fails_by_its_counts_as_failed(
    adjust: SandboxServer, cli: Cli, file_of: FileOf, ledger: sa.Engine
) -> None:
    adjust.configure(unknown_devices=[device(2)])
    options = (*EVENT, "--ledger-conn-id", "adjust_ledger")
    assert cli("send", file_of(purchase(1), purchase(2)), *options).code == 1
    assert cli("send", file_of(purchase(3)), *options).code == 0
    with ledger.connect() as connection:
        ends = connection.execute(sa.select(tries.c.state, tries.c.error).order_by(tries.c.id)).all()
    assert [state for state, _ in ends] == ["failed", "success"]
    assert ends[0].error.startswith("RejectedBudgetExceeded: 1 of 2 events were refused")


@pytest.mark.parametrize(
    ("connection", "code", "words"),
    [
        ({"conn_type": "sqlite", "host": "/nowhere/ledger.db"}, 3, "Error: the ledger of --ledger-conn-id"),
        ({"conn_type": "adjust"}, 2, "Error: --ledger-conn-id 'adjust_ledger' is a AdjustS2SHook"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_named_and_nothing_is_sent(
    adjust: SandboxServer,
    cli: Cli,
    file_of: FileOf,
    monkeypatch: pytest.MonkeyPatch,
    connection: dict[str, str],
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps(connection))
    for command in (("send", file_of(purchase(1)), *EVENT), ("ledger", "prune")):
        done = cli(*command, "--ledger-conn-id", "adjust_ledger")
        assert (done.code, words in done.err) == (code, True), done.err
        assert len(done.err.splitlines()) == 1
    assert adjust.stats()["requests"] == 0
