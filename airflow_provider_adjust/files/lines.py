"""The lines of a text file with their numbers, limited in length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: The most characters of a line. Adjust accepts events of 1,000,000 bytes, and escapes of CSV or JSON make them longer.
LONGEST_LINE: Final = 4 * 1024 * 1024
TOO_LONG: Final = f"has more than {LONGEST_LINE:,} characters, which is more than Adjust takes of an event"

#: A line's number, from 1, and its text with its line end; None instead of a text that is too long.
Line = tuple[int, str | None]


def numbered_lines(file: Any, where: str) -> Iterator[Line]:
    """Read line by line. No more of a line than the limit is ever in memory.

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
    """Refuse a UTF-16 text, which is recognised by its start as read in UTF-8.

    :raises AdjustConfigurationError: the text is UTF-16.
    """
    if "\x00" in start[:4]:
        raise AdjustConfigurationError(f"{where} is written as UTF-16; write it as UTF-8. Nothing was sent")


def _is_part(line: str) -> bool:
    return len(line) >= LONGEST_LINE and line[-1] not in "\r\n"
