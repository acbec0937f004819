"""The names of Adjust's export files: ``appToken_timestamp_hash_partToken.csv.gz``, older ones without the part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

_NAME = re.compile(
    r"([A-Za-z0-9]+)_(\d{4}-\d\d-\d\dT\d{6})_([A-Za-z0-9-]+)(?:_([A-Za-z0-9_-]+))?\.csv(?:\.gz)?", re.ASCII
)


class ExportName(NamedTuple):
    """The parts of a file's name.

    ``hour`` is the beginning of the hour in which Adjust processed its lines; ``definition`` changes with the columns."""

    app_token: str
    hour: datetime
    definition: str
    part: str


class ExportFile(NamedTuple):
    """A file of an export: its path for display, the parts of its name, and a function that opens it."""

    path: str
    name: ExportName
    open: Callable[[], BinaryIO]


def read_name(path: str) -> ExportName | None:
    """Parse the last part of a path; None if the file is not an export."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        return None
    app_token, hour, definition, part = match.groups()
    try:
        begins_at = datetime.strptime(hour, "%Y-%m-%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return ExportName(app_token, begins_at.replace(minute=0, second=0), definition, part or "")


def of_app(files: Iterable[ExportFile], app_token: str) -> list[ExportFile]:
    """An app's files by hour. A repeated file, such as in a copy of the folder, is read once."""
    found: dict[str, ExportFile] = {}
    for each in files:
        if each.name.app_token == app_token:
            found.setdefault(each.path.rpartition("/")[2].removesuffix(".gz"), each)
    return sorted(found.values(), key=lambda each: (each.name.hour, each.path))
