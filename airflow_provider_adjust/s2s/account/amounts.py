"""Format amounts of money for people: all digits, without the trailing zeros of a database."""

from __future__ import annotations

from decimal import Decimal

#: The reliable decimals of a database's sum, for sums below a limit and for all others. SQLite adds in binary, so further
#: decimals are noise. Small sums, such as the revenue of single ads, have more reliable decimals.
_PLACES_BELOW = {1: 10, 1_000: 6}
_PLACES = 4


def plain(amount: Decimal) -> str:
    """Every digit, without zeros after the second decimal: ``9.90`` and ``0.000000122``."""
    return _without_zeros(format(amount, "f"))


def shown(amount: Decimal) -> str:
    """Like ``plain``, with thousands separators: ``1,250.00``."""
    return _without_zeros(format(amount, ",f"))


def from_database(amount: Decimal) -> Decimal:
    """A database's sum, rounded to its reliable decimals, with at least two."""
    places = next((places for limit, places in _PLACES_BELOW.items() if abs(amount) < limit), _PLACES)
    rounded = round(amount, places)
    return round(rounded, 2) if rounded == round(rounded, 2) else rounded


def _without_zeros(text: str) -> str:
    whole, point, decimals = text.partition(".")
    return f"{whole}{point}{decimals[:2]}{decimals[2:].rstrip('0')}"
