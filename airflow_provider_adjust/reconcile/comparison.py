"""Compare expected totals with reported ones: the tolerance, the verdict, and the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from airflow_provider_adjust.reconcile.totals import AD_REVENUE_TOKEN, EventTotals, LedgerTotals, titled
from airflow_provider_adjust.s2s.account.amounts import from_database, shown
from airflow_provider_adjust.s2s.account.tables import plain_table
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.verdicts import Verdict
from airflow_provider_adjust.s2s.redaction import quote

#: The most rows of a table in an error. The log has all rows.
SHOWN_ROWS = 40


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The allowed difference of a total. A float below 1 is a share; any other number is a count of events or an amount."""

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
        # Rounded down, and in decimals: 0.29 of 100 is 29, but the product of the floats is slightly less.
        return int(self.events + self.events_share * abs(expected))

    def revenue_off(self, expected: Decimal) -> Decimal:
        return self.revenue + self.revenue_share * abs(expected)


def _amount_or_share(value: float | Decimal | str, name: str) -> tuple[Decimal, Decimal]:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise AdjustConfigurationError(f"{name} is {quote(value)}; give a number, or a share as a float below 1 (0.02)")
    return (Decimal(0), number) if isinstance(value, float) and value < 1 else (number, Decimal(0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The totals of one event token over some days. ``ledger`` has those of the ledger, if one is given.

    Events are compared if both sides count them. Revenue is compared with Adjust's report if it has one currency, since the
    report converts all revenue of an event into one; warehouse and ledger are compared in each currency.
    """

    expected: EventTotals
    booked: EventTotals
    ledger: LedgerTotals | None = None

    def falls_short(self, tolerance: Tolerance) -> bool:
        """Whether Adjust has less than expected."""
        return _is_less(self.booked, self.expected, tolerance)

    def differs(self, tolerance: Tolerance) -> bool:
        """Whether Adjust differs from the expectation, or the ledger does in values that Adjust's report does not show."""
        if _is_less(self.booked, self.expected, tolerance) or _is_more(self.booked, self.expected, tolerance):
            return True
        if self.ledger is None:
            return False
        delivered = self.ledger.delivered
        if not self.booked.is_counted and _is_off(delivered.events, self.expected, tolerance):
            return True
        if len(self.expected.amounts) < 2:
            return False
        pairs = _revenue_pairs(self.expected, delivered, converted=False)
        return any(abs(right - left) > tolerance.revenue_off(left) for _, left, right in pairs)

    def shortfall(self, tolerance: Tolerance) -> str:
        """The shortfall in Adjust as text; empty if there is none."""
        return _gap(self.expected, self.booked, tolerance, ("missing in Adjust", ""))

    def verdict(self, tolerance: Tolerance) -> str:
        """The gaps as text: between warehouse and ledger, or between ledger and Adjust."""
        whole = _gap(self.expected, self.booked, tolerance, ("missing in Adjust", "too many in Adjust"))
        if self.ledger is None:
            return whole
        expected, booked, (delivered, refused, in_doubt) = self.expected, self.booked, self.ledger
        went_out = delivered + in_doubt
        parts = []
        if _is_less(delivered, expected, tolerance, converted=False):
            parts += [_shown(refused, "refused by Adjust"), _shown(in_doubt, "in doubt")]
        parts += [
            _gap(expected, went_out + refused, tolerance, ("not sent", ""), converted=False),
            _gap(expected, delivered, tolerance, ("", "sent, not in the warehouse"), converted=False),
            _gap(delivered, booked, tolerance, ("sent, not booked by Adjust", "")),
            _gap(went_out, booked, tolerance, ("", "booked, not sent by us")),
        ]
        return "; ".join(filter(None, parts)) or whole

    def first_gap(self, tolerance: Tolerance) -> Verdict:
        """The place of the gap, in one word; of several gaps, the first one from the warehouse to Adjust."""
        if not self.differs(tolerance):
            return Verdict.EQUAL
        if self.ledger is None:
            return Verdict.DIFFERENT
        expected, booked, (delivered, refused, in_doubt) = self.expected, self.booked, self.ledger
        went_out = delivered + in_doubt
        is_short = _is_less(delivered, expected, tolerance, converted=False)
        gaps = {
            Verdict.NOT_SENT: _is_less(went_out + refused, expected, tolerance, converted=False),
            Verdict.REFUSED: is_short and bool(refused.events),
            Verdict.IN_DOUBT: is_short and bool(in_doubt.events),
            Verdict.NOT_IN_WAREHOUSE: _is_more(delivered, expected, tolerance, converted=False),
            Verdict.NOT_BOOKED: _is_less(booked, delivered, tolerance),
            Verdict.NOT_OURS: _is_more(booked, went_out, tolerance),
        }
        return next((verdict for verdict, is_so in gaps.items() if is_so), Verdict.DIFFERENT)

    @property
    def currencies(self) -> list[str]:
        """The currencies of the revenue, in the warehouse and in the ledger."""
        ours = self.ledger.delivered.amounts if self.ledger else {}
        return sorted(self.expected.amounts.keys() | ours.keys())


def compared(
    expected: Sequence[EventTotals],
    booked: Sequence[EventTotals],
    *,
    baseline: Iterable[EventTotals] = (),
    ledger: Sequence[LedgerTotals] | None = None,
) -> list[Comparison]:
    """Pair the expected totals with the booked ones, from which the ``baseline`` is subtracted.

    :raises AdjustConfigurationError: nothing in a total could be compared, or the baseline's revenue is in another currency.
    """
    before = {each.key: each for each in baseline}
    for one, other in zip(expected, booked, strict=True):
        if ledger is None:
            _refuse_incomparable(one, other)
        _refuse_other_currency(one, before.get(one.key))
    return [
        Comparison(one, other.less(before.get(one.key)), None if ledger is None else ledger[place])
        for place, (one, other) in enumerate(zip(expected, booked, strict=True))
    ]


def _refuse_incomparable(expected: EventTotals, booked: EventTotals) -> None:
    if not booked.is_counted and len(expected.amounts) > 1:
        raise AdjustConfigurationError(
            f"{titled(expected.event_token)} of {expected.days} is in {' and '.join(sorted(expected.amounts))}; Adjust's report "
            "converts it into one currency, so nothing can be compared: expect one currency, or give a ledger"
        )


def _refuse_other_currency(expected: EventTotals, baseline: EventTotals | None) -> None:
    codes = sorted(code for code, amount in baseline.amounts.items() if amount) if baseline else []
    if expected.currency and any(code != expected.currency for code in codes):
        raise AdjustConfigurationError(
            f"baseline of {titled(expected.event_token)} on {expected.days} is in {' and '.join(codes)}, and what is expected "
            f"is in {expected.currency}; give both in one currency"
        )


def comparison_table(
    comparisons: Sequence[Comparison], verdict: Callable[[Comparison], str], *, expected_name: str
) -> str:
    """The table: one line for each event token and period, with the verdict."""
    ledgers = [each.ledger for each in comparisons if each.ledger]
    in_doubt = any(each.in_doubt.events for each in ledgers)
    with_revenue = any(each.expected.amounts for each in comparisons)
    sources = [
        expected_name,
        *(["ledger", "refused", *(["in doubt"] if in_doubt else [])] if ledgers else []),
        "Adjust",
    ]
    only_ad_revenue = all(each.expected.event_token == AD_REVENUE_TOKEN for each in comparisons)
    head = ["days", "endpoint" if only_ad_revenue else "event token", *(f"events {name}" for name in sources)]
    if with_revenue:
        head += [*(f"revenue {name}" for name in sources), ""]
    rows = []
    for each in comparisons:
        row = [str(each.expected.days), each.expected.event_token]
        row += [f"{totals.events:,}" if totals.is_counted else "" for totals in _sources(each, in_doubt=in_doubt)]
        if with_revenue:
            shows_currency = len(each.currencies) > 1
            row += [
                _shown_revenue(totals, with_currency=shows_currency) for totals in _sources(each, in_doubt=in_doubt)
            ]
            row.append("" if shows_currency else each.expected.currency or "")
        rows.append([*row, verdict(each)])
    return plain_table([*head, ""], rows, right=head[2 : 2 + len(sources) * (1 + with_revenue)])


def what_is_compared(comparisons: Sequence[Comparison]) -> str:
    """A sentence about what is compared: events, and which revenue."""
    mixed: dict[str, set[str]] = {}
    single: set[str] = set()
    for each in comparisons:
        codes = each.expected.amounts.keys()
        if len(codes) > 1:
            mixed.setdefault(each.expected.event_token, set()).update(codes)
        else:
            single |= codes
    parts = ["events"] if any(each.booked.is_counted for each in comparisons) else []
    parts += [f"revenue in {', '.join(sorted(single))}"] if single else []
    lines = [f"Compared: {', and '.join(parts) or 'nothing with Adjust'}."]
    if not all(each.booked.is_counted for each in comparisons):
        lines.append("A report sums ad revenue and does not count it.")
    instead = (
        "is compared by currency with the ledger" if any(each.ledger for each in comparisons) else "is not compared"
    )
    lines += [
        f"{_revenue_of(token)} is in {' and '.join(sorted(codes))}. Adjust's report converts it into one "
        f"currency, so it {instead}."
        for token, codes in sorted(mixed.items())
    ]
    return "\n".join(lines)


def _revenue_of(token: str) -> str:
    return "Ad revenue" if token == AD_REVENUE_TOKEN else f"Revenue of event token {token}"


def excerpt(table: str) -> str:
    """The first lines of the table, for an error."""
    lines = table.splitlines()
    if len(lines) <= SHOWN_ROWS + 2:
        return table
    return "\n".join(
        [*lines[: SHOWN_ROWS + 2], f"… and {len(lines) - SHOWN_ROWS - 2:,} more lines, all in the task's log"]
    )


def shown_amount(amount: Decimal) -> str:
    """The amount with two or more decimals, without a database's zeros and the noise of binary fractions."""
    return shown(from_database(amount))


def _sources(comparison: Comparison, *, in_doubt: bool) -> tuple[EventTotals, ...]:
    if comparison.ledger is None:
        return comparison.expected, comparison.booked
    middle = comparison.ledger if in_doubt else comparison.ledger[:2]
    return (comparison.expected, *middle, comparison.booked)


def _shown_revenue(totals: EventTotals, *, with_currency: bool) -> str:
    amounts = totals.amounts.items()
    return ", ".join(
        f"{shown_amount(amount)} {currency}" if with_currency else shown_amount(amount) for currency, amount in amounts
    )


def _revenue_pairs(one: EventTotals, other: EventTotals, *, converted: bool) -> list[tuple[str, Decimal, Decimal]]:
    """The revenue of both in each currency that can be compared. ``converted``: one of them comes from a report."""
    left, right = one.amounts, other.amounts
    currencies = sorted(left.keys() | right.keys())
    if not left or not right or (converted and len(currencies) > 1):
        return []
    return [(currency, left.get(currency, Decimal(0)), right.get(currency, Decimal(0))) for currency in currencies]


def _is_off(events: int, expected: EventTotals, tolerance: Tolerance) -> bool:
    return expected.is_counted and abs(events - expected.events) > tolerance.events_off(expected.events)


def _are_counted(one: EventTotals, other: EventTotals) -> bool:
    return one.is_counted and other.is_counted


def _is_less(one: EventTotals, other: EventTotals, tolerance: Tolerance, *, converted: bool = True) -> bool:
    """Whether ``one`` has less than ``other``. The tolerance is a share of ``other``."""
    if _are_counted(one, other) and one.events < other.events - tolerance.events_off(other.events):
        return True
    pairs = _revenue_pairs(one, other, converted=converted)
    return any(left < right - tolerance.revenue_off(right) for _, left, right in pairs)


def _is_more(one: EventTotals, other: EventTotals, tolerance: Tolerance, *, converted: bool = True) -> bool:
    if _are_counted(one, other) and one.events > other.events + tolerance.events_off(other.events):
        return True
    pairs = _revenue_pairs(one, other, converted=converted)
    return any(left > right + tolerance.revenue_off(right) for _, left, right in pairs)


def _gap(
    left: EventTotals, right: EventTotals, tolerance: Tolerance, words: tuple[str, str], *, converted: bool = True
) -> str:
    """How much the right side lacks, and how much it has too much; both if events and revenue disagree."""
    missing, extra = words
    parts = [
        f"{_difference(bigger, smaller, converted=converted)} {what}"
        for bigger, smaller, what, is_so in (
            (left, right, missing, _is_less(right, left, tolerance, converted=converted)),
            (right, left, extra, _is_more(right, left, tolerance, converted=converted)),
        )
        if what and is_so
    ]
    return ", ".join(parts)


def _difference(bigger: EventTotals, smaller: EventTotals, *, converted: bool) -> str:
    pairs = _revenue_pairs(bigger, smaller, converted=converted)
    amounts = {currency: more - less for currency, more, less in pairs if more > less}
    events = max(0, bigger.events - smaller.events) if _are_counted(bigger, smaller) else 0
    return _events_and_amounts(events, amounts)


def _shown(totals: EventTotals, what: str) -> str:
    """The total as part of a verdict; empty if it is zero."""
    amounts = {currency: amount for currency, amount in totals.amounts.items() if amount}
    return f"{_events_and_amounts(totals.events, amounts)} {what}" if totals.events else ""


def _events_and_amounts(events: int, amounts: Mapping[str, Decimal]) -> str:
    parts = [f"{events:,} event{'' if events == 1 else 's'}"] if events else []
    parts += [f"{shown_amount(amount)} {currency}" for currency, amount in amounts.items()]
    return " and ".join(parts)
