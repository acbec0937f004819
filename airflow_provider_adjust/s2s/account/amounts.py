"""How amounts of money are written for people: in full, and without the zeros that a database adds."""

from __future__ import annotations

from decimal import Decimal

#: Decimals of an amount that a database has added up, for amounts below a limit, and above all. SQLite adds in binary, so that
#: what follows them is noise. It is smaller in small sums, such as those of what single ads earn.
_PLACES_BELOW = {1: 10, 1_000: 6}
_PLACES = 4


def plain(amount: Decimal) -> str:
    """Every digit, without zeros after the second decimal: ``9.90`` and ``0.000000122``."""
    return _without_zeros(format(amount, "f"))


def shown(amount: Decimal) -> str:
    """The same with thousands separators: ``1,250.00``."""
    return _without_zeros(format(amount, ",f"))


def from_database(amount: Decimal) -> Decimal:
    """An amount that a database has added up: in cents, or with more places if it has them."""
    places = next((places for limit, places in _PLACES_BELOW.items() if abs(amount) < limit), _PLACES)
    rounded = round(amount, places)
    return round(rounded, 2) if rounded == round(rounded, 2) else rounded


def _without_zeros(text: str) -> str:
    whole, point, decimals = text.partition(".")
    return f"{whole}{point}{decimals[:2]}{decimals[2:].rstrip('0')}"
