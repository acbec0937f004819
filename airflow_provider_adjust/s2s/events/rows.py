"""Rows, and what a reader gives in place of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_adjust.s2s.redaction import quote

Row = Mapping[str, Any]


class ResubmittedRow(dict[str, Any]):
    """A row from a rejected file. It keeps its event's id, whatever was corrected in it."""

    def __init__(self, row: Row, event_id: str) -> None:
        super().__init__(row)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that its reader could not read, and the reason for which it is refused."""

    problem: str
    reason: str = "unreadable_row"


def row_of_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | UnreadableRow:
    """The row of a JSON object's names and values, for ``json.loads(..., object_pairs_hook=row_of_pairs)``."""
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    counts = Counter(name for name, _ in pairs)
    name = next(name for name, count in counts.items() if count > 1)
    return UnreadableRow(f"the JSON object names {quote(name)} twice; keep one", "repeated_parameter")


def renamed(row: Any, column_map: Mapping[str, str]) -> Any:
    """The row under Adjust's names. What is not a row stays as it is, and so does a row that would lose a value."""
    if not isinstance(row, Mapping):
        return row
    result = {column_map.get(column, column): value for column, value in row.items()}
    return result if len(result) == len(row) else row
