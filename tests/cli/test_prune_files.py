"""`files prune`: which folder it looks in, how old the files must be, and the exit codes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

Cli = Callable[..., Any]
RESPONSE = '{"event_id": "o-1", "response": {"status": "OK"}}\n'


def old(path: Path, days: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RESPONSE)
    moment = time.time() - days * 86_400
    os.utime(path, (moment, moment))
    return path


def test_old_files_below_the_configured_folder_or_the_given_one_are_deleted(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path / "files"))
    configured = [old(tmp_path / "files" / "responses" / f"{days}.jsonl", days) for days in (20, 40)]
    given = old(tmp_path / "given" / "40.jsonl", 40)

    done = cli("files", "prune")
    assert (done.code, "give --older-than-days" in done.err) == (2, True), done
    for days in ("0", "-1"):
        done = cli("files", "prune", "--older-than-days", days)
        assert (done.code, "at least one day" in done.err) == (2, True), done
    assert all(path.exists() for path in (*configured, given))

    done = cli("files", "prune", "--older-than-days", "30")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"1 rejected and responses files older than 30 days were deleted below {tmp_path}/files\n"
    assert [path.exists() for path in (*configured, given)] == [True, False, True]

    monkeypatch.setenv("AIRFLOW__ADJUST__RETAIN_FILES_FOR", "10")
    monkeypatch.chdir(tmp_path)
    assert cli("files", "prune", "given").code == 0
    assert [path.exists() for path in (*configured, given)] == [True, False, False]
    assert cli("files", "prune").code == 0
    assert not configured[0].exists()


def test_an_invalid_number_of_days_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("a month", "30d", "0", "-1", "1.5"):
        monkeypatch.setenv("AIRFLOW__ADJUST__RETAIN_FILES_FOR", written)
        done = cli("files", "prune")
        assert (done.code, "whole number of days" in done.err) == (2, True), done


def test_files_that_cannot_be_deleted_are_reported(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path / "40.jsonl", 40)

    def unlink(path: ObjectStoragePath) -> None:
        raise PermissionError

    monkeypatch.setattr(ObjectStoragePath, "unlink", unlink)
    done = cli("files", "prune", tmp_path, "--older-than-days", "30")
    assert (done.code, done.out.splitlines()[1]) == (3, "1 could not be searched or deleted; the log says which")
