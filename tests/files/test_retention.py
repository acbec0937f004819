"""Old rejected files and responses files are deleted, and no other file; an error is never raised."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files import retention
from airflow_provider_adjust.files.receipt_files import ReceiptFile
from airflow_provider_adjust.files.retention import check_retention, prune_files
from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

RECEIPT = Receipt(Outcome.REJECTED, "device_not_found", "o-1", 1, row={"order_id": 1})
REJECTED, RESPONSE = rejected_line(RECEIPT), response_line(RECEIPT)
#: What others may keep in the same folder, and how old.
OTHERS = {
    "rows.jsonl": '{"order_id": "1", "event_id": "o-1", "row": {}}\n',
    "of another tool.jsonl": json.dumps(dict.fromkeys(("position", "event_id", "outcome", "reason", "detail", "row"))),
    "more than a line.jsonl": json.dumps({**json.loads(REJECTED), "mine": 1}),
    "list.jsonl": f"[{REJECTED}]\n",
    "torn.jsonl": REJECTED[:40],
    "empty.jsonl": "",
    "no text.jsonl": "\x00\x7f",
    "deep.jsonl": "[" * 100_000,
    "later.jsonl": f"{{}}\n{REJECTED}\n",
    "rejected.json": REJECTED,
    "rejected.jsonl.bak": REJECTED,
    "more than a response.jsonl": '{"event_id": "o-1", "response": {}, "mine": 1}\n',
}
DAY = timedelta(days=1)


def written(path: Path, line: str, age: timedelta) -> Path:
    with ReceiptFile.of_try(str(path), None) as file:
        file.write(line)
    return aged(path, age)


def aged(path: Path, age: timedelta) -> Path:
    moment = time.time() - age.total_seconds()
    os.utime(path, (moment, moment), follow_symlinks=False)
    return path


def prune(*folders: Path, below: bool = False) -> tuple[int, int]:
    done = prune_files([ObjectStoragePath(str(each)) for each in folders], older_than=30 * DAY, below=below)
    return done.deleted, done.failed


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_only_files_that_this_project_wrote_and_that_are_old_are_deleted(tmp_path: Path) -> None:
    for age in (29, 31):
        written(tmp_path / f"rejected{age}.jsonl", REJECTED, age * DAY)
        written(tmp_path / f"responses{age}.jsonl", RESPONSE, age * DAY)
    written(tmp_path / "below" / "rejected.jsonl", REJECTED, 99 * DAY)
    for name, text in OTHERS.items():
        (tmp_path / name).write_text(text)
        aged(tmp_path / name, 99 * DAY)
    kept = {*OTHERS, "rejected29.jsonl", "responses29.jsonl"}
    assert prune(tmp_path, tmp_path) == (2, 0)
    assert names(tmp_path) == kept | {"below/rejected.jsonl"}
    assert prune(tmp_path, below=True) == (1, 0)
    assert names(tmp_path) == kept


def test_links_are_not_followed(tmp_path: Path) -> None:
    old = written(tmp_path / "elsewhere" / "rejected.jsonl", REJECTED, 99 * DAY)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, target in (("file.jsonl", old), ("folder", old.parent), ("nowhere.jsonl", tmp_path / "not there")):
        (folder / name).symlink_to(target)
        aged(folder / name, 99 * DAY)
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    assert prune(folder, below=True) == (0, 0)
    assert old.exists()
    assert len(list(folder.iterdir())) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "rejected.jsonl", REJECTED, 99 * DAY)
    os.chown(path, 12345, 12345)
    assert prune(tmp_path) == (0, 0)
    assert path.exists()


def test_a_folder_that_is_not_there_has_nothing_to_delete(tmp_path: Path) -> None:
    assert prune(tmp_path / "not there") == (0, 0)


def test_an_error_is_counted_and_logged_and_the_rest_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c", "d"):
        written(tmp_path / f"{name}.jsonl", REJECTED, 99 * DAY)
    original = ObjectStoragePath.unlink

    def unlink(path: ObjectStoragePath) -> None:
        if path.name == "b.jsonl":
            raise PermissionError("a secret of the storage")
        if path.name == "c.jsonl":
            raise FileNotFoundError("another task was faster")
        original(path)

    monkeypatch.setattr(ObjectStoragePath, "unlink", unlink)
    assert prune(tmp_path) == (2, 1)
    assert names(tmp_path) == {"b.jsonl", "c.jsonl"}
    assert "b.jsonl could not be deleted (PermissionError)" in caplog.text
    (tmp_path / "file").write_text("no folder")
    assert prune(tmp_path / "file") == (0, 1)
    assert "could not be searched for old files (NotADirectoryError)" in caplog.text
    assert "secret" not in caplog.text


def test_object_storage_is_asked_when_a_file_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "is_local", lambda path: False)
    written(tmp_path / "old.jsonl", REJECTED, 31 * DAY)
    written(tmp_path / "below" / "old.jsonl", RESPONSE, 31 * DAY)
    written(tmp_path / "new.jsonl", REJECTED, 29 * DAY)
    assert prune(tmp_path, below=True) == (2, 0)
    assert names(tmp_path) == {"new.jsonl"}
    fs = type(ObjectStoragePath(str(tmp_path)).fs)
    monkeypatch.setattr(fs, "modified", lambda self, path: datetime.now(UTC).replace(tzinfo=None) - 31 * DAY)
    assert prune(tmp_path) == (1, 0), "a storage may have times without an offset, in UTC"


def test_an_age_at_which_a_retry_may_need_the_files_is_refused() -> None:
    for age in (timedelta(0), timedelta(hours=23), -DAY, 30, "30d"):
        with pytest.raises(
            AdjustConfigurationError, match=r"retain_for is .*; it must be a timedelta of at least one day"
        ):
            check_retention(age, argument="retain_for")  # type: ignore[arg-type]
    for good in (None, DAY, 30 * DAY):
        check_retention(good, argument="retain_for")
