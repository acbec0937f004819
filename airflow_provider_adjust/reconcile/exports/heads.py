"""The first line of an export: the CSV definition, which names the columns.

Adjust writes a column as ``{placeholder}``, as ``[callback parameter]`` or as its bare name, and a text that is the same in
every line as ``"constant"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import escape, quote

#: A column's name and its separator. Without backtracking, so that a long header takes linear time.
_CELL = re.compile(r'\s*+"(?:[^"]|"")*+"\s*+(?=,|$)|[^,]*+')


@dataclass(frozen=True, slots=True)
class Field:
    """A column that is read: its name in the definition, its other spellings, and its purpose."""

    name: str
    column: str
    also: tuple[str, ...]
    meaning: str
    is_needed: bool = False


FIELDS = (
    Field(
        "app_token", "{app_token}", ("app_token",), "the app; without it, the app token is taken from the file's name"
    ),
    Field(
        "environment",
        "{environment}",
        ("environment",),
        "separates sandbox from production; without it, every line counts",
    ),
    Field("activity_kind", "{activity_kind}", ("activity_kind",), "lines that are not events are ignored"),
    Field("event_token", "{event}", ("{event_token}", "event", "event_token"), "the event token", is_needed=True),
    Field(
        "event_id",
        "[event_id]",
        ("event_id", "{event_id}"),
        "the event id that was sent with the event",
        is_needed=True,
    ),
    Field("created_at", "{created_at}", ("created_at", "{created_at_unix}"), "the event's time"),
    Field("revenue_float", "{revenue_float}", ("revenue_float",), "the amount, in currency units"),
    Field("revenue", "{revenue}", ("revenue",), "the amount in cents, read if there is no {revenue_float}"),
    Field("currency", "{currency}", ("currency",), "the amount's currency"),
    Field(
        "callback_parameters",
        "{callback_parameters}",
        ("callback_parameters", "{publisher_parameters}", "publisher_parameters"),
        "all callback parameters as JSON, read if the event id has no column",
    ),
)
_BY_NAME = {field.name: field for field in FIELDS}
#: Fields that the definition to paste omits, since another column is better.
_INSTEAD = {"revenue", "callback_parameters"}


def definition(columns: Mapping[str, str] | None = None) -> str:
    """The CSV definition to paste into Adjust."""
    given = columns or {}
    return ",".join(given.get(field.name, field.column) for field in FIELDS if field.name not in _INSTEAD)


class UnknownHead(AdjustConfigurationError):
    """A file's first line lacks a required column."""


@dataclass(frozen=True, slots=True)
class Head:
    """The index of each field in a line; fields that the file lacks are missing.

    ``id_key`` is the key of the event id among the callback parameters, for a file with all of them in one column.
    """

    places: Mapping[str, int]
    width: int
    id_key: str


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse unknown names of fields.

    :raises AdjustConfigurationError: a name is not known.
    """
    if unknown := sorted(set(columns) - _BY_NAME.keys()):
        raise AdjustConfigurationError(f"columns has {quote(unknown[0])}; known are {', '.join(_BY_NAME)}")


def read_head(line: str, columns: Mapping[str, str] | None = None) -> Head:
    """Find the fields in a file's first line.

    :param columns: the column of the definition by field, such as ``{"event_id": "[order]"}``.
    :raises UnknownHead: the event id, the event token or a column in ``columns`` is missing.
    """
    given = columns or {}
    cells = _cells(line.removeprefix("\ufeff").rstrip("\r\n"))
    found = {text: place for place, text in reversed(list(enumerate(cells)))}
    places = {}
    for field in FIELDS:
        spellings = _spellings(given[field.name]) if field.name in given else (field.column, *field.also)
        if (place := next((found[each] for each in spellings if each in found), None)) is not None:
            places[field.name] = place
    id_key = given.get("event_id", "event_id").strip("[]{}")
    needed = {field.name for field in FIELDS if field.is_needed} | given.keys()
    missing = [field.name for field in FIELDS if field.name in needed - places.keys()]
    if "event_id" in missing and "callback_parameters" in places:
        missing.remove("event_id")
    if missing:
        lacks = " and ".join(given.get(name, _BY_NAME[name].column) for name in missing)
        raise UnknownHead(
            f"the file has no column {lacks}; its columns are {escape(', '.join(cells), 200)}. Set this CSV definition in "
            f"Adjust: {definition(given)}"
        )
    return Head(places, len(cells), id_key)


def _spellings(column: str) -> Iterable[str]:
    """The spellings of a column: older exports show a parameter without brackets."""
    name = column.strip()
    return (name, name[1:-1]) if name.startswith("[") and name.endswith("]") else (name, f"[{name}]")


def _cells(line: str) -> list[str]:
    """The columns' names. A constant keeps its quotes, unless every column is quoted."""
    raw: list[str] = []
    place = -1
    while place < len(line):
        match = _CELL.match(line, place + 1)
        assert match is not None  # noqa: S101 - for mypy; it matches nothing, too
        raw.append(match[0].strip())
        place = match.end()
    is_quoted = all(cell.startswith('"') for cell in raw)
    return [_unquoted(cell) if is_quoted or _is_column(cell) else cell for cell in raw]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _is_column(cell: str) -> bool:
    return _unquoted(cell)[:1] in {"{", "["}
