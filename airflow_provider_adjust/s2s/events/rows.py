"""Special rows: rows that are sent again, hidden lists of rows, and rows that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adjust.s2s.redaction import shows

Row = Mapping[str, Any]


class ResubmittedRow(dict[str, Any]):
    """A row from a rejected file. It keeps its event id, whatever was corrected in it.

    :param unkeyed_id: the input of the keyed digest that is the id, if the row had no id.
    :param as_given: the row has the column names of its source, since two of its columns gave one parameter.
    :param endpoint: the endpoint of the row; None if the line does not name it.
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
    """A list of rows that a traceback with local variables does not reveal."""

    @property
    def rows(self) -> int:
        return len(self)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that could not be read, or that has one name twice."""

    problem: str
    reason: str = "unreadable_row"
