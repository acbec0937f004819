"""Convert one value of a row to the text that is sent, with one function per kind of parameter.

A function takes the parameter and a value that is not missing, and returns the text. ``""`` leaves the parameter out; ``None``
leaves it out and counts that (an IPv6 address, an all-zero device id). A value that cannot be sent raises ``InvalidEvent`` with
the remedy. Values of personal parameters are never quoted. The length of a text is checked before any slower check, since a user
of the app may have written the text.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from numbers import Integral, Real
from typing import Any

from airflow_provider_adjust.s2s.endpoints.endpoint import Parameter
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.redaction import quote

Normalise = Callable[[Parameter, Any], str | None]
#: Adjust S2S events, revenue parameters: the limit above which an amount is refused.
MAX_REVENUE = Decimal(100_000_000_000)
_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER = 100
#: The longest one-word value in characters: a flag, a choice, a count, an address.
_LONGEST_WORD = 100
#: What a column of the ledger holds.
LONGEST_TOKEN = 64
_LONGEST_DEVICE_ID = 512
_LETTERS_AND_DIGITS = re.compile(r"[A-Za-z0-9]+")
_compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
#: What other tools write for a missing value, in lower case and without surrounding signs.
_NULL_WORDS = frozenset({"null", "none", "nil", "nan", "nat", "na", "n/a", "undefined", "\\n"})
_NEVER_MISSING = frozenset({datetime, date, time, dict, list, tuple, bytes, uuid.UUID})
_AROUND_A_NULL_WORD = "<>()[]{}\"'#"
_FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on", "\x01"), "1"),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off", "\x00"), "0"),
}


def is_missing(value: Any) -> bool:
    """Whether the value is None, empty text, NaN, NaT or pandas' NA, without importing pandas or numpy."""
    if type(value) in _NEVER_MISSING:
        return False
    if value is None:
        return True
    if isinstance(value, str):
        return not value
    if isinstance(value, int):
        return False
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float):
        return value != value
    return type(value).__name__ in {"NaTType", "NAType"} or (
        isinstance(value, Real) and not isinstance(value, Integral) and bool(value != value)
    )


def is_nan(value: Any) -> bool:
    """Whether the value is NaN."""
    return isinstance(value, Real | Decimal) and not isinstance(value, Integral) and is_missing(value)


def is_null_word(text: str) -> bool:
    """Whether the text is a word for a missing value, such as NULL, ``\\N`` and ``<NA>``."""
    return len(text) <= 20 and text.strip(_AROUND_A_NULL_WORD).lower() in _NULL_WORDS


def refuse(parameter: str, detail: str) -> InvalidEvent:
    return InvalidEvent(f"invalid_{parameter}", f"{parameter} {detail}")


def scalar_text(value: Any) -> str | None:
    """Plain text of a scalar: ``true``/``false``, plain numbers, ISO times. None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) <= _LONGEST_NUMBER else None
    if isinstance(value, Real):
        return _plain_float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | IPv4Address | IPv6Address):
        return str(value)
    return None


def real_decimal(value: Real | Decimal) -> Decimal | None:
    """The shortest exact decimal of a number, so that 0.1 does not become 0.1000000000000000055…; None for a fraction."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _plain_float(value: Real) -> str | None:
    number = real_decimal(value)
    if number is None or not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        return None
    return str(int(number)) if number == number.to_integral_value() else format(number, "f")


def _check_unicode(name: str, text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise refuse(name, "is not valid Unicode (it holds a lone surrogate); repair its encoding") from None
    return text


def text(parameter: Parameter, value: Any) -> str:
    result = scalar_text(value)
    if result is None:
        raise refuse(parameter.name, f"is a {type(value).__name__}; give text")
    return _check_unicode(parameter.name, result)


def identifier(parameter: Parameter, value: Any) -> str | None:
    """Text that identifies a device or an installation; None if it is a word for null."""
    result = text(parameter, value)
    return None if is_null_word(result.strip()) else result


def _word(value: Any) -> str:
    """A value that is one short word or number, as text; empty for anything else."""
    result = scalar_text(value)
    return "" if result is None or len(result) > _LONGEST_WORD else result.strip()


def _whole(number: str) -> str:
    """The text of a whole number, without the ``.0`` that some tools add."""
    whole, _, fraction = number.partition(".")
    return number if fraction.strip("0") else whole


def choice(parameter: Parameter, value: Any) -> str:
    result = _word(value)
    if result not in parameter.choices and parameter.optional:
        result = _whole(result.lower())
    if result not in parameter.choices:
        raise refuse(parameter.name, f"is {quote(value)}; it must be one of {', '.join(parameter.choices)}")
    return result


def constant(parameter: Parameter, value: Any) -> str:
    [result] = parameter.choices
    given = scalar_text(value)
    if given != result and not (given == "true" and result == "1"):
        raise refuse(parameter.name, f"is always {result}; leave it out, or name the column in ignore_columns")
    return result


def flag(parameter: Parameter, value: Any) -> str:
    # MySQL has no booleans: a BIT comes as one byte.
    given = bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray) and len(value) == 1 else value
    result = _FLAGS.get(_whole(_word(given).lower()))
    if result is None:
        raise refuse(parameter.name, f"is {quote(value)}; it must be true, false, 1 or 0")
    return result


