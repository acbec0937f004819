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
    what_is_compared,
)
from airflow_provider_adjust.reconcile.totals import EventTotals, LedgerTotals
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


def in_ledger(
    events: int, revenue: str, *, refused: tuple[int, str] = (0, "0"), in_doubt: tuple[int, str] = (0, "0")
) -> LedgerTotals:
    return LedgerTotals(total(events, revenue, "EUR"), total(*refused, "EUR"), total(*in_doubt, "EUR"))


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
    one = Comparison(total(*warehouse, "EUR"), total(*adjust, "EUR"), None if ledger is None else in_ledger(*ledger))
    assert one.verdict(Tolerance.of(0, "0.01")) == verdict


KNOWN: dict[str, tuple[int, LedgerTotals, int, str]] = {
    # events of 1.25 EUR in the warehouse; the ledger; events in Adjust; the verdict
    "refused": (10, in_ledger(8, "10.00", refused=(2, "2.50")), 8, "2 events and 2.50 EUR refused by Adjust"),
    "refused, and one not sent": (
        10, in_ledger(7, "8.75", refused=(2, "2.50")), 7,
        "2 events and 2.50 EUR refused by Adjust; 1 event and 1.25 EUR not sent",
    ),
    "refused, and one not booked": (
        10, in_ledger(8, "10.00", refused=(2, "2.50")), 7,
        "2 events and 2.50 EUR refused by Adjust; 1 event and 1.25 EUR sent, not booked by Adjust",
    ),
    "refused, and not in the warehouse": (8, in_ledger(8, "10.00", refused=(2, "2.50")), 8, ""),
    "in doubt, and not booked": (10, in_ledger(9, "11.25", in_doubt=(1, "1.25")), 9, "1 event and 1.25 EUR in doubt"),
    "in doubt, and booked": (10, in_ledger(9, "11.25", in_doubt=(1, "1.25")), 10, "1 event and 1.25 EUR in doubt"),
    "in doubt, and one of somebody else": (
        10, in_ledger(9, "11.25", in_doubt=(1, "1.25")), 11,
        "1 event and 1.25 EUR in doubt; 1 event and 1.25 EUR booked, not sent by us",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_ledger_knows_to_be_refused_or_in_doubt_is_not_called_unsent(name: str) -> None:
    warehouse, ledger, booked, verdict = KNOWN[name]
    money = [str(Decimal("1.25") * events) for events in (warehouse, booked)]
    one = Comparison(total(warehouse, money[0], "EUR"), total(booked, money[1], "EUR"), ledger)
    assert one.verdict(Tolerance.of(0, "0.01")) == verdict


def mixed(events: int, **amounts: str) -> EventTotals:
    """A total with revenue in several currencies."""
    return replace(total(events), by_currency={code: Decimal(amount) for code, amount in amounts.items()})


def of_currencies(*delivered: EventTotals) -> LedgerTotals:
    [total_] = delivered
    return LedgerTotals(total_, total(0), total(0))


MIXED: dict[str, tuple[EventTotals, LedgerTotals | None, int, bool, str]] = {
    # the warehouse; the ledger; events in Adjust; whether it differs; the verdict
    "events agree": (mixed(4, EUR="3.75", USD="1"), None, 4, False, ""),
    "events differ": (mixed(4, EUR="3.75", USD="1"), None, 3, True, "1 event missing in Adjust"),
    "the ledger agrees": (mixed(4, EUR="3.75", USD="1"), of_currencies(mixed(4, EUR="3.75", USD="1")), 4, False, ""),
    "the ledger has less": (
        mixed(4, EUR="3.75", USD="1"), of_currencies(mixed(4, EUR="3.75", USD="0.50")), 4, True, "0.50 USD not sent",
    ),
    "the ledger has more": (
        mixed(4, EUR="3.75", USD="1"), of_currencies(mixed(4, EUR="5", USD="1")), 4, True,
        "1.25 EUR sent, not in the warehouse",
    ),
    "the ledger has one of them": (
        mixed(4, EUR="3.75", USD="1"), of_currencies(total(3, "3.75", "EUR")), 3, True, "1 event and 1.00 USD not sent",
    ),
    "the ledger alone has two": (
        total(3, "3.75", "EUR"), of_currencies(mixed(4, EUR="3.75", USD="1")), 3, False,
        "1 event and 1.00 USD sent, not in the warehouse; 1 event sent, not booked by Adjust",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_revenue_in_several_currencies_is_compared_in_each_where_the_ledger_has_it(name: str) -> None:
    warehouse, ledger, booked, differs, verdict = MIXED[name]
    money = None if warehouse.revenue is None else str(warehouse.revenue)
    one = Comparison(warehouse, total(booked, money, warehouse.currency), ledger)
    tolerance = Tolerance.of(0, "0.01")
    assert (one.differs(tolerance), one.verdict(tolerance)) == (differs, verdict)


def test_the_log_says_which_revenue_is_compared() -> None:
    euro = Comparison(total(3, "3.75", "EUR"), total(3, "3.75", "EUR"))
    both = Comparison(mixed(4, EUR="3.75", USD="1"), total(4))
    known = replace(both, ledger=of_currencies(mixed(4, EUR="3.75", USD="1")))
    assert what_is_compared([Comparison(total(3), total(3))]) == "Compared: events."
    assert what_is_compared([euro]) == "Compared: events, and revenue in EUR."
    converts = (
        "Revenue of event token f0ob4r is in EUR and USD. Adjust's report converts it into one currency, so it is "
    )
    assert what_is_compared([both]) == f"Compared: events.\n{converts}not compared."
    assert what_is_compared([euro, known]) == (
        f"Compared: events, and revenue in EUR.\n{converts}compared by currency with the ledger."
    )


def test_the_table_shows_the_revenue_in_each_currency_and_what_is_in_doubt() -> None:
    one = Comparison(
        mixed(4, EUR="3.75", USD="1"), total(3), LedgerTotals(mixed(2, EUR="2.50", USD="1"), total(1), total(1))
    )
    [head, _, line] = comparison_table([one], lambda each: "no", expected_name="warehouse").splitlines()
    assert " ".join(head.split()) == (
        "days event token events warehouse events ledger events refused events in doubt events Adjust "
        "revenue warehouse revenue ledger revenue refused revenue in doubt revenue Adjust"
    )
    assert " ".join(line.split()) == f"{DAY} f0ob4r 4 2 1 1 3 3.75 EUR, 1.00 USD 2.50 EUR, 1.00 USD no"


def test_gaps_that_are_each_tolerated_but_not_together_are_reported() -> None:
    one = Comparison(total(10), total(8), LedgerTotals(total(9), total(0), total(0)))
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
    other = total(3, event_token="abc123")
    comparisons = [
        Comparison(total(1200, "1500.00", "EUR"), total(1199, "1498.75", "EUR"), in_ledger(1200, "1500.00")),
        Comparison(other, other, LedgerTotals(other, total(0), total(0))),
    ]
    table = comparison_table(comparisons, lambda each: each.verdict(Tolerance.of(0, "0.01")), expected_name="warehouse")
    assert [" ".join(line.split()) for line in table.splitlines() if not line.startswith("-")] == [
        "days event token events warehouse events ledger events refused events Adjust "
        "revenue warehouse revenue ledger revenue refused revenue Adjust",
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
     ("3.7500000000000004", "3.75"), ("1.1234567", "1.123457"), ("0.0000004", "0.0000004")],
)  # fmt: skip
def test_amounts_are_shown_to_the_cent_or_as_far_as_they_go(amount: str, shown: str) -> None:
    assert shown_amount(Decimal(amount)) == shown


def ledger_of(delivered: int, refused: int = 0, in_doubt: int = 0) -> LedgerTotals:
    return LedgerTotals(*(total(events, str(events)) for events in (delivered, refused, in_doubt)))


def test_the_first_gap_on_the_way_from_the_warehouse_to_adjust_is_named() -> None:
    cases: list[tuple[int, LedgerTotals | None, int, str]] = [
        # expected, ledger, booked by Adjust, place of the gap
        (3, ledger_of(3), 3, "equal"),
        (3, None, 2, "different"),
        (3, None, 3, "equal"),
        (3, ledger_of(2), 2, "not_sent"),
        (3, ledger_of(2), 1, "not_sent"),
        (3, ledger_of(2, refused=1), 2, "refused"),
        (3, ledger_of(2, in_doubt=1), 2, "in_doubt"),
        (3, ledger_of(4), 4, "not_in_warehouse"),
        (3, ledger_of(3), 2, "not_booked"),
        (3, ledger_of(3), 4, "not_ours"),
        (3, ledger_of(2, in_doubt=0, refused=0), 9, "not_sent"),
    ]
    found = [
        Comparison(total(expected, str(expected)), total(booked, str(booked)), ledger).first_gap(Tolerance())
        for expected, ledger, booked, _ in cases
    ]
    assert [each.value for each in found] == [verdict for *_, verdict in cases]
