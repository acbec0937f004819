"""Airflow's audit log has who ran which command that changes something, and no secret and no person."""

from __future__ import annotations

import getpass
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.utils.session import create_session
from operators.adjust_account import EVENT_TOKEN, Connect, device, purchase, reveals

from airflow_provider_adjust.cli import audit
from airflow_provider_adjust.cli.audit import shown_arguments
from airflow_provider_adjust.cli.definition import ADJUST, Command, Group, Option
from airflow_provider_adjust.s2s.ledger.schema import tries
from airflow_provider_adjust.sandbox import SandboxServer

Cli = Callable[..., Any]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")

pytestmark = pytest.mark.airflow


def commands(group: Group = ADJUST, *names: str) -> Iterator[tuple[str, Command]]:
    for each in group.commands:
        path = (*names, each.name)
        if isinstance(each, Group):
            yield from commands(each, *path)
        else:
            yield " ".join(path), each


@pytest.fixture
def audited(airflow_db: Path) -> Callable[[], list[tuple[str, str, list[str]]]]:
    """What Airflow's audit log has since the test began: event, owner, command."""
    with create_session() as session:
        first = session.scalar(sa.select(sa.func.max(Log.id))) or 0

    def read() -> list[tuple[str, str, list[str]]]:
        with create_session() as session:
            found = session.scalars(sa.select(Log).where(Log.id > first).order_by(Log.id))
            return [(each.event, each.owner or "", json.loads(each.extra or "{}")["full_command"]) for each in found]

    return read


def test_only_commands_that_change_nothing_are_not_audited() -> None:
    assert {name for name, command in commands() if not command.audited} == {
        "validate",
        "preview",
        "check-query",
        "contract",
        "sandbox",
        "suppression check",
        "suppression count",
    }


def test_a_delivery_is_in_the_audit_log_and_in_the_ledger_with_its_user(
    cli: Cli, adjust: SandboxServer, connect: Connect, ledger: sa.Engine, file_of: Callable[..., Path], audited: Any
) -> None:
    path = file_of(purchase(1))
    assert cli("send", path, *EVENT, "--ledger-conn-id", "adjust_ledger").code == 0
    [(event, owner, command)] = audited()
    assert (event, owner) == ("cli_adjust_send", getpass.getuser())
    shown = ["airflow", "adjust", "send", str(path), *EVENT, "--ledger-conn-id", "adjust_ledger"]
    assert sorted(json.loads(command.replace("'", '"'))) == sorted(shown)
    assert not reveals(command)
    with ledger.connect() as connection:
        assert f" by {getpass.getuser()} " in str(connection.scalar(sa.select(tries.c.run_id)))


def test_a_command_that_fails_is_there_too_and_one_that_only_looks_is_not(
    cli: Cli, ledger: sa.Engine, file_of: Callable[..., Path], audited: Any
) -> None:
    assert cli("ledger", "prune", "--ledger-conn-id", "adjust_ledger", "--older-than-days", "1").code == 2
    assert cli("validate", file_of(purchase(1)), *EVENT).code == 0
    assert cli("preview", file_of(purchase(1)), *EVENT).code == 0
    assert [event for event, *_ in audited()] == ["cli_adjust_ledger_prune"]


def test_no_password_and_no_person_is_in_the_audit_log_however_it_is_written() -> None:
    flags = ("file", "--event-id", "--device", "--token-map", "--yes", "--no", "-n", "--left-out")
    options = [Option((flag,), {}) for flag in flags]
    command = Command("erase", "", "", [*options, Option(("-c", "--count"), {"default": 5})])
    given = Namespace(
        file="s3://key:secret/with/slash@bucket/rows.jsonl",
        event_id=["order-1", "order-2"],
        device=f"gps_adid={device(1)}",
        token_map=["a=b", "https://me:secret@example.com/x"],
        yes=True,
        no=False,
        n=0,
        count=5,
    )
    shown = list(shown_arguments(command, given))
    assert shown == [
        "s3://********@bucket/rows.jsonl",
        *("--event-id", "********", "--event-id", "********", "--device", "********"),
        *("--token-map", "a=b", "--token-map", "https://********@example.com/x"),
        *("--yes", "-n", "0"),
    ]


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError("no username")

    monkeypatch.setattr(audit.getpass, "getuser", fail)
    assert audit.current_user() == "unknown"