def integer(parameter: Parameter, value: Any) -> str:
    result = _whole(_word(value))
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}", result):
        raise refuse(parameter.name, f"is {quote(value)}; it must be a whole number, not negative")
    return str(int(result))


def token(parameter: Parameter, value: Any) -> str:
    result = value.strip() if isinstance(value, str) else scalar_text(value) or ""
    if len(result) > LONGEST_TOKEN:
        raise refuse(parameter.name, f"is {len(result):,} characters long; no token is longer than {LONGEST_TOKEN}")
    if is_null_word(result):
        return ""
    if not _LETTERS_AND_DIGITS.fullmatch(result):
        raise refuse(parameter.name, "must be letters and digits only, as Adjust's dashboard shows it")
    return result


def device_id(parameter: Parameter, value: Any) -> str | None:
    if isinstance(value, str):
        result = value.strip()
    elif isinstance(value, uuid.UUID) or (isinstance(value, Integral) and not isinstance(value, bool)):
        result = str(value)
    else:
        raise refuse(parameter.name, f"is a {type(value).__name__}; cast it to text")
    if not result:
        return ""
    if len(result) > _LONGEST_DEVICE_ID:
        raise refuse(
            parameter.name, f"is {len(result):,} characters long; no device id is longer than {_LONGEST_DEVICE_ID}"
        )
    if is_null_word(result) or _is_all_zero(result):
        return None
    if parameter.letter_case == "upper":
        result = result.upper()
    elif parameter.letter_case == "lower":
        result = result.lower()
    if not parameter.hyphens:
        result = result.replace("-", "")
    return _check_unicode(parameter.name, result)


def _is_all_zero(text: str) -> bool:
    return "0" in text and not text.strip("0-")


def ipv4(parameter: Parameter, value: Any) -> str | None:
    """One IPv4 address, also in the forms of database types: with ``/32``, or mapped into IPv6."""
    address = value.strip() if isinstance(value, str) else str(value)
    if len(address) > _LONGEST_WORD:
        raise _no_address(parameter)
    try:
        return str(IPv4Address(address))  # nearly every address; what follows takes several times as long
    except ValueError:
        pass
    try:
        interface = ip_interface(address)
    except ValueError:
        raise _no_address(parameter) from None
    if isinstance(interface, IPv6Interface) and interface.ip.ipv4_mapped is None:
        return None
    if interface.network.num_addresses > 1:
        raise _no_address(parameter)
    return str(interface.ip if isinstance(interface, IPv4Interface) else interface.ip.ipv4_mapped)


def _no_address(parameter: Parameter) -> InvalidEvent:
    return refuse(parameter.name, "is not an IP address; give one IPv4 address such as 192.0.2.1, no port, no list")


def money(parameter: Parameter, value: Any) -> str:
    number = _decimal(parameter.name, value)
    if not number.is_finite():
        without = "leave it out (NULL)" if parameter.minimum else "leave the row out of the query"
        raise refuse(parameter.name, f"is {quote(str(value))}; {without} where there is no amount")
    if number < (parameter.minimum or 0):
        # An endpoint without a minimum requires an amount in every event.
        remedy = (
            "send free purchases, trials and refunds without revenue (NULL), or leave them out of the query"
            if parameter.minimum
            else "leave the row out of the query, or net corrections there"
        )
        raise refuse(
            parameter.name, f"is {quote(str(value))}; Adjust takes no amount below {parameter.minimum or 0}: {remedy}"
        )
    if number > MAX_REVENUE:
        raise refuse(parameter.name, f"is {quote(str(value))}; Adjust takes no amount above {MAX_REVENUE:,}")
    result = format(number, "f").removeprefix("-")  # of zero
    if len(result) > _LONGEST_NUMBER:
        raise refuse(parameter.name, f"has {len(result)} digits; give a number that a currency can have")
    return result


