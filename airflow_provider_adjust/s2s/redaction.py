"""Redact values, answers and secrets for logs, errors and files.

Rows, columns and answers may contain line ends, escape sequences and characters that change the writing direction. They are
escaped, so that they cannot forge a line of a log. An answer may repeat the event's values and the token; a message never
does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint

_Class = TypeVar("_Class", bound=type)


def shows(*names: str) -> Callable[[_Class], _Class]:
    """Limit ``repr`` of a class to these attributes, also in tracebacks with local variables.

    Rich, which writes such tracebacks, shows each item of a tuple or a dict unless the class has a ``__rich_repr__``.
    """

    def decorate(cls: _Class) -> _Class:
        def shown(self: Any) -> list[tuple[str, Any]]:
            return [(name, getattr(self, name)) for name in names]

        def text(self: Any) -> str:
            return f"{cls.__name__}({', '.join(f'{name}={value!r}' for name, value in shown(self))})"

        setattr(cls, "__rich_repr__", shown)  # noqa: B010 mypy knows no such attribute
        setattr(cls, "__repr__", text)  # noqa: B010
        return cls

    return decorate


@shows()
class Unshown(dict[str, str]):
    """A dict that ``repr`` does not reveal."""


#: The errors that reading a value of any type may raise. Not every Exception: a signal handler may raise its own meanwhile,
#: which must end the task rather than refuse a row.
VALUE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def escape(text: str, longest: int | None = None) -> str:
    """The text with unprintable characters escaped, such as ``\\x1b``, cut to ``longest`` characters."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def safe_repr(value: Any) -> str:
    """``repr``, or the name of the type if that fails: a huge number, endless nesting, an object that raises."""
    try:
        return repr(value)
    except VALUE_ERRORS:
        return f"<{type(value).__name__}>"


#: An object's address in memory, which differs in each process.
_PLACE = re.compile(r"0[xX][0-9A-Fa-f]+")


def stable_repr(value: Any) -> str:
    """``repr`` without addresses, so that it is the same in each process."""
    text = repr(value)
    return _without_address(value) if "0x" in text.lower() else text


def row_repr(row: Any) -> str:
    """The content of a row, for a digest; a value without a ``repr`` is represented by its type."""
    try:
        return stable_repr(row)
    except VALUE_ERRORS:
        if not isinstance(row, dict):
            return _PLACE.sub("0x", safe_repr(row))
        return repr({safe_repr(name): _PLACE.sub("0x", safe_repr(value)) for name, value in row.items()})


def _without_address(value: Any) -> str:
    """``repr`` without addresses; text and bytes stay unchanged."""
    if isinstance(value, bytearray | memoryview):
        return repr(bytes(value))
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name!r}: {_without_address(each)}' for name, each in value.items())}}}"
    if type(value) in {list, tuple}:
        return f"[{', '.join(map(_without_address, value))}]"
    text = repr(value)
    return text if isinstance(value, str | bytes) else _PLACE.sub("0x", text)


def quote(value: Any, longest: int = 40) -> str:
    """The value for an error message: short, on one line, quoted."""
    return escape(safe_repr(value), longest)


_IDENTIFIER = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[0-9a-fA-F]{14,}\b")
_ADDRESS = re.compile(
    r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|\b(?:[0-9a-fA-F]{1,4}:){3}[0-9a-fA-F:.]+"
    # Anchored at the start of a run, up to the first two colons: otherwise each position of a long run would be tried.
    r"|(?<![0-9a-fA-F:])(?:[0-9a-fA-F]|:(?!:))*+::[0-9a-fA-F:.]*+"
)


#: A quoted value in a sentence. One that was cut has no second quote.
_QUOTED_VALUE = re.compile(r"(?<!\w)(['\"])((?:(?!\1)[^…])*)(\1|…)")
#: Names and times are shown. Other values are shown if they have few letters and digits; ids have more.
_NAME_OR_TIME = re.compile(
    r"[A-Za-z_.-]{1,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{1,18}(?: ?[A-Za-z+:0-9-]{1,6})?)?"
)
_FEWER_THAN_AN_ID = 9


def mask_values(sentence: str) -> str:
    """Mask quoted values in a sentence about a row: device ids and addresses may be in any column.

    The beginning of a long value remains, as in ``mask_params``.
    """
    for pattern in (_ADDRESS, _IDENTIFIER):
        sentence = pattern.sub("***", sentence)
    return _QUOTED_VALUE.sub(_beginning, sentence)


def _beginning(quoted: re.Match[str]) -> str:
    value, end = quoted[2], quoted[3]
    if _NAME_OR_TIME.fullmatch(value) or (end != "…" and sum(map(str.isalnum, value)) < _FEWER_THAN_AN_ID):
        return quoted[0]
    return f"{quoted[1]}{value[:4]}…{quoted[1]}"


#: The most characters of a value that a log shows.
_LONGEST_SHOWN = 200


def mask_params(params: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """The parameters for a log: enough of an id to recognise it, not enough to use it.

    Parameters that the schema does not know are masked, too, since they may be personal.
    """
    open_names = endpoint.parameters.keys() - endpoint.personal
    return {
        escape(name): escape(text if name in open_names else f"{text[:4]}…", _LONGEST_SHOWN)
        for name, text in params.items()
    }
