"""The values of an exported line, as numbers that can be compared."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

#: Amounts are compared and summed as whole millionths.
MICROS: Final = 1_000_000
_CENT_MICROS: Final = 10_000
#: The largest amount: larger numbers would not fit into 64 bits.
_MOST = Decimal("1e12")
_MILLISECONDS_FROM: Final = 100_000_000_000


def seconds_of(text: str) -> int | None:
    """A time in Unix seconds or milliseconds, or in ISO 8601, with UTC as its default; None if it has another form."""
    if len(text) == 10 and text.isascii() and text.isdigit():
        return int(text)
    try:
        number = Decimal(text)
        return _seconds(number) if number.is_finite() else None
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC").replace(" +", "+"))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def _seconds(number: Decimal) -> int | None:
    if not 0 <= number < _MILLISECONDS_FROM * 1000:
        return None
    return int(number / 1000) if number >= _MILLISECONDS_FROM else int(number)


def micros_of(text: str, *, is_cents: bool = False) -> int | None:
    """An amount in millionths; 0 for empty text; None if it is not an amount."""
    if not text:
        return 0
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    if not amount.is_finite() or abs(amount) >= _MOST:
        return None
    return int((amount * (_CENT_MICROS if is_cents else MICROS)).to_integral_value())


def amount_of(units: int, millionths: int) -> Decimal:
    """An amount from the sums of whole parts and of millionths."""
    return (Decimal(units) + Decimal(millionths) / MICROS).normalize() + Decimal(0)


def id_in(parameters: str, key: str) -> str:
    """The event id in the callback parameters, which are JSON; empty if it is missing."""
    try:
        entries = json.loads(parameters)
    except (ValueError, RecursionError):
        return ""
    value = entries.get(key) if isinstance(entries, dict) else None
    return value if isinstance(value, str) else "" if value is None else str(value)
