"""Fixtures: an account at a local stand-in for Adjust, a ledger, and the command line within this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from operators.adjust_account import adjust, connect
from operators.old_ledger import ledger

from airflow_provider_adjust.__main__ import main

__all__ = ["adjust", "connect", "ledger"]


class Done(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process, which saves the seconds of an import of Airflow."""
    # The command sets the variable if it is missing. Set here, it is removed after the test.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")

    def cli(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return cli


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as JSON Lines."""

    def file_of(*rows: Any, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return file_of
