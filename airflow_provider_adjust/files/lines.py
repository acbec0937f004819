"""The lines of a text file with their numbers, none of them longer than a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: Characters of a line. Adjust takes events of 1,000,000 bytes, which escapes of CSV or JSON make longer.
LONGEST_LINE: Final = 4 * 1024 * 1024
TOO_LONG: Final = f"has more than {LONGEST_LINE:,} characters, which is more than Adjust takes of an event"

#: A line's number, from 1, and its text with its end; None in place of a text that is too long.
Line = tuple[int, str | None]


def numbered_lines(file: Any, where: str) -> Iterator[Line]:
    """Read line by line. Of a line that is too long, no more than the limit is in memory at a time.

    :param where: the file, for the message.
    :raises AdjustConfigurationError: the text is UTF-16.
    """
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if number == 1:
            refuse_utf16(line, where)
        if _is_part(line):
            while _is_part(file.readline(LONGEST_LINE)):
                pass
            yield number, None
        else:
            yield number, line


def refuse_utf16(start: str, where: str) -> None:
    """Refuse a text that is UTF-16, as its start shows when it is read as UTF-8.

    :raises AdjustConfigurationError: it does.
    """
    if "\x00" in start[:4]:
        raise AdjustConfigurationError(f"{where} is written as UTF-16; write it as UTF-8. Nothing was sent")


def _is_part(line: str) -> bool:
    return len(line) >= LONGEST_LINE and line[-1] not in "\r\n"