def _decimal(name: str, value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, Real) and not isinstance(value, bool) and (number := real_decimal(value)) is not None:
        return number
    if isinstance(value, str):
        digits = value.strip()
        if len(digits) <= _LONGEST_NUMBER and _PLAIN_NUMBER.fullmatch(digits):
            return Decimal(digits)
        raise refuse(
            name, f"is {quote(value)}; write plain digits with a point, such as 1234.50, no separators, no sign"
        )
    raise refuse(name, f"is a {type(value).__name__}; give a number or its text")


def currency(parameter: Parameter, value: Any) -> str:
    result = value.strip().upper() if isinstance(value, str) else ""
    if result not in parameter.choices:
        raise refuse(parameter.name, f"is {quote(value)}; give an ISO 4217 code such as USD")
    return result


def flat_object(parameter: Parameter, value: Any) -> str:
    """One flat JSON object of text to text, from a mapping, from the pairs of one, or from JSON text of either.

    Adjust takes no nested objects, and an array only as the text of its JSON (S2S developer guide, custom data).
    """
    flat = {
        key: _entry_text(parameter.name, key, entry)
        for key, entry in _object_entries(parameter.name, value).items()
        if isinstance(entry, str) or not is_missing(entry)
    }
    if not flat:
        return ""
    return _check_unicode(parameter.name, _compact_json(flat))


def _object_entries(name: str, value: Any) -> Mapping[Any, Any]:
    if isinstance(value, str):
        value = None if is_null_word(value.strip()) else load_object(name, value)
    if value is None:
        return {}
    if _is_struct_of_rest(value):
        raise refuse(name, f"is a STRUCT as BigQuery's REST API gives it; select TO_JSON_STRING(...) AS {name}")
    if isinstance(value, list | tuple):
        # A MAP column of Parquet, or an ARRAY of STRUCTs with a key and a value.
        pairs = [_pair(name, entry) for entry in value]
        return _of_pairs(name, pairs)
    if isinstance(value, Mapping):
        return value
    raise _no_object(name)


def _pair(name: str, entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, list | tuple) and len(entry) == 2:
        return entry[0], entry[1]
    if isinstance(entry, Mapping) and entry.keys() == {"key", "value"}:
        return entry["key"], entry["value"]
    raise _no_object(name)


def _no_object(name: str) -> InvalidEvent:
    return refuse(name, "must be one flat object, a mapping or the JSON text of one")


def _is_struct_of_rest(value: Any) -> bool:
    """Whether the value has BigQuery's REST form: fields under ``f``, each value under ``v``, without names."""
    if isinstance(value, Mapping) and value.keys() == {"f"}:
        value = value["f"]
    elif isinstance(value, Mapping) and value.keys() == {"v"}:
        return _is_struct_of_rest(value["v"])
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, Mapping) and entry.keys() == {"v"} for entry in value)
    )


def _of_pairs(name: str, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidEvent("repeated_parameter", f"{name} has two values under one key; keep one")
    return result


def load_object(name: str, value: str) -> Any:
    """Read JSON text like ``json.loads``, but refuse repeated keys and NaN, and keep every digit."""

    def no_number(literal: str) -> Any:
        raise refuse(name, f"holds {literal}, which is not JSON")

    if not value.strip():
        return {}
    try:
        return json.loads(
            value, object_pairs_hook=partial(_of_pairs, name), parse_float=Decimal, parse_constant=no_number
        )
    except InvalidEvent:
        raise
    except (ValueError, ArithmeticError, RecursionError):
        raise refuse(name, 'is not valid JSON; give one flat object such as {"order_id": "1001"}') from None


def _entry_text(name: str, key: Any, entry: Any) -> str:
    if not isinstance(key, str):
        raise refuse(name, f"has a key that is a {type(key).__name__}; keys are text")
    if isinstance(entry, list | tuple):
        try:
            return json.dumps(entry, ensure_ascii=False, separators=(",", ":"), default=_json_scalar, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            raise refuse(name, f"has a list under {quote(key)} that JSON cannot hold") from None
    result = scalar_text(entry)
    if result is None:
        remedy = "flatten it" if isinstance(entry, Mapping) else "give text or a finite number"
        raise refuse(name, f"has a {type(entry).__name__} under {quote(key)}; Adjust takes no nested values: {remedy}")
    return result


def _json_scalar(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite() and Decimal(str(float(value))) == value:
        return float(value)  # a number stays a number if a float can hold it; otherwise it becomes text
    result = scalar_text(value)
    if result is None:
        raise TypeError
    return result


NORMALISERS: Mapping[str, Normalise] = {
    "choice": choice,
    "constant": constant,
    "currency": currency,
    "device_id": device_id,
    "flag": flag,
    "identifier": identifier,
    "integer": integer,
    "ipv4": ipv4,
    "money": money,
    "object": flat_object,
    "text": text,
    "token": token,
}
