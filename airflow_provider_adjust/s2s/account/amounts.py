"""How amounts of money are written for people: in full, and without the zeros that a database adds."""

from __future__ import annotations

from decimal import Decimal

#: Decimals of an amount that a database has added up. SQLite adds in binary, so that what follows them is noise. What
#: single ads earn is less than a unit, and such noise is smaller there.
_PLACES = 6
_PLACES_BELOW_ONE = 10


def plain(amount: Decimal) -> str:
    """Every digit, without zeros after the second decimal: ``9.90`` and ``0.000000122``."""
    return _without_zeros(format(amount, "f"))


def shown(amount: Decimal) -> str:
    """The same with thousands separators: ``1,250.00``."""
    return _without_zeros(format(amount, ",f"))


def from_database(amount: Decimal) -> Decimal:
    """An amount that a database has added up: in cents, or with more places if it has them."""
    rounded = round(amount, _PLACES if abs(amount) >= 1 else _PLACES_BELOW_ONE)
    return round(rounded, 2) if rounded == round(rounded, 2) else rounded


def _without_zeros(text: str) -> str:
    whole, point, decimals = text.partition(".")
    return f"{whole}{point}{decimals[:2]}{decimals[2:].rstrip('0')}"
