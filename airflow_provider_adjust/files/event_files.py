"""Rows out of a file: JSON Lines, a JSON list, CSV or Parquet, on any storage that Airflow reaches.

A file is streamed, so its rows must be in time order, except where it is read whole anyway: a JSON list, and a rejected
file of an earlier run, with its lines in the order in which they were refused.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.s2s.account.rejected import is_rejected_line
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import UnreadableRow

_PARQUET_BATCH = 2000
#: A byte that is not UTF-8 refuses its own row only: it becomes a lone surrogate, which the parser refuses. Line ends are
#: left to the readers, since in CSV they may stand inside a value.
_TEXT = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}


@contextmanager
def read_rows(path: ObjectStoragePath) -> Iterator[Iterable[Any]]:
    """The file's rows, open for as long as the context lasts; a list where the file was read whole.

    :raises AdjustConfigurationError: the file's name does not say what it is, or it does not exist.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = "gzip" if suffixes[-1:] == [".gz"] else None
    kind = next(iter(suffixes[-2:-1] if compression else suffixes[-1:]), "")
    if kind not in {".jsonl", ".ndjson", ".json", ".csv", ".parquet"}:
        raise AdjustConfigurationError(
            f"events names the file {path.name!r}; its name must end in .jsonl, .json, .csv or .parquet (or with .gz)"
        )
    options = {"mode": "rb"} if kind == ".parquet" else {"mode": "rt", "compression": compression, **_TEXT}
    try:
        file = path.open(**options)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise AdjustConfigurationError(f"events names the file {path}, which does not exist") from None
    with file:
        if kind == ".parquet":
            yield _parquet_rows(file)
        elif kind == ".csv":
            yield csv.DictReader(file)
        elif kind == ".json":
            yield _json_list(file, path)
        else:
            yield _sorted_if_rejected(_json_lines(file))


def _json_list(file: Any, path: ObjectStoragePath) -> Any:
    try:
        return json.load(file)
    except (ValueError, RecursionError) as error:
        raise AdjustConfigurationError(
            f"events names the file {path}, which is not JSON (line {getattr(error, 'lineno', '?')}, column "
            f"{getattr(error, 'colno', '?')}); it must be one list of objects, or be named .jsonl if it has one a line"
        ) from None


def _json_lines(file: Iterable[str]) -> Iterator[Any]:
    for line in file:
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield UnreadableRow("the line is not JSON; each line holds one object")


def _sorted_if_rejected(rows: Iterator[Any]) -> Iterable[Any]:
    first = next(rows, None)
    if first is None:
        return []
    return [first, *rows] if is_rejected_line(first) else chain((first,), rows)


def _parquet_rows(file: Any) -> Iterator[Any]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise AdjustConfigurationError(
            "events names a Parquet file; install pyarrow on the workers to read it"
        ) from None
    for batch in ParquetFile(file).iter_batches(_PARQUET_BATCH):
        yield from batch.to_pylist()
