"""Rows from a file or a folder of files: JSON Lines, a JSON list, CSV or Parquet, on any storage of Airflow.

A file is streamed, so its rows must be in time order. A JSON list, or a rejected file with its lines in the order of refusal,
is read at once and sorted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import Any, Final

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.csv_rows import csv_rows
from airflow_provider_adjust.files.head import CheckColumns, any_columns
from airflow_provider_adjust.files.json_rows import json_lines, json_list
from airflow_provider_adjust.files.parquet_rows import parquet_rows
from airflow_provider_adjust.s2s.account.rejected import is_rejected_line
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions

#: The most lines of a rejected file, which is read at once.
MOST_REJECTED: Final = 1_000_000
_KINDS = {".jsonl", ".ndjson", ".json", ".csv", ".parquet"}
_ENDINGS = "its name must end in .jsonl, .json, .csv or .parquet (or with .gz)"
#: A byte that is not UTF-8 becomes a lone surrogate, so that the parser refuses only its row. Line ends are left to the
#: readers, since in CSV they may be inside a value.
_TEXT = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}


@contextmanager
def read_rows(
    path: ObjectStoragePath, options: RowOptions | None = None, *, check: CheckColumns = any_columns
) -> Iterator[Iterable[Any]]:
    """The rows of a file or a folder, open within the context; a list if a file was read at once.

    :param options: how the rows are read.
    :param check: called with the columns of each CSV or Parquet file before any row is read.
    :raises AdjustConfigurationError: a file's format is not known, it does not exist, or its columns cannot be used.
    :raises InputUnreadable: while rows are read: the end of a row of a CSV file is ambiguous.
    """
    options = options or RowOptions()
    if not path.is_dir():
        with _open_rows(path, options, check) as rows:
            yield _sorted_if_rejected(rows)
        return
    paths = _part_files(path)
    for part in paths:
        # Its columns are checked before any row of the first file is sent.
        with _open_rows(part, options, check):
            pass
    # Closing a generator closes its file, even if the delivery stops in the middle.
    with closing(_rows_of_all(paths, options, check)) as rows:
        yield _sorted_if_rejected(rows)


def _part_files(folder: ObjectStoragePath) -> Sequence[ObjectStoragePath]:
    """The folder's files by name, without marker files of writers, such as ``_SUCCESS``."""
    paths = sorted((each for each in folder.iterdir() if each.name[:1] not in {"_", "."}), key=lambda each: each.name)
    if not paths:
        raise AdjustConfigurationError(f"the folder {folder} has no file in it")
    for each in paths:
        if each.is_dir():
            raise AdjustConfigurationError(
                f"the folder {folder} has a folder {each.name!r} in it; name a folder that has files only"
            )
    return paths


def _rows_of_all(paths: Sequence[ObjectStoragePath], options: RowOptions, check: CheckColumns) -> Generator[Any]:
    for path in paths:
        with _open_rows(path, options, check) as rows:
            yield from rows


def _sorted_if_rejected(rows: Iterable[Any]) -> Iterable[Any]:
    if isinstance(rows, list):
        return rows
    following = iter(rows)
    first = next(following, None)
    if first is None:
        return []
    if not is_rejected_line(first):
        return chain((first,), following)
    whole = [first, *islice(following, MOST_REJECTED)]
    if len(whole) > MOST_REJECTED:
        raise AdjustConfigurationError(
            f"a rejected file of more than {MOST_REJECTED:,} lines cannot be read, since it is read whole; split it"
        )
    return whole


@contextmanager
def _open_rows(path: ObjectStoragePath, options: RowOptions, check: CheckColumns) -> Iterator[Iterable[Any]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = "gzip" if suffixes[-1:] == [".gz"] else None
    kind = next(iter(suffixes[-2:-1] if compression else suffixes[-1:]), "")
    if kind not in _KINDS:
        raise AdjustConfigurationError(f"the file {path.name!r} cannot be read: {_ENDINGS}")
    arguments = {"mode": "rb"} if kind == ".parquet" else {"mode": "rt", "compression": compression, **_TEXT}
    where = f"the file {path.name}"
    try:
        file = path.open(**arguments)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise AdjustConfigurationError(f"the file {path} does not exist") from None
    with file:
        if kind == ".parquet":
            yield parquet_rows(file, where, options, check)
        elif kind == ".csv":
            yield csv_rows(file, where, options, check)
        elif kind == ".json":
            yield json_list(file, where)
        else:
            yield json_lines(file, where)
