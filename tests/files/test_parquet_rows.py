"""Parquet: times finer than Python's, and schemas of no use."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
from files.reading import read, read_bytes
from pyarrow import parquet

NANOSECONDS = 1_777_636_800_123_456_789
MOMENT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def write(path: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def times() -> dict[str, Any]:
    return {
        "created_at": pa.array([NANOSECONDS, None], pa.timestamp("ns", "UTC")),
        "local": pa.array([NANOSECONDS, 0], pa.timestamp("ns")),
        "clock": pa.array([1_001, 0], pa.time64("ns")),
        "took": pa.array([1_001, 0], pa.duration("ns")),
        "session_count": pa.array([7, 8], pa.int64()),
    }


def test_nanoseconds_are_read_as_microseconds_of_python(tmp_path: Path) -> None:
    """Without the cast, pyarrow makes times of pandas' own, or fails where pandas is not installed."""
    first, second = read(write(tmp_path / "night.parquet", times()))
    assert (first["created_at"], second["created_at"]) == (MOMENT, None)
    assert first["local"] == MOMENT.replace(tzinfo=None)
    assert first["clock"] == time(0, 0, 0, 1)
    assert first["took"].microseconds == 1
    assert (first["session_count"], second["session_count"]) == (7, 8)
    assert type(first["created_at"]) is datetime


def test_the_columns_are_checked_once_before_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    names = ["revenue", "revenue"]
    parquet.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=names), path)
    checked: list[tuple[Any, str]] = []
    read_bytes(path, path.read_bytes(), check=lambda names, where: checked.append((names, where)))
    assert checked == [(names, "the file night.parquet")]


def test_a_schema_without_names_is_a_configuration_error(tmp_path: Path) -> None:
    path = write(tmp_path / "night.parquet", {"0": [1], "1": [2]})
    assert "look like values" in read_bytes(path, path.read_bytes())[1]


def test_a_file_that_is_cut_off_is_a_configuration_error(tmp_path: Path) -> None:
    path = write(tmp_path / "night.parquet", times())
    for content in (path.read_bytes()[:-100], b"", b"order_id,revenue\n"):
        assert "the file night.parquet is not a Parquet file" in read_bytes(path, content)[1]


def test_an_amount_in_single_precision_is_the_one_that_was_written(tmp_path: Path) -> None:
    """As a Python float, 9.9 would be 9.899999618530273."""
    amounts = pa.array([9.9, 149.0, None, float("nan")], pa.float32())
    rows = read(write(tmp_path / "night.parquet", {"created_at": pa.array([NANOSECONDS] * 4), "revenue": amounts}))
    assert [row["revenue"] for row in rows] == ["9.9", "149", None, "nan"]
