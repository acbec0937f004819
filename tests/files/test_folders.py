"""A folder of part files, as Spark and warehouses write them, read in the order of the names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from files.reading import read

from airflow_provider_adjust.files.event_files import read_rows
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

HEAD = "currency,revenue\n"


def test_its_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "night.csv"
    folder.mkdir()
    for name in ("part-10.csv", "part-02.csv", "part-01.csv"):
        (folder / name).write_text(f"{HEAD}{name},1\n")
    for name in ("_SUCCESS", ".part-01.csv.crc", "_committed_7"):
        (folder / name).write_text("beside them")
    assert [row["currency"] for row in read(folder)] == ["part-01.csv", "part-02.csv", "part-10.csv"]


def test_kinds_may_differ_and_rejected_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"revenue": 1}\n')
    (tmp_path / "2.json").write_text('[{"revenue": 2}]')
    assert read(tmp_path) == [{"revenue": 1}, {"revenue": 2}]
    line = json.dumps(dict.fromkeys(["position", "event_id", "outcome", "reason", "detail", "row"]))
    (tmp_path / "1.jsonl").write_text(f"{line}\n")
    (tmp_path / "2.json").unlink()
    (tmp_path / "2.jsonl").write_text(f"{line}\n{line}\n")
    with read_rows(ObjectStoragePath(str(tmp_path))) as rows:
        assert isinstance(rows, list)
        assert len(rows) == 3


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has no file in it"),
        ({"_SUCCESS": ""}, "has no file in it"),
        ({"a.csv": HEAD, "readme.txt": ""}, "the file 'readme.txt' cannot be read: its name must end in"),
        ({"a.csv": HEAD, "b.csv": "x;y\n"}, "the file b.csv has no column"),
        ({"a.csv": HEAD, "day=1/b.csv": HEAD}, "has a folder 'day=1' in it"),
    ],
)
def test_a_folder_of_no_use_is_refused_before_its_first_row(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(AdjustConfigurationError, match=words), read_rows(ObjectStoragePath(str(tmp_path))) as rows:
        next(iter(rows))


def test_a_folder_that_is_not_read_to_its_end_is_closed(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{HEAD}EUR,1\n" * 3)
    with read_rows(ObjectStoragePath(str(tmp_path))) as rows:
        stream = iter(rows)
        next(stream)
    assert list(stream) == []
