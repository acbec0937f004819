"""Expected totals against booked ones: the tolerance, the verdict, and the table that shows both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from airflow_provider_adjust.reconcile.ledger_totals import LedgerTotals
from airflow_provider_adjust.reconcile.totals import EventTotals
from airflow_provider_adjust.s2s.account.tables import plain_table
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: Rows of a table that an error shows. The log has all of them.
SHOWN_ROWS = 40
_PLACES = 6


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a total may be off. A float below 1 is a share; any other number is a count of events or an amount."""

    events: Decimal = Decimal(0)
    events_share: Decimal = Decimal(0)
    revenue: Decimal = Decimal(0)
    revenue_share: Decimal = Decimal(0)

    @classmethod
    def of(cls, events: float, revenue: float | Decimal | str) -> Tolerance:
        """Read an operator's ``tolerance`` and ``revenue_tolerance``.

        :raises AdjustConfigurationError: a value is negative or not a number.
        """
        count, share = _amount_or_share(events, "tolerance")
        amount, revenue_share = _amount_or_share(revenue, "revenue_tolerance")
        return cls(count, share, amount, revenue_share)

    def events_off(self, expected: int) -> int:
        # Rounded down, and in decimals: 0.29 of 100 is 29, while the product of the floats is just below.
        return int(self.events + self.events_share * abs(expected))

    def revenue_off(self, expected: Decimal) -> Decimal:
        return self.revenue + self.revenue_share * abs(expected)


