"""Fast path for clean values: those of the usual type, already in the form in which they are sent. Nearly all are.

Each function reads a value once. It returns the text that the normaliser of the parameter's kind would return, if form encoding
leaves that text unchanged. Otherwise it returns None, and the normaliser converts or refuses the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.s2s.endpoints.endpoint import Parameter
from airflow_provider_adjust.s2s.events.event import needs_no_encoding
from airflow_provider_adjust.s2s.events.values import is_null_word

Clean = Callable[[Any], str | None]

#: Amounts from 0.001 up to ten digits: above every minimum and below every maximum.
_is_amount = re.compile(
    r"(?:[1-9][0-9]{0,9}(?:\.[0-9]{1,9})?|0\.(?:[1-9][0-9]{0,8}|0[1-9][0-9]{0,7}|00[1-9][0-9]{0,6}))"
).fullmatch
_LARGEST_MINIMUM = Decimal("0.001")
_NUMBERS = frozenset({Decimal, str, float})
#: Longer than every word for a missing value.
_is_device_id = re.compile(r"[0-9A-Za-z-]{21,512}").fullmatch
_is_token = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_is_ipv4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch


def _amount(parameter: Parameter) -> Clean | None:
    def clean(value: Any) -> str | None:
        return text if type(value) in _NUMBERS and _is_amount(text := str(value)) else None

    return clean if (parameter.minimum or 0) <= _LARGEST_MINIMUM else None


def _choice(parameter: Parameter) -> Clean:
    choices = frozenset(filter(needs_no_encoding, parameter.choices))

    def clean(value: Any) -> str | None:
        return value if type(value) is str and value in choices else None

    return clean


def _device_id(parameter: Parameter) -> Clean:
    letter_case, hyphens = parameter.letter_case, parameter.hyphens

    def clean(value: Any) -> str | None:
        if type(value) is not str or not _is_device_id(value) or not value.strip("0-"):
            return None
        text = value if hyphens else value.replace("-", "")
        return text.lower() if letter_case == "lower" else text.upper() if letter_case == "upper" else text

    return clean


def _flag(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return ("1" if value else "0") if type(value) is bool else None

    return clean


def _identifier(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return value if type(value) is str and value and needs_no_encoding(value) and not is_null_word(value) else None

    return clean


def _integer(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return str(value) if type(value) is int and 0 <= value < 10**18 else None

    return clean


def _ipv4(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return value if type(value) is str and _is_ipv4(value) else None

    return clean


def _text(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return value if type(value) is str and value and needs_no_encoding(value) else None

    return clean


def _token(parameter: Parameter) -> Clean:
    def clean(value: Any) -> str | None:
        return value if type(value) is str and _is_token(value) and not is_null_word(value) else None

    return clean


#: The factory of the fast-path function, for each kind of parameter that has one.
CLEAN: Mapping[str, Callable[[Parameter], Clean | None]] = {
    "choice": _choice,
    "currency": _choice,
    "device_id": _device_id,
    "flag": _flag,
    "identifier": _identifier,
    "integer": _integer,
    "ipv4": _ipv4,
    "money": _amount,
    "text": _text,
    "token": _token,
}
