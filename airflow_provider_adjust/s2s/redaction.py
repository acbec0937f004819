"""Decides what may be shown of a value, an answer or a secret in a log, an error or a file.

Rows, columns and answers may hold line ends, escape sequences and characters that turn the direction of writing; none of
those reaches a log, where it could pass for another line. An answer may repeat the event's values and the token; a message
never does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint


def escape(text: str, longest: int | None = None) -> str:
    """The text with what is not printable written as an escape, such as ``\\x1b``, and cut if need be."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def safe_repr(value: Any) -> str:
    """``repr``, or the name of the type where it has none: a huge number, endless nesting, an object that raises."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


#: Where an object is in memory, which is another place in each process.
_PLACE = re.compile(r"0[xX][0-9A-Fa-f]+")


def stable_repr(value: Any) -> str:
    """``repr`` without addresses, so that it is the same in each process."""
    text = repr(value)
    return _without_address(value) if "0x" in text.lower() else text


def row_repr(row: Any) -> str:
    """What a row holds, for a digest; a value without a text is shown by its type."""
    try:
        return stable_repr(row)
    except Exception:
        if not isinstance(row, dict):
            return safe_repr(row)
        return repr({safe_repr(name): _without_address(value) for name, value in row.items()})


def _without_address(value: Any) -> str:
    """``safe_repr`` without addresses; text and bytes keep what looks like one."""
    if isinstance(value, bytearray | memoryview):
        return repr(bytes(value))
    if isinstance(value, dict):
        return f"{{{', '.join(f'{safe_repr(name)}: {_without_address(each)}' for name, each in value.items())}}}"
    if type(value) in {list, tuple}:
        return f"[{', '.join(map(_without_address, value))}]"
    text = safe_repr(value)
    return text if isinstance(value, str | bytes) else _PLACE.sub("0x", text)


def quote(value: Any, longest: int = 40) -> str:
    """The value for an error message: short, on one line, in quotes."""
    return escape(safe_repr(value), longest)


#: Shorter values identify nobody and occur in any sentence.
_SHORTEST = 5


def redact_event_values(message: str, params: Mapping[str, str], endpoint: Endpoint, s2s_token: str | None) -> str:
    """The message without the token and the personal values of the event that it answers, as sent or encoded."""
    lowered = message.lower()
    found = {
        each for each in _secrets(params, endpoint, s2s_token) if len(each) >= _SHORTEST and each.lower() in lowered
    }
    if not found:
        return message
    # The longest first: one may be a part of another.
    pattern = "|".join(re.escape(each) for each in sorted(found, key=len, reverse=True))
    return re.sub(pattern, "***", message, flags=re.IGNORECASE)


def _secrets(params: Mapping[str, str], endpoint: Endpoint, s2s_token: str | None) -> Iterator[str]:
    if s2s_token:
        yield s2s_token
    for name, text in params.items():
        parameter = endpoint.parameters.get(name)
        if parameter is not None and not parameter.personal:
            continue
        entries = _entries(text) if parameter is not None and parameter.kind == "object" else ()
        for value in (text, *entries):
            yield value
            yield quote_plus(value)


_LABELLED = re.compile(
    r"\b(\w*(?:token|adid|idf[av]|oaid|uuid|_id|imei|meid|address|device))\b\s*[:=]\s*[^\s,)]+", re.IGNORECASE
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_IDENTIFIER = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[0-9a-fA-F]{14,}\b")
_ADDRESS = re.compile(
    r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|\b(?:[0-9a-fA-F]{1,4}:){3,}[0-9a-fA-F:.]+|[0-9a-fA-F:]*::[0-9a-fA-F:.]*"
)


def redact(message: str, *, longest: int = 300) -> str:
    """Take out what may be a token, a device id or an address, so that the message may be logged, stored and raised."""
    message = message[: 4 * longest]
    for pattern, replacement in (
        (_LABELLED, r"\1: ***"),
        (_QUOTED, "'***'"),
        (_IDENTIFIER, "***"),
        (_ADDRESS, "***"),
    ):
        message = pattern.sub(replacement, message)
    message = escape(" ".join(message.split()))
    # Cut between two words: a part of a secret could not be recognised as one.
    return message if len(message) <= longest else message[: longest - 1].rpartition(" ")[0] + "…"


#: A value of a row in a sentence. One that was too long has no second quote.
_QUOTED_VALUE = re.compile(r"(?<!\w)(['\"])((?:(?!\1)[^…])*)(\1|…)")
#: Names and times. Other values are shown if they have few letters and digits; an id has more.
_NAME_OR_TIME = re.compile(
    r"[A-Za-z_.-]{1,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{1,18}(?: ?[A-Za-z+:0-9-]{1,6})?)?"
)
_FEWER_THAN_AN_ID = 9


def mask_values(sentence: str) -> str:
    """What is wrong with a row, without device ids and addresses: they may be where another value belongs.

    Of a long value it leaves the beginning, as ``mask_params`` does.
    """
    for pattern in (_ADDRESS, _IDENTIFIER):
        sentence = pattern.sub("***", sentence)
    return _QUOTED_VALUE.sub(_beginning, sentence)


def _beginning(quoted: re.Match[str]) -> str:
    value, end = quoted[2], quoted[3]
    if _NAME_OR_TIME.fullmatch(value) or (end != "…" and sum(map(str.isalnum, value)) < _FEWER_THAN_AN_ID):
        return quoted[0]
    return f"{quoted[1]}{value[:4]}…{quoted[1]}"


#: Characters of a value that a log shows.
_LONGEST_SHOWN = 200


def mask_params(params: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """The parameters as a log may show them: enough of an id to recognise it, not enough to use it.

    What the schema does not know may be personal, too.
    """
    open_names = endpoint.parameters.keys() - endpoint.personal
    return {
        escape(name): escape(text if name in open_names else f"{text[:4]}…", _LONGEST_SHOWN)
        for name, text in params.items()
    }


def _entries(text: str) -> list[str]:
    """The values of an object parameter, as text."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [str(value) for value in entries.values()] if isinstance(entries, dict) else []