def _amount_or_share(value: float | Decimal | str, name: str) -> tuple[Decimal, Decimal]:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise AdjustConfigurationError(f"{name} is {value!r}; give a number, or a share as a float below 1 (0.02)")
    return (Decimal(0), number) if isinstance(value, float) and value < 1 else (number, Decimal(0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One event token over some days. ``ledger`` has what was delivered and what was refused, if a ledger is given."""

    expected: EventTotals
    booked: EventTotals
    ledger: LedgerTotals | None = None

    def falls_short(self, tolerance: Tolerance) -> bool:
        """Tell whether Adjust has less than expected."""
        return _is_less(self.booked, self.expected, tolerance)

    def differs(self, tolerance: Tolerance) -> bool:
        """Tell whether Adjust has less or more than expected."""
        return _is_less(self.booked, self.expected, tolerance) or _is_more(self.booked, self.expected, tolerance)

    def shortfall(self, tolerance: Tolerance) -> str:
        """A text that says how much less than expected Adjust has; empty when it has enough."""
        return _gap(self.expected, self.booked, tolerance, ("missing in Adjust", ""))

    def verdict(self, tolerance: Tolerance) -> str:
        """A text that says where the gap is: between warehouse and ledger, refused, or between ledger and Adjust."""
        whole = _gap(self.expected, self.booked, tolerance, ("missing in Adjust", "too many in Adjust"))
        if self.ledger is None:
            return whole
        delivered, refused = self.ledger.delivered, self.ledger.refused
        parts = (
            f"{_difference(refused, _nothing_of(refused))} refused by Adjust" if refused.events else "",
            _gap(self.expected, _sum(delivered, refused), tolerance, ("not sent", "sent, not in the warehouse")),
            _gap(delivered, self.booked, tolerance, ("sent, not booked by Adjust", "booked, not sent by us")),
        )
        return "; ".join(filter(None, parts)) or whole


def compared(
    expected: Sequence[EventTotals],
    booked: Sequence[EventTotals],
    *,
    baseline: Iterable[EventTotals] = (),
    ledger: Sequence[LedgerTotals] | None = None,
) -> list[Comparison]:
    """Pair the expected totals with the booked ones, from which the ``baseline`` is subtracted."""
    before = {each.key: each for each in baseline}
    return [
        Comparison(one, other.less(before.get(one.key)), None if ledger is None else ledger[place])
        for place, (one, other) in enumerate(zip(expected, booked, strict=True))
    ]


def comparison_table(
    comparisons: Sequence[Comparison], verdict: Callable[[Comparison], str], *, expected_name: str
) -> str:
    """The table: a line for each event token and period, with the verdict."""
    with_ledger = any(each.ledger for each in comparisons)
    with_revenue = any(each.expected.currency for each in comparisons)
    sources = (expected_name, *(["ledger", "refused"] if with_ledger else []), "Adjust")
    head = ["days", "event token", *(f"events {name}" for name in sources)]
    if with_revenue:
        head += [*(f"revenue {name}" for name in sources), ""]
    rows = []
    for each in comparisons:
        row = [str(each.expected.days), each.expected.event_token]
        row += [f"{totals.events:,}" for totals in _sources(each)]
        if with_revenue:
            row += ["" if totals.revenue is None else shown_amount(totals.revenue) for totals in _sources(each)]
            row.append(each.expected.currency or "")
        rows.append([*row, verdict(each)])
    return plain_table([*head, ""], rows, right=head[2 : 2 + len(sources) * (1 + with_revenue)])


def excerpt(table: str) -> str:
    """The first lines of the table, for an error."""
    lines = table.splitlines()
    if len(lines) <= SHOWN_ROWS + 2:
        return table
    return "\n".join(
        [*lines[: SHOWN_ROWS + 2], f"… and {len(lines) - SHOWN_ROWS - 2:,} more lines, all in the task's log"]
    )


def shown_amount(amount: Decimal) -> str:
    """The amount in cents, or with more places if it has them: databases add zeros and the noise of binary fractions."""
    rounded = round(amount, _PLACES)
    return f"{rounded:,.2f}" if rounded == round(rounded, 2) else f"{rounded:,f}".rstrip("0")


def _sources(comparison: Comparison) -> tuple[EventTotals, ...]:
    ledger = comparison.ledger
    middle = () if ledger is None else (ledger.delivered, ledger.refused)
    return (comparison.expected, *middle, comparison.booked)


def _is_less(one: EventTotals, other: EventTotals, tolerance: Tolerance) -> bool:
    """Tell whether ``one`` has less than ``other``. The tolerance is a share of ``other``."""
    if one.events < other.events - tolerance.events_off(other.events):
        return True
    if one.revenue is None or other.revenue is None:
        return False
    return one.revenue < other.revenue - tolerance.revenue_off(other.revenue)


def _is_more(one: EventTotals, other: EventTotals, tolerance: Tolerance) -> bool:
    if one.events > other.events + tolerance.events_off(other.events):
        return True
    if one.revenue is None or other.revenue is None:
        return False
    return one.revenue > other.revenue + tolerance.revenue_off(other.revenue)


def _gap(left: EventTotals, right: EventTotals, tolerance: Tolerance, words: tuple[str, str]) -> str:
    """How much the right has too little, and how much too much; both if events and revenue disagree."""
    missing, extra = words
    parts = [
        f"{_difference(bigger, smaller)} {what}"
        for bigger, smaller, what, is_so in (
            (left, right, missing, _is_less(right, left, tolerance)),
            (right, left, extra, _is_more(right, left, tolerance)),
        )
        if what and is_so
    ]
    return ", ".join(parts)


def _nothing_of(totals: EventTotals) -> EventTotals:
    return replace(totals, events=0, revenue=None if totals.revenue is None else Decimal(0))


def _sum(one: EventTotals, other: EventTotals) -> EventTotals:
    revenue = None if one.revenue is None or other.revenue is None else one.revenue + other.revenue
    return replace(one, events=one.events + other.events, revenue=revenue)


def _difference(bigger: EventTotals, smaller: EventTotals) -> str:
    events = bigger.events - smaller.events
    parts = [f"{events:,} event{'' if events == 1 else 's'}"] if events > 0 else []
    if bigger.revenue is not None and smaller.revenue is not None and bigger.revenue > smaller.revenue:
        parts.append(f"{shown_amount(bigger.revenue - smaller.revenue)} {bigger.currency}")
    return " and ".join(parts)
