"""Rows, and what a reader gives in place of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adjust.s2s.redaction import shows

Row = Mapping[str, Any]


class ResubmittedRow(dict[str, Any]):
    """A row from a rejected file. It keeps its event's id, whatever was corrected in it.

    :param unkeyed_id: what the id was made from with a key, where the row has none of its own.
    :param as_given: the row has the names of its source, since two of its columns gave one parameter.
    :param endpoint: the endpoint that the row was for; None where the line does not say it.
    """

    def __init__(
        self,
        row: Row,
        event_id: str,
        unkeyed_id: str | None = None,
        *,
        as_given: bool = False,
        endpoint: str | None = None,
    ) -> None:
        super().__init__(row)
        self.event_id = event_id
        self.unkeyed_id = unkeyed_id
        self.as_given = as_given
        self.endpoint = endpoint


@shows("rows")
class RowList(list[Any]):
    """Rows that a traceback with local variables does not show."""

    @property
    def rows(self) -> int:
        return len(self)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that its reader could not read, or that has one name twice."""

    problem: str
    reason: str = "unreadable_row"
