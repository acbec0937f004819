"""Expected against booked: the tolerance, the verdict, and the table."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from reconcile.report_case import DAY, total

from airflow_provider_adjust.reconcile.comparison import (
    Comparison,
    Tolerance,
    compared,
    comparison_table,
    excerpt,
    shown_amount,
)
from airflow_provider_adjust.reconcile.ledger_totals import LedgerTotals
from airflow_provider_adjust.reconcile.totals import EventTotals
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

CASES: dict[str, tuple[tuple[int, str], tuple[int, str], float, Any, bool, bool]] = {
    # expected and booked events and revenue, both tolerances; whether Adjust has less, whether it differs
    "the same": ((10, "10.00"), (10, "10.00"), 0, "0.01", False, False),
    "an event less": ((10, "10.00"), (9, "10.00"), 0, "0.01", True, True),
    "an event more": ((10, "10.00"), (11, "10.00"), 0, "0.01", False, True),
    "a cent less is rounding": ((10, "10.00"), (10, "9.99"), 0, "0.01", False, False),
    "two cents less are not": ((10, "10.00"), (10, "9.98"), 0, "0.01", True, True),
    "two cents more": ((10, "10.00"), (10, "10.02"), 0, "0.01", False, True),
    "to the cent": ((10, "10.00"), (10, "9.999"), 0, 0, True, True),
    "a count": ((10, "10.00"), (8, "10.00"), 2, "0.01", False, False),
    "past the count": ((10, "10.00"), (7, "10.00"), 2, "0.01", True, True),
    "a share": ((100, "10.00"), (98, "10.00"), 0.02, "0.01", False, False),
    "past the share": ((100, "10.00"), (97, "10.00"), 0.02, "0.01", True, True),
    "a share is rounded down": ((10, "10.00"), (9, "10.00"), 0.09, "0.01", True, True),
    "a share of revenue": ((10, "10.00"), (10, "9.80"), 0, 0.02, False, False),
    "past the share of revenue": ((10, "10.00"), (10, "9.79"), 0, 0.02, True, True),
    "an amount": ((10, "10.00"), (10, "9.50"), 0, "0.5", False, False),
    "an amount as a decimal": ((10, "10.00"), (10, "9.50"), 0, Decimal("0.5"), False, False),
    "nothing was there": ((10, "10.00"), (0, "0"), 0, "0.01", True, True),
    "nothing was expected": ((0, "0"), (0, "0"), 0, "0.01", False, False),
    "nothing was expected, and yet": ((0, "0"), (1, "1.00"), 0.5, "0.01", False, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_tolerated(name: str) -> None:
    (events, revenue), (booked, booked_revenue), count, amount, falls_short, differs = CASES[name]
    tolerance = Tolerance.of(count, amount)
    one = Comparison(total(events, revenue, "EUR"), total(booked, booked_revenue, "EUR"))
    assert (one.falls_short(tolerance), one.differs(tolerance)) == (falls_short, differs)
    assert bool(one.shortfall(tolerance)) is falls_short
    assert bool(one.verdict(tolerance)) is differs


@pytest.mark.parametrize("value", [-1, "some", None, True, float("nan")])
def test_a_tolerance_that_is_not_a_number_is_refused(value: Any) -> None:
    with pytest.raises(AdjustConfigurationError, match="tolerance is"):
        Tolerance.of(value, 0)
    with pytest.raises(AdjustConfigurationError, match="revenue_tolerance is"):
        Tolerance.of(0, value)


def known(delivered: EventTotals, refused: EventTotals | None = None) -> LedgerTotals:
    """What a ledger knows that has delivered so much, and had this refused."""
    nothing = replace(delivered, events=0, revenue=None if delivered.revenue is None else Decimal(0))
    return LedgerTotals(delivered, refused or nothing)


def test_what_adjust_refused_is_not_called_not_sent() -> None:
    ledger = known(total(7, "7.00", "EUR"), total(2, "2.50", "EUR"))
    one = Comparison(total(10, "10.00", "EUR"), total(7, "7.00", "EUR"), ledger)
    assert one.verdict(Tolerance()) == "2 events and 2.50 EUR refused by Adjust; 1 event and 0.50 EUR not sent"


WHOSE: dict[str, tuple[tuple[int, str], tuple[int, str] | None, tuple[int, str], str]] = {
    # warehouse, ledger, Adjust; the verdict
    "all agree": ((10, "12.50"), (10, "12.50"), (10, "12.50"), ""),
    "not sent": ((10, "12.50"), (8, "10.00"), (8, "10.00"), "2 events and 2.50 EUR not sent"),
    "not booked": ((10, "12.50"), (10, "12.50"), (9, "11.25"), "1 event and 1.25 EUR sent, not booked by Adjust"),
    "both": (
        (10, "12.50"), (9, "11.25"), (8, "10.00"),
        "1 event and 1.25 EUR not sent; 1 event and 1.25 EUR sent, not booked by Adjust",
    ),
    "somebody else sent": ((10, "12.50"), (10, "12.50"), (12, "15.00"), "2 events and 2.50 EUR booked, not sent by us"),
    "the warehouse forgot": ((9, "11.25"), (10, "12.50"), (10, "12.50"), "1 event and 1.25 EUR sent, not in the warehouse"),
    "converted": ((10, "12.50"), (10, "12.50"), (10, "11.00"), "1.50 EUR sent, not booked by Adjust"),
    "fewer events, more revenue": (
        (10, "12.50"), None, (9, "13.00"), "1 event missing in Adjust, 0.50 EUR too many in Adjust",
    ),
    "without a ledger": ((10, "12.50"), None, (9, "11.25"), "1 event and 1.25 EUR missing in Adjust"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOSE)
def test_the_verdict_says_where_the_gap_is(name: str) -> None:
    warehouse, ledger, adjust, verdict = WHOSE[name]
    one = Comparison(
        total(*warehouse, "EUR"), total(*adjust, "EUR"), None if ledger is None else known(total(*ledger, "EUR"))
    )
    assert one.verdict(Tolerance.of(0, "0.01")) == verdict


def test_gaps_that_are_each_tolerated_but_not_together_are_reported() -> None:
    one = Comparison(total(10), total(8), known(total(9)))
    assert one.differs(Tolerance.of(1, 0))
    assert one.verdict(Tolerance.of(1, 0)) == "2 events missing in Adjust"


def test_a_baseline_is_not_counted() -> None:
    [one] = compared(
        [total(3, "3.75", "EUR")],
        [total(10, "12.50", "EUR")],
        baseline=[total(7, "8.75", "EUR"), total(99, event_token="abc123")],
    )
    assert one.booked == total(3, "3.75", "EUR")


def test_the_table_has_a_line_for_each_event_token_and_day() -> None:
    comparisons = [
        Comparison(total(1200, "1500.00", "EUR"), total(1199, "1498.75", "EUR"), known(total(1200, "1500.00", "EUR"))),
        Comparison(
            total(3, event_token="abc123"), total(3, event_token="abc123"), known(total(3, event_token="abc123"))
        ),
    ]
    table = comparison_table(comparisons, lambda each: each.verdict(Tolerance.of(0, "0.01")), expected_name="warehouse")
    assert [" ".join(line.split()) for line in table.splitlines() if not line.startswith("-")] == [
        "days event token events warehouse events ledger events refused events Adjust revenue warehouse revenue ledger "
        "revenue refused revenue Adjust",
        f"{DAY} f0ob4r 1,200 1,200 0 1,199 1,500.00 1,500.00 0.00 1,498.75 EUR 1 event and 1.25 EUR sent, not booked by Adjust",
        f"{DAY} abc123 3 3 0 3",
    ]


def test_a_table_of_events_alone_has_no_columns_of_revenue() -> None:
    [head, _, line] = comparison_table(
        [Comparison(total(3), total(2))], lambda each: "no", expected_name="expected"
    ).splitlines()
    assert " ".join(head.split()) == "days event token events expected events Adjust"
    assert " ".join(line.split()) == f"{DAY} f0ob4r 3 2 no"


def test_an_error_carries_so_many_lines_and_says_where_the_rest_is() -> None:
    short, long = ("\n".join(f"line {number}" for number in range(count)) for count in (42, 60))
    assert excerpt(short) == short
    assert excerpt(long).splitlines()[-1] == "… and 18 more lines, all in the task's log"
    assert len(excerpt(long).splitlines()) == 43


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0.00"), ("5", "5.00"), ("1234.5", "1,234.50"), ("3.7500000000", "3.75"), ("0.001", "0.001"), ("-2.5", "-2.50"),
     ("3.7500000000000004", "3.75"), ("0.1234567", "0.123457")],
)  # fmt: skip
def test_amounts_are_shown_to_the_cent_or_as_far_as_they_go(amount: str, shown: str) -> None:
    assert shown_amount(Decimal(amount)) == shown
