"""Stream the lines of export files, without loading a complete file."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, NamedTuple, cast

from airflow_provider_adjust.reconcile.exports.heads import Head, UnknownHead, read_head
from airflow_provider_adjust.reconcile.exports.names import ExportFile, ExportName
from airflow_provider_adjust.reconcile.exports.values import id_in, micros_of, seconds_of

_GZIP = b"\x1f\x8b"
#: The longest header, so that a file without a line end is not read completely.
_LONGEST_HEAD = 100_000
#: The longest cell. It holds part of a request, which Adjust limits to 1 MB. The csv module's limit, 131,072 characters, would
#: fail on such a line; without a limit, an unclosed quote would load the rest of a file.
_LONGEST_CELL = 4_000_000
#: Cents are rounded, so an amount may be half a cent off.
_HALF_A_CENT = 5_000
#: Errors of storages, truncated files and files of another format.
_UNREADABLE = (OSError, EOFError, zlib.error, csv.Error, UnicodeError)


class Line(NamedTuple):
    """An exported event. Values that its file lacks are None; without an id, ``event_id`` is empty.

    ``place`` combines the numbers of its file and of its line.
    """

    scope: int
    event_id: str
    seconds: int | None
    micros: int | None
    slack: int
    currency: str | None
    place: int


@dataclass(slots=True)
class Reading:
    """What was read, and what was left out.

    ``problems`` lists files that could not be read completely; ``broken_hours`` have such files, or unreadable lines.
    ``definitions`` are those of the files in which a scope has lines with ids.
    """

    paths: list[str] = field(default_factory=list)
    lines: int = 0
    taken: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    broken_hours: set[datetime] = field(default_factory=set)
    unknown_heads: int = 0
    definitions: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The lines to read: those of an app and environment, with one of the event tokens, which have numbers.

    Lines without an event id are read only if their time is within the bounds.
    """

    app_token: str
    environment: str
    scopes: Mapping[str, int]
    columns: Mapping[str, str] = field(default_factory=dict)
    event_key: Callable[[str], str] = str
    first_second: int = 0
    last_second: int = 1 << 62


def read_files(files: Iterable[ExportFile], wanted: Wanted, reading: Reading) -> Iterator[Line]:
    """The lines of all files. An unreadable file is recorded as a problem, and the others are read."""
    for each in files:
        number = len(reading.paths)
        reading.paths.append(each.path)
        try:
            with each.open() as opened, _text(opened) as text:
                head = read_head(_first_line(text), wanted.columns)
                yield from _lines(text, head, wanted, reading, each.name, number << 40)
        except UnknownHead as error:
            reading.unknown_heads += 1
            _note(reading, each, str(error))
        except _UNREADABLE as error:
            _note(reading, each, f"the file ends early or is damaged ({type(error).__name__}); have it uploaded again")


def _note(reading: Reading, file: ExportFile, problem: str) -> None:
    reading.problems.append(f"{file.path}: {problem}")
    reading.broken_hours.add(file.name.hour)


def _text(opened: BinaryIO) -> io.TextIOWrapper:
    """The file's text. Some storages and copy tools have already decompressed it."""
    buffered = opened if isinstance(opened, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", opened))
    is_packed = buffered.peek(2)[:2] == _GZIP
    content = gzip.GzipFile(fileobj=buffered) if is_packed else buffered
    return io.TextIOWrapper(cast("BinaryIO", content), encoding="utf-8-sig", errors="replace", newline="")


def _first_line(text: io.TextIOWrapper) -> str:
    line = text.readline(_LONGEST_HEAD)
    if not line:
        raise EOFError("the file is empty")
    return line


def _lines(
    text: io.TextIOWrapper, head: Head, wanted: Wanted, reading: Reading, name: ExportName, first_place: int
) -> Iterator[Line]:
    at = head.places.get
    app_at, environment_at, kind_at, id_at = at("app_token"), at("environment"), at("activity_kind"), at("event_id")
    time_at, units_at, cents_at, currency_at = at("created_at"), at("revenue_float"), at("revenue"), at("currency")
    token_at, all_at = head.places["event_token"], head.places.get("callback_parameters", 0)
    is_cents, width, left_out = units_at is None, head.width, reading.left_out
    amount_at = cents_at if is_cents else units_at
    slack = _HALF_A_CENT if is_cents and cents_at is not None else 0
    scopes, event_key, definitions = wanted.scopes, wanted.event_key, reading.definitions
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    for place, cells in enumerate(csv.reader(text), first_place + 2):
        reading.lines += 1
        if len(cells) != width:
            if cells:
                left_out["malformed"] += 1
                reading.broken_hours.add(name.hour)
            continue
        if app_at is not None and cells[app_at] != wanted.app_token:
            left_out["of another app"] += 1
            continue
        if environment_at is not None and cells[environment_at] != wanted.environment:
            left_out["of another environment"] += 1
            continue
        if kind_at is not None and cells[kind_at] not in {"event", ""}:
            left_out["no events"] += 1
            continue
        scope = scopes.get(cells[token_at])
        if scope is None:
            left_out["of other events"] += 1
            continue
        event_id = cells[id_at] if id_at is not None else id_in(cells[all_at], head.id_key)
        seconds = None if time_at is None else seconds_of(cells[time_at])
        micros = None if amount_at is None else micros_of(cells[amount_at], is_cents=is_cents)
        if not event_id:
            left_out["without an event id"] += 1
            if seconds is None or wanted.first_second <= seconds <= wanted.last_second:
                yield Line(scope, "", seconds, micros, slack, None, place)
            continue
        if time_at is not None and seconds is None:
            left_out["(taken) with a time that cannot be read"] += 1
        if amount_at is not None and micros is None:
            left_out["(taken) with an amount that cannot be read"] += 1
        reading.taken += 1
        definitions[scope].add(name.definition)
        currency = cells[currency_at].upper() or None if currency_at is not None else None
        yield Line(scope, event_key(event_id), seconds, micros, slack, currency, place)
