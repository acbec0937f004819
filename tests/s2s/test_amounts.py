"""Amounts as people read them: every digit, and no zeros that a database has added."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_adjust.s2s.account.amounts import from_database, plain, shown
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import summary_table


def test_an_amount_keeps_its_digits_and_loses_the_zeros_of_its_column() -> None:
    for amount, expected in (
        ("0.0000001220000000000000000000", "0.000000122"),
        ("9.90", "9.90"),
        ("9.9000000000", "9.90"),
        ("500", "500"),
        ("500.0000", "500.00"),
        ("2.0", "2.0"),
        ("1E-9", "0.000000001"),
        ("1E+3", "1000"),
        ("0E-10", "0.00"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ):
        assert plain(Decimal(amount)) == expected
    assert shown(Decimal("1234567.5000")) == "1,234,567.50"


def test_a_sum_of_a_database_has_no_binary_noise_and_keeps_what_a_single_ad_earns() -> None:
    for amount, expected in (
        ("9990000.0000170000", "9,990,000.00"),
        ("4321.1000000017", "4,321.10"),
        ("-4321.1000000017", "-4,321.10"),
        ("0.0000004000", "0.0000004"),
        ("1.2345670000", "1.234567"),
        ("500", "500.00"),
    ):
        assert shown(from_database(Decimal(amount))) == expected


def test_the_log_and_the_result_show_sums_without_added_zeros() -> None:
    sums = {"USD": Decimal("0.0000001220000000000000000000")}
    summary = DeliverySummary(read=1, revenue=sums, revenue_by_reason={("rejected", "expired"): sums})
    summary.outcomes["delivered"] = summary.outcomes["rejected"] = 1
    summary.reasons["rejected", "expired"] = 1
    result = summary.as_result(seconds=0, rejected_path=None)
    assert result["revenue"] == result["not_delivered"][0]["revenue"] == {"USD": "0.000000122"}
    assert summary_table(summary).count("0.000000122 USD") == 2
    assert DeliverySummary.from_state(summary.as_state()).revenue == sums
