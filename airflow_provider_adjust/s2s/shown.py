"""How text from elsewhere is shown: on one line, with nothing that steers a terminal, whatever the value is.

Rows, columns and answers may hold line ends, escape sequences and characters that turn the direction of writing; none of
those reaches a log, where it could pass for another line.
"""

from __future__ import annotations

from typing import Any


def printable(text: str, longest: int | None = None) -> str:
    """The text with what is not printable written as an escape, such as ``\\x1b``, and cut if need be."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def represented(value: Any) -> str:
    """``repr``, or the name of the type where it has none: a huge number, endless nesting, an object that raises."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def row_text(row: Any) -> str:
    """What a row holds, for a digest; a value that cannot be represented spoils only itself."""
    try:
        return repr(row)
    except Exception:
        if not isinstance(row, dict):
            return represented(row)
        return repr({represented(name): represented(value) for name, value in row.items()})


def quoted(value: Any, longest: int = 40) -> str:
    """The value for an error message: short, on one line, unmistakably quoted."""
    return printable(represented(value), longest)
