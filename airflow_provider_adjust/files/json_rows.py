"""Rows from JSON: a text with one list, or lines with one or several objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from airflow_provider_adjust.files.lines import TOO_LONG, numbered_lines, refuse_utf16
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import UnreadableRow
from airflow_provider_adjust.s2s.redaction import quote

#: The most characters of a file that is read at once.
LARGEST_LIST: Final = 128 * 1024 * 1024


def load_json(text: str) -> Any:
    """Parse JSON text. An object with a repeated name, at any depth, becomes an ``UnreadableRow``.

    :raises ValueError: it is not JSON.
    :raises RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)


def json_list(file: Any, where: str) -> list[Any]:
    """The rows of a file that is one JSON list.

    :param where: the file, for messages.
    :raises AdjustConfigurationError: it is not a JSON list, or too large to be read at once.
    """
    chunks: list[str] = []
    size = 0
    while chunk := file.read(1024 * 1024):
        if not chunks:
            refuse_utf16(chunk, where)
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_LIST:
            raise AdjustConfigurationError(
                f"{where} has more than {LARGEST_LIST:,} characters, and a JSON list is read whole; write one object a line "
                "into a file that ends in .jsonl"
            )
    try:
        rows = load_json("".join(chunks))
    except (ValueError, RecursionError) as error:
        raise AdjustConfigurationError(
            f"{where} is not JSON (line {getattr(error, 'lineno', '?')}, column {getattr(error, 'colno', '?')}); it must be "
            "one list of objects, or be named .jsonl if it has one a line"
        ) from None
    if not isinstance(rows, list):
        raise AdjustConfigurationError(
            f"{where} must be a list of rows, not a {type(rows).__name__}; put a single row into a list"
        )
    return rows


def json_lines(file: Any, where: str) -> Iterator[Any]:
    """The rows of a file with JSON lines; several objects on a line are several rows.

    A line that is partly not JSON is refused as one, since the number of its rows is not known.
    """
    for number, line in numbered_lines(file, where):
        if line is None:
            yield UnreadableRow(f"line {number} {TOO_LONG}")
        elif not line.isspace():
            yield from _rows_of(line.strip(), number)


def _rows_of(line: str, number: int) -> list[Any]:
    rows, at = [], 0
    try:
        while at < len(line):
            row, at = _DECODER.raw_decode(line, at)
            rows.append(row)
            at = _AFTER_SPACE(line, at).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return [UnreadableRow(f"line {number} is not JSON; each line holds one object")]
    if len(rows) > 1 and not all(isinstance(row, dict | UnreadableRow) for row in rows):
        return [
            UnreadableRow(f"line {number} holds several values which are not all objects; each line holds one object")
        ]
    return [_with_line(row, number) for row in rows]


def _with_line(row: Any, number: int) -> Any:
    return UnreadableRow(f"line {number}: {row.problem}", row.reason) if isinstance(row, UnreadableRow) else row


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """The object of the pairs, or an ``UnreadableRow`` if a name is repeated: either value could be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        return UnreadableRow(f"an object has the name {quote(twice)} twice; keep one", "repeated_parameter")
    for value in found.values():
        if (unreadable := _unreadable(value)) is not None:
            return unreadable
    return found


def _unreadable(value: Any) -> UnreadableRow | None:
    """The ``UnreadableRow`` that the value is, or that a list in it contains."""
    if isinstance(value, UnreadableRow):
        return value
    if isinstance(value, list):
        return next((found for each in value if (found := _unreadable(each)) is not None), None)
    return None


_AFTER_SPACE = re.compile(r"\s*").match
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
