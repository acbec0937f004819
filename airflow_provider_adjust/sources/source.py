"""What a driver needs to stream a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Converts a value of one column to a plain one.
ReadValue = Callable[[Any], Any]


def _leave_session(connection: Any, timezone: str) -> None:
    """Most drivers need nothing."""


def _open_cursor(connection: Any) -> Any:
    return connection.cursor()


def _any_batch(connection: Any) -> None:
    """Most databases return as many rows at a time as requested."""


def _as_it_is(column: Any, timezone: str) -> None:
    """The values of most columns are plain."""


def _any_column(column: Any) -> None:
    """Most drivers return every type in a readable form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How a query is streamed through a driver. The defaults suit any driver that follows DB-API 2.0.

    A column is its entry in the cursor's ``description``: a sequence of its name, its type and more. ``timezone`` is the IANA
    name of the reader's zone for times without an offset.
    """

    #: Prepares the session for the query: time zone, timeouts.
    set_session: Callable[[Any, str], None] = _leave_session
    #: Opens the cursor class that holds the fewest rows.
    open_cursor: Callable[[Any], Any] = _open_cursor
    #: Returns the most rows that the database returns at a time; None if it has no limit.
    largest_batch: Callable[[Any], int | None] = _any_batch
    #: Returns how to read the values of a column; None if they are plain.
    value_reader: Callable[[Any, str], ReadValue | None] = _as_it_is
    #: Returns why the values of a column cannot be read, with the remedy; None if they can.
    problem_of: Callable[[Any], str | None] = _any_column
    #: Set if closing the cursor would read the rest of the result, or wait for a server that is gone.
    closes_connection_first: bool = False
