"""Rows from a CSV file with a header line, read strictly: a value never swallows another row.

A line that violates the rules of quoting is refused alone. If a quote is not closed, its line is refused, and the lines after
it are read again as rows. If both readings are possible, reading stops with an error: a quoted value of several lines of which
some could be rows, or a backslash before a quote that would end the row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from airflow_provider_adjust.files.csv_quoting import Quoting, Record
from airflow_provider_adjust.files.head import CheckColumns, any_columns, check_is_head
from airflow_provider_adjust.files.lines import LONGEST_LINE, TOO_LONG, Line, numbered_lines
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InputUnreadable
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import UnreadableRow

#: The most lines of a quoted value, which are kept until its quote is closed.
MOST_LINES: Final = 10_000
_BACKSLASHED_QUOTE = '\\"'


def csv_rows(file: Any, where: str, options: RowOptions, check: CheckColumns = any_columns) -> Iterator[Any]:
    """The rows after the header, which is read and checked immediately; none if the file is empty.

    :param where: the file, for messages.
    :param check: called with the names in the header.
    :raises AdjustConfigurationError: the first line is not a header, or its columns cannot be used.
    :raises InputUnreadable: while rows are read: the end of a row is ambiguous.
    """
    quoting = Quoting(options.escape_char)
    lines = numbered_lines(file, where)
    for number, line in lines:
        if line is None or not line.isspace():
            names, is_head = _names(quoting, line)
            # A line that is not CSV is checked, too: its words show what it is instead.
            check_is_head(names, where, options)
            if not is_head:
                raise AdjustConfigurationError(
                    f"line {number} of {where} is not a line of column names, separated by commas: its quotes are not closed, or "
                    "it is too long. Nothing was sent"
                )
            check(names, where)
            doubtful = Quoting("\\") if options.escape_char is None else None
            return iter(_Rows(lines, names, quoting, doubtful, where))
    return iter(())


def _names(quoting: Quoting, line: str | None) -> tuple[list[str], bool]:
    """The names in the header line, and whether it is valid CSV."""
    if line is None:
        return [], False
    head = Record(quoting, (line,))
    is_head = not head.open and head.problem is None
    return (head.fields if is_head else line.strip().split(",")), is_head


class _Rows:
    """Turns lines into rows. Lines that were read as part of a row can be put back.

    :param doubtful: another possible quoting, if the user has not set one; it never decides, but it can make a row ambiguous.
    """

    def __init__(
        self, lines: Iterator[Line], names: Sequence[str], quoting: Quoting, doubtful: Quoting | None, where: str
    ) -> None:
        self._lines = lines
        self._put_back: deque[Line] = deque()
        self._names = names
        self._quoting = quoting
        self._where = where
        self._with_backslashes = doubtful

    def __iter__(self) -> Iterator[Any]:
        width = len(self._names)
        while (numbered := self._next()) is not None:
            number, line = numbered
            if line is None:
                yield UnreadableRow(f"line {number} {TOO_LONG}")
            elif line.isspace():
                continue
            else:
                fields = self._quoting.fields_of_line(line) or self._fields(number, line)
                if isinstance(fields, UnreadableRow):
                    yield fields
                elif len(fields) != width:
                    yield UnreadableRow(
                        f"line {number} has {len(fields)} fields and the head has {width}; put a value that holds a comma "
                        "into quotes"
                    )
                else:
                    yield dict(zip(self._names, fields, strict=True))

    def _next(self) -> Line | None:
        return self._put_back.popleft() if self._put_back else next(self._lines, None)

    def _fields(self, number: int, line: str) -> list[str] | UnreadableRow:
        record, taken, size = Record(self._quoting, [line]), [line], len(line)
        last = number
        while record.open and (numbered := self._next()) is not None:
            last, following = numbered
            size += len(following or "")
            if following is None or size > LONGEST_LINE or len(taken) >= MOST_LINES:
                raise self._cannot_tell(number, "a quote is not closed, or its value is too long", "close or double it")
            taken.append(following)
            record.add(following)
        if self._continues_with_backslashes(taken):
            raise self._cannot_tell(
                number,
                "a backslash before a quote decides where the row ends",
                "set escape_char to a backslash, or to a quote if quotes are doubled",
            )
        if record.open or (record.problem and len(taken) > 1):
            self._put_back.extendleft(zip(range(last, number, -1), reversed(taken[1:]), strict=True))
            return UnreadableRow(f"line {number} has a quote that is not closed; close it, or double it if it is text")
        if record.problem:
            return UnreadableRow(
                f"line {number} is not CSV: {record.problem}; double a quote that is text, or see escape_char"
            )
        if len(taken) > 1 and self._holds_a_row(taken):
            raise self._cannot_tell(
                number, f"a quoted value continues to line {last} over what may be rows", "close or double the quote"
            )
        return record.fields

    def _continues_with_backslashes(self, taken: Sequence[str]) -> bool:
        """Whether the row would continue after these lines if a backslash escaped a quote."""
        if self._with_backslashes is None or not any(_BACKSLASHED_QUOTE in line for line in taken):
            return False
        record = Record(self._with_backslashes)
        for line in taken:
            record.add(line)
            if record.problem or not record.open:
                return False
        return True

    def _holds_a_row(self, taken: Sequence[str]) -> bool:
        """Whether a quote may have been left open: a line after the first has as many commas as a row."""
        width = len(self._names)
        first, *inner, last = (line.count(",") + 1 for line in taken)
        # The last line ends the row. If the value is in the first column, it has as many commas as a row anyway.
        return width in inner or (last == width <= first)

    def _cannot_tell(self, number: int, why: str, remedy: str) -> InputUnreadable:
        return InputUnreadable(
            f"line {number} of {self._where}: {why}; {remedy}. This row and those after it were not sent"
        )
