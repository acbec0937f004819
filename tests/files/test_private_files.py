"""Every file that holds rows or answers is for its owner alone, and no link is followed to write or to read it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import ObjectStoragePath

import airflow_provider_adjust
from airflow_provider_adjust.files.erasing import Subject, remove_lines
from airflow_provider_adjust.files.private import make_folder, new_file, open_own, open_private
from airflow_provider_adjust.files.receipt_files import ReceiptFile

LINE = '{"event_id": "o-1", "outcome": "rejected", "reason": "device_not_found"}'


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The umask that would let everybody read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def receipt_file(path: Path) -> None:
    with ReceiptFile.of_try(str(path), None) as file:
        file.write(LINE)


def carried_over(path: Path) -> None:
    """The file of a retry, which begins with the lines of the try before."""
    earlier = path.parent.parent / "earlier.jsonl"
    earlier.write_text(LINE + "\n")
    with ReceiptFile.of_try(str(path), None) as file:
        file.carry_over(str(earlier), 1)


def rows_of_a_task(path: Path) -> None:
    with open_private(str(path)) as file:
        file.write(LINE)


#: What makes a file of rows or answers, but for the ledger.
WRITERS: list[Callable[[Path], None]] = [receipt_file, carried_over, rows_of_a_task]


def test_every_module_that_writes_files_is_known() -> None:
    """Add a new writer to WRITERS, or give it its own test, and name it here."""
    known = {"files/private.py", "files/erasing.py", "s2s/ledger/sqlite_file.py", "sandbox/exports.py"}
    writing = re.compile(r"""O_CREAT|mkstemp|\.touch\(|\.mkdir\(|write_text|write_bytes|open\([^)\n]*["'][wax]""")
    package = Path(airflow_provider_adjust.__path__[0])
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if writing.search(path.read_text("utf-8"))
    }
    assert found == known


def test_a_file_from_which_an_event_was_erased_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_text(f"{LINE}\n{LINE.replace('o-1', 'o-2')}\n")
    remove_lines(ObjectStoragePath(str(path)), Subject({"o-1"}))
    assert mode(path) == 0o600
    assert "o-2" in path.read_text() != LINE


def test_files_and_the_folders_that_are_made_for_them_are_for_their_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for number, write in enumerate(WRITERS):
        path = tmp_path / f"made{number}" / "on demand" / "night.jsonl"
        (path.parent.parent).mkdir(0o750)
        write(path)
        assert (mode(path), mode(path.parent)) == (0o600, 0o700), write.__name__
        assert LINE in path.read_text()
        assert mode(path.parent.parent) == 0o750, "a folder that was there keeps its mode"


def test_no_link_in_a_files_place_is_followed(tmp_path: Path) -> None:
    """Neither one to a file of somebody else's, nor to a device, nor one that leads nowhere."""
    victim = tmp_path / "victim"
    for number, write in enumerate(WRITERS):
        for target in (victim, tmp_path / "not there", Path("/dev/null")):
            victim.write_text("precious")
            path = tmp_path / str(number) / target.name / "night.jsonl"
            path.parent.mkdir(parents=True)
            path.symlink_to(target)
            with suppress(OSError):  # a receipt file takes another name
                write(path)
            assert victim.read_text() == "precious", write.__name__
            assert not (tmp_path / "not there").exists(), write.__name__
            made = [each for each in path.parent.iterdir() if each != path]
            assert [(each.name, mode(each)) for each in made] == (
                [] if write is rows_of_a_task else [("night.2.jsonl", 0o600)]
            )


def test_a_folder_is_not_made_behind_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "not there")
    with pytest.raises(OSError, match="link"):
        make_folder(tmp_path / "link" / "below")
    assert not (tmp_path / "not there").exists()


def test_a_file_that_is_written_again_is_truncated_and_private(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("old and longer than what is new" * 9)
    assert mode(path) == 0o666
    rows_of_a_task(path)
    assert (path.read_text(), mode(path)) == (LINE, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_neither_written_nor_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(LINE + "\n")
    os.chown(path, 12345, 12345)
    with pytest.raises(PermissionError, match="another user's"):
        open_private(str(path))
    with pytest.raises(PermissionError, match="another user's"):
        open_own(path)
    with ReceiptFile.of_try(str(tmp_path / "night.jsonl"), None) as file:
        file.carry_over(str(path), 1)
    assert path.read_text() == LINE + "\n"
    assert file.written_to is None
    assert "is not used" in caplog.text


def test_lines_of_an_earlier_try_are_not_read_through_a_link_nor_from_a_pipe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "forged").write_text(LINE + "\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "forged")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("link.jsonl", "pipe.jsonl"):
        caplog.clear()
        with ReceiptFile.of_try(str(tmp_path / "night.jsonl"), SimpleNamespace(try_number=2)) as file:
            file.carry_over(str(tmp_path / name), 1)
        assert file.written_to is None
        assert "is not used" in caplog.text, name


def test_object_storage_keeps_its_own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that is not this machine's is written through Airflow."""
    monkeypatch.setattr("airflow_provider_adjust.files.private.is_local", lambda path: False)
    path = tmp_path / "bucket" / "night.jsonl"
    for number in range(2):
        wanted, file = new_file(ObjectStoragePath(path.as_uri()))
        with file:
            file.write(str(number))
        assert wanted.name == ("night.jsonl", "night.2.jsonl")[number]
    rows_of_a_task(path)
    assert json.loads(path.read_text()) == json.loads(LINE)


def test_no_example_and_no_page_names_a_place_that_others_may_write_to() -> None:
    """The system's temporary folder, or one below wherever a worker happens to run."""
    root = Path(airflow_provider_adjust.__path__[0]).parent
    files = [*root.glob("example_dags/*.py"), *root.glob("docs/**/*.md"), root / "README.md"]
    elsewhere = re.compile(r"""/tmp\b|tempfile|gettempdir|file://\.|(?:rejected|responses)_path=["']\.""")
    assert [path.name for path in files if elsewhere.search(path.read_text("utf-8"))] == []
