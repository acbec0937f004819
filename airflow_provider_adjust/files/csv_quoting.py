"""Strict parsing of one CSV record, line by line.

Python's ``csv`` accepts a quote inside an unquoted value, and an open quote consumes all lines up to the next one. This parser
reports both, so that the line can be refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import quote

_QUOTE, _COMMA = '"', ","
#: A line of complete values, each quoted or without quotes.
_IS_SIMPLE = re.compile(r'(?:"[^"]*+"|[^",\r\n]*+)(?:,(?:"[^"]*+"|[^",\r\n]*+))*+[\r\n]*+').fullmatch
#: Python's ``csv`` accepts no longer value.
_LONGEST_FOR_CSV = 100_000


class Quoting:
    """How the values of a CSV file are quoted: a quote within is doubled, or follows the escape character.

    :param escape_char: the escape character; None or a quote if there is none.
    :raises AdjustConfigurationError: it cannot be an escape character.
    """

    def __init__(self, escape_char: str | None) -> None:
        if escape_char is not None and (len(escape_char) != 1 or escape_char.isalnum() or escape_char in ", \r\n"):
            raise AdjustConfigurationError(
                f"escape_char is {quote(escape_char)}; it must be one character, and not a letter, a digit, a comma or a space"
            )
        self.escape_char = escape = None if escape_char == _QUOTE else escape_char
        # A possessive quantifier needs no memory to backtrack over a value of a megabyte.
        if escape is None:
            self._quoted = re.compile(r'[^"]*+(?:""[^"]*+)*+').match
            self._plain = re.compile(r'[^",\r\n]*+').match
        else:
            e = re.escape(escape)
            escaped = rf"{e}(?:\r\n|.)"
            self._quoted = re.compile(rf'[^"{e}]*+(?:(?:""|{escaped})[^"{e}]*+)*+', re.DOTALL).match
            self._plain = re.compile(rf'[^",\r\n{e}]*+(?:{escaped}[^",\r\n{e}]*+)*+', re.DOTALL).match
            self._unescape = re.compile(rf'{e}(["{e},\r\n])|"(")').sub

    def fields_of_line(self, line: str) -> list[str] | None:
        """The fields of a line that is a complete row under every way of quoting; None if ``Record`` must decide.

        Nearly all lines are complete rows, and this is several times faster.
        """
        if self.escape_char is not None and self.escape_char in line:
            return None
        if _QUOTE not in line:
            return line.rstrip("\r\n").split(_COMMA)
        if len(line) < _LONGEST_FOR_CSV and "\\" not in line and _IS_SIMPLE(line):
            return next(csv.reader((line,)))
        return None

    def end_of_value(self, line: str, start: int, *, quoted: bool) -> int:
        """The end of the value that begins or continues at ``start`` on the line, without its closing quote."""
        found = (self._quoted if quoted else self._plain)(line, start)
        return found.end() if found else start

    def value(self, text: str, *, quoted: bool) -> str:
        """The value of the text, with escapes resolved."""
        if self.escape_char is not None:
            if text == "\\N" and self.escape_char == "\\" and not quoted:
                return ""  # MySQL's NULL
            return self._unescape(r"\1\2", text)
        return text.replace('""', '"') if quoted else text


class Record:
    """The fields of a record, as far as its lines have been added.

    ``open``: it continues in the next line. ``problem``: it is not CSV, and why.
    """

    def __init__(self, quoting: Quoting, lines: Iterable[str] = ()) -> None:
        self._quoting = quoting
        self._begun: list[str] = []
        self._quoted = False
        self.fields: list[str] = []
        self.open = False
        self.problem: str | None = None
        for line in lines:
            self.add(line)

    def add(self, line: str) -> None:
        """Read the next line."""
        at = 0
        while True:
            if not self.open:
                self._quoted = line.startswith(_QUOTE, at)
                at += self._quoted
            end = self._quoting.end_of_value(line, at, quoted=self._quoted)
            self._begun.append(line[at:end])
            self.open = self._continues(line, end)
            if self.open:
                return
            self.fields.append(self._quoting.value("".join(self._begun), quoted=self._quoted))
            self._begun.clear()
            at = end + self._quoted
            if at == len(line) or line[at] in "\r\n":
                return
            if line[at] != _COMMA:
                self.problem = self._problem(len(self.fields), line[at])
                return
            at += 1

    def _continues(self, line: str, end: int) -> bool:
        """Whether the value continues in the next line: its quote is open, or the line's end is escaped."""
        if self._quoted:
            return line[end : end + 1] != _QUOTE
        return end == len(line) and line[-1] in "\r\n"

    def _problem(self, field: int, found: str) -> str:
        if self._quoted:
            return f"in field {field}, a quote is followed by neither a comma nor the line's end"
        if found == _QUOTE:
            return f"field {field} has a quote but does not begin with one"
        return f"field {field} ends with the escape character"
