"""The event id of a row: the value of ``id_field``, or of several columns together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, Row
from airflow_provider_adjust.s2s.events.values import is_missing, is_null_word, scalar_text
from airflow_provider_adjust.s2s.redaction import escape, quote

#: What a column of the ledger holds.
LONGEST_EVENT_ID = 255
#: Separates the values of several columns. It is escaped within a value, so that different values never give the same id.
_SEPARATOR = "|"
#: The longest list of columns in a message, and the longest column name in it, in characters.
_LONGEST_LIST = 500
_LONGEST_NAME = 100


class EventIds:
    """Reads the id of a row.

    :raises AdjustConfigurationError: ``id_field`` is empty, repeats a column, or names one that holds personal data.
    """

    def __init__(self, options: RowOptions, endpoint: Endpoint) -> None:
        self._columns = options.id_columns
        shown = self._columns[0] if len(self._columns) == 1 else options.id_field
        if options.id_field is not None and (not all(self._columns) or not self._columns):
            raise AdjustConfigurationError(f"id_field={shown!r} must name a column, or several")
        if len(set(self._columns)) < len(self._columns):
            raise AdjustConfigurationError(f"id_field={shown!r} names a column twice")
        #: The columns' names after ``column_map``.
        self.names = tuple((options.column_map or {}).get(column, column) for column in self._columns)
        # A database may give names in another case.
        if not endpoint.personal.isdisjoint(str(name).lower() for name in self.names):
            raise AdjustConfigurationError(
                f"id_field={shown!r} holds a device's id or other personal data; event ids appear in logs, so "
                "name a column such as the order's number"
            )

    def of(self, row: Row) -> str | None:
        """The id from ``id_field``, or the id in a rejected line; None without either."""
        if isinstance(row, ResubmittedRow):
            event_id = _id_text(row.event_id, None)
        elif not self._columns:
            return None
        elif len(self._columns) == 1:
            event_id = _id_text(self._value(row, self._columns[0]), self._columns[0])
        else:
            event_id = _SEPARATOR.join([_escaped(_id_text(self._value(row, each), each)) for each in self._columns])
        if len(event_id) > LONGEST_EVENT_ID:
            raise InvalidEvent(
                "event_id_too_long",
                f"the event id is {len(event_id):,} characters long; none is longer than {LONGEST_EVENT_ID}: name a "
                "shorter column in id_field, or a digest of this one",
            )
        return event_id

    def lacks_column(self, row: Any) -> bool:
        """Whether the row lacks the column for its id."""
        return (
            isinstance(row, Mapping)
            and not isinstance(row, ResubmittedRow)
            and any(column not in row for column in self._columns)
        )

    @staticmethod
    def _value(row: Row, column: str) -> Any:
        if column not in row:
            columns = escape(", ".join(str(each)[:_LONGEST_NAME] for each in row), _LONGEST_LIST)
            raise InvalidEvent(
                "missing_event_id", f"the row has no column {quote(column)}, which id_field names; it has: {columns}"
            )
        return row[column]


def _id_text(value: Any, column: str | None) -> str:
    """The value of a column as text; of a rejected line if ``column`` is None."""
    if type(value) is str:
        text: str | None = value
    elif isinstance(value, bytes | bytearray | memoryview):
        raise _no_id(column, "is bytes; cast it to text in the query")
    else:
        text = "" if is_missing(value) else scalar_text(value)
    if text is None:
        raise _no_id(column, f"is a {type(value).__name__}; name a column that holds one text or number")
    text = text.strip()
    if not text:
        raise _no_id(column, "is empty; every event needs its id")
    if is_null_word(text):
        raise _no_id(column, f"is the word {quote(text)}; every event needs its id")
    return text


def _no_id(column: str | None, problem: str) -> InvalidEvent:
    where = "the event_id of the rejected line" if column is None else f"the id_field {column}"
    return InvalidEvent("missing_event_id", f"{where} {problem}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(_SEPARATOR, f"\\{_SEPARATOR}")
