"""What a driver needs so that a query can be streamed through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Turns a value of one column into a plain one.
ReadValue = Callable[[Any], Any]


def _leave_session(connection: Any, timezone: str) -> None:
    """Most drivers need nothing."""


def _open_cursor(connection: Any) -> Any:
    return connection.cursor()


def _any_batch(connection: Any) -> None:
    """Most databases hand on as many rows at a time as they are asked for."""


def _as_it_is(column: Any, timezone: str) -> None:
    """The values of most columns are plain."""


def _any_column(column: Any) -> None:
    """Most drivers hand on every type in a form that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How a query is streamed through a driver. The defaults suit any driver that follows DB-API 2.0.

    A column is described by what the cursor's ``description`` says of it: a sequence of its name, its type and more.
    ``timezone`` is the IANA name of the zone in which the reader takes times without an offset.
    """

    #: Prepares the session for our query: time zone, timeouts.
    set_session: Callable[[Any, str], None] = _leave_session
    #: Opens the cursor that holds the fewest rows, where a driver has several kinds.
    open_cursor: Callable[[Any], Any] = _open_cursor
    #: Returns the most rows that the connection's database hands on at a time; None where there is no limit.
    largest_batch: Callable[[Any], int | None] = _any_batch
    #: Returns how the values of a column are read; None where they are plain.
    value_reader: Callable[[Any, str], ReadValue | None] = _as_it_is
    #: Returns why the values of a column cannot be read, with the remedy; None where they can.
    problem_of: Callable[[Any], str | None] = _any_column
    #: Closing the cursor first would read the rest of the result, or wait for an answer from a server that is gone.
    closes_connection_first: bool = False
