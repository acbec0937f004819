"""JSON: lines with one object or several, names that occur twice, and limits of what is read whole."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from files.reading import problem, read, read_bytes

from airflow_provider_adjust.files import event_files, json_rows
from airflow_provider_adjust.files.lines import LONGEST_LINE


@pytest.mark.parametrize("between", ["", " ", "\t"])
def test_each_object_of_a_line_is_a_row(tmp_path: Path, between: str) -> None:
    rows, _ = read_bytes(
        tmp_path / "night.jsonl", f'{{"a": 1}}{between}{{"a": 2}}{between}{{"a": 3}}\n{{"a": 4}}'.encode()
    )
    assert rows == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]


def test_a_line_of_very_many_objects_is_read_in_time_that_grows_with_it(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "night.jsonl", b'{"a":1} ' * 200_000)
    assert len(rows) == 200_000


BROKEN_LINES = [
    ('{"a": 1}{"a"', "unreadable_row: line 2 is not JSON; each line holds one object"),
    ('{"a": 1},{"a": 2}', "unreadable_row: line 2 is not JSON; each line holds one object"),
    ('{"a": 1} 7', "unreadable_row: line 2 holds several values which are not all objects; each line holds one object"),
    ('{"a": 1, "a": 2}', "repeated_parameter: line 2: an object has the name 'a' twice; keep one"),
    ('{"c": {"a": 1, "a": 1}}', "repeated_parameter: line 2: an object has the name 'a' twice; keep one"),
    ('{"c": [[{"a": 1, "a": 1}]]}', "repeated_parameter: line 2: an object has the name 'a' twice; keep one"),
    ("[" * 100_000, "unreadable_row: line 2 is not JSON; each line holds one object"),
]


@pytest.mark.parametrize(("line", "words"), BROKEN_LINES)
def test_a_broken_line_is_one_refusal_with_its_number(tmp_path: Path, line: str, words: str) -> None:
    (first, refused, last), error = read_bytes(tmp_path / "night.jsonl", f'{{"a": 1}}\n{line}\n{{"a": 2}}\n'.encode())
    assert (first, problem(refused), last, error) == ({"a": 1}, words, {"a": 2}, "")


def test_an_object_with_a_name_twice_is_refused_alone_in_a_list(tmp_path: Path) -> None:
    (first, refused), _ = read_bytes(tmp_path / "night.json", b'[{"a": 1}, {"revenue": 1, "revenue": 100}]')
    assert first == {"a": 1}
    assert problem(refused) == "repeated_parameter: an object has the name 'revenue' twice; keep one"


def test_a_list_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LARGEST_LIST", 2_000_000)
    rows, error = read_bytes(tmp_path / "night.json.gz", gzip.compress(b"[" + b" " * 5_000_000 + b"]"))
    assert rows == []
    assert error.startswith("AdjustConfigurationError: the file night.json.gz has more than 2,000,000 characters")


def test_a_rejected_file_of_too_many_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "MOST_REJECTED", 10)
    line = dict.fromkeys(["position", "event_id", "outcome", "reason", "detail", "row"])
    path = tmp_path / "rejected.jsonl"
    path.write_text(f"{json.dumps(line)}\n" * 10)
    assert len(read(path)) == 10
    _, error = read_bytes(path, f"{json.dumps(line)}\n".encode() * 11)
    assert error.startswith("AdjustConfigurationError: a rejected file of more than 10 lines")


def test_a_small_file_that_unpacks_to_one_huge_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(40):
            file.write(b"x" * 1_000_000)
        file.write(b'\n{"a": 1}\n')
    tracemalloc.start()
    try:
        refused, row = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert row == {"a": 1}
    assert problem(refused).startswith("unreadable_row: line 1 has more than 4,194,304 characters")
    assert peak < 6 * LONGEST_LINE
