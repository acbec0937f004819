"""The chart of the days as shapes, which a template draws as SVG: delivered above, not delivered below.

Each has its own scale: a few refused events would not be visible beside thousands of delivered ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from airflow_provider_adjust.deliveries_page.summary import Day, Totals

WIDTH, HEIGHT = 960, 300
_LEFT, _RIGHT = 84, 10
_MOST_LABELS = 12


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across a panel, and its value."""

    y: float
    value: Decimal


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the chart with its own scale, from its top down to its base."""

    name: str
    top: int
    base: int
    most: Decimal

    @property
    def ticks(self) -> list[Tick]:
        """Lines at zero, half and the top of the scale; without the half if that would be half an event."""
        values = [Decimal(0), self.most / 2, self.most] if self.most != 1 else [Decimal(0), self.most]
        return [Tick(self.y(value), value) for value in values]

    def y(self, value: Decimal) -> float:
        """The vertical position of a value."""
        return round(self.base - float(value / self.most) * (self.base - self.top), 1)


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's bars. ``label`` is under the axis, for some of the days."""

    day: Day
    x: float
    step: float
    delivered: Decimal
    missing: Decimal
    delivered_y: float
    missing_y: float
    label: str

    @property
    def left(self) -> float:
        return round(self.x + self.step * 0.15, 1)

    @property
    def width(self) -> float:
        return round(min(self.step * 0.7, 48.0), 1)

    @property
    def middle(self) -> float:
        return round(self.left + self.width / 2, 1)


@dataclass(frozen=True, slots=True)
class Trend:
    """The chart. ``unit`` is ``events`` or a currency."""

    unit: str
    delivered: Panel
    missing: Panel
    bars: list[Bar]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT


def trend(days: Sequence[Day], unit: str) -> Trend:
    """The chart of the days, from left to right."""
    shown = sorted(days, key=lambda day: day.day)
    values = [(_delivered(day.totals, unit), _missing(day.totals, unit)) for day in shown]
    delivered = Panel("Delivered", 24, 160, _nice(max((each[0] for each in values), default=Decimal(0))))
    missing = Panel("Not delivered", 196, 270, _nice(max((each[1] for each in values), default=Decimal(0))))
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(shown))
    every = -(-len(shown) // _MOST_LABELS) or 1
    bars = [
        Bar(
            day,
            round(_LEFT + place * step, 1),
            round(step, 2),
            value,
            lacking,
            delivered.y(value),
            missing.y(lacking),
            # Counted from the last day, the most important one.
            _label(day.day) if (len(shown) - 1 - place) % every == 0 else "",
        )
        for place, (day, (value, lacking)) in enumerate(zip(shown, values, strict=True))
    ]
    return Trend(unit, delivered, missing, bars)


def _delivered(totals: Totals, unit: str) -> Decimal:
    return Decimal(totals.delivered) if unit == "events" else max(Decimal(0), totals.revenue.get(unit, Decimal(0)))


def _missing(totals: Totals, unit: str) -> Decimal:
    if unit == "events":
        return Decimal(totals.missing)
    return max(Decimal(0), totals.missing_revenue.get(unit, Decimal(0)))


def _nice(most: Decimal) -> Decimal:
    """The smallest of 1, 2, 4, 6, 8 times a power of ten that is not below the value; at least 1."""
    if most <= 1:
        return Decimal(1)
    power = Decimal(10) ** (len(str(int(most))) - 1)
    return next(step * power for step in map(Decimal, (1, 2, 4, 6, 8, 10, 20)) if step * power >= most)


def _label(day: date) -> str:
    return f"{day.day} {day:%b}"
