"""Files of receipts: what a try carries over from an earlier one, and that no run overwrites another's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.receipt_files import ReceiptFile


def line(event_id: str, outcome: str = "rejected", reason: str = "device_not_found") -> str:
    return json.dumps({"event_id": event_id, "outcome": outcome, "reason": reason})


def carried_over(tmp_path: Path, content: bytes, lines: int) -> list[str]:
    earlier, path = tmp_path / "night.jsonl", tmp_path / "night.try2.jsonl"
    earlier.write_bytes(content)
    with ReceiptFile(ObjectStoragePath(str(path))) as file:
        file.carry_over(str(earlier), lines)
        file.write(line("new"))
    kept = [json.loads(each)["event_id"] for each in path.read_text().splitlines()]
    path.unlink()
    return kept


TORN = [
    (f"{line('1')}\n{line('2')}\n", 2, ["1", "2", "new"], None),
    (f"{line('1')}\n{line('2', 'held')}\n{line('3', 'in_doubt')}\n", 3, ["1", "new"], None),
    (f"{line('1', 'invalid', 'created_at_in_future')}\n{line('2', 'invalid', 'bad_time')}\n", 2, ["2", "new"], None),
    (f"{line('1')}\n{line('2')[:20]}", 2, ["1", "new"], "1 of the 2 events"),
    (f"{line('1')}\n{line('2')}", 2, ["1", "2", "new"], None),
    (f"{line('1')}\n{line('2')}\n", 5, ["1", "2", "new"], "3 of the 5 events"),
    (f"{line('1')}\n\x00\x00\x00\x00", 2, ["1", "new"], "1 of the 2 events"),
    (f"{line('1')[:9]}\n{line('2')}\n", 2, ["2", "new"], "1 of the 2 events"),
    ("7\n[]\n{}\n", 3, ["new"], "3 of the 3 events"),
    ("", 1, ["new"], "1 of the 1 events"),
]


@pytest.mark.parametrize(("content", "lines", "kept", "words"), TORN)
def test_whole_lines_are_carried_over_and_an_incomplete_one_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, lines: int, kept: list[str], words: str | None
) -> None:
    assert carried_over(tmp_path, content.encode(), lines) == kept
    assert (words or "cut off") in caplog.text if words else "cut off" not in caplog.text


def test_bytes_that_are_not_text_do_not_end_the_retry(tmp_path: Path) -> None:
    assert carried_over(tmp_path, f"{line('1')}\n".encode() + b"\xff\xfe\x80", 2) == ["1", "new"]


def test_a_file_of_another_run_is_not_overwritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "night.jsonl"
    for run, name in enumerate(["night.jsonl", "night.2.jsonl", "night.3.jsonl"]):
        with ReceiptFile.of_try(str(path), SimpleNamespace(map_index=-1, try_number=1)) as file:
            assert file.written_to is None
            file.write(line(str(run)))
            assert file.written_to == str(ObjectStoragePath(str(tmp_path / name)))
        assert (tmp_path / name).read_text() == line(str(run)) + "\n"
    assert (tmp_path / "night.jsonl").read_text() == line("0") + "\n"
    assert "exists and is not overwritten; the lines are written to night.3.jsonl" in caplog.text


def test_two_runs_at_once_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "night.jsonl")
    with ReceiptFile.of_try(path, None) as first, ReceiptFile.of_try(path, None) as second:
        first.write(line("1"))
        second.write(line("2"))
    assert sorted(each.read_text() for each in tmp_path.iterdir()) == [line("1") + "\n", line("2") + "\n"]


def test_the_retry_of_a_run_with_a_number_carries_over_from_its_own_file(tmp_path: Path) -> None:
    path = str(tmp_path / "night.jsonl")
    for run in ("another run's", "own"):
        with ReceiptFile.of_try(path, SimpleNamespace(map_index=-1, try_number=1)) as first:
            first.write(line(run))
    with ReceiptFile.of_try(path, SimpleNamespace(map_index=-1, try_number=2)) as retry:
        retry.carry_over(first.written_to or "", 1)
    assert (tmp_path / "night.try2.jsonl").read_text() == line("own") + "\n"


def test_a_file_of_an_earlier_try_that_was_deleted_is_remembered(tmp_path: Path) -> None:
    earlier = str(tmp_path / "night.jsonl")
    with ReceiptFile.of_try(earlier, SimpleNamespace(map_index=-1, try_number=2)) as retry:
        assert retry.missing is None
        retry.carry_over(earlier, 1)
    assert (retry.missing, retry.written_to) == (earlier, None)
