"""The chart of the days: every day has its place, a missing one is marked, and the scales are round."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from airflow_provider_adjust.deliveries_page.queries import Count
from airflow_provider_adjust.deliveries_page.rendering import amounts, money
from airflow_provider_adjust.deliveries_page.summary import Summary, summarise, with_empty_days
from airflow_provider_adjust.deliveries_page.trend import trend

FIRST = date(2026, 5, 1)


def count(
    day: int, status: str, events: int, revenue: str | None = None, reason: str = "", currency: str = "USD"
) -> Count:
    return Count(
        "shop",
        FIRST + timedelta(days=day),
        "4w565xzmb54d",
        "production",
        "f0ob4r",
        status,
        reason,
        events,
        currency if revenue else None,
        Decimal(revenue) if revenue else None,
    )


def ten_days() -> Summary:
    """Deliveries on the days 2, 3 and 5 of ten, the last of which is today."""
    found = summarise(
        [
            count(2, "delivered", 437, "15139.86"),
            count(2, "rejected", 7, "120.50", "device_not_found"),
            count(3, "delivered", 1),
            count(5, "delivered", 380, "7000", currency="EUR"),
            count(5, "in_doubt", 2, "9"),
            count(5, "duplicate", 4),
        ]
    )
    last = FIRST + timedelta(days=9)
    return with_empty_days(found, FIRST, last, FIRST + timedelta(days=2), last)


def test_a_day_without_events_is_missing_once_there_were_some_and_it_is_over() -> None:
    days = ten_days().days
    assert [day.day for day in days] == [FIRST + timedelta(days=9 - place) for place in range(10)]
    assert [day.day.day for day in days if day.is_missing] == [9, 8, 7, 5]
    nothing = with_empty_days(summarise([]), FIRST, FIRST, None, FIRST)
    assert [day.is_missing for day in nothing.days] == [False]
    # A row that could not be read may count on a day outside those that were chosen.
    outside = with_empty_days(summarise([count(-3, "invalid", 1)]), FIRST, FIRST, FIRST, FIRST)
    assert len(outside.days) == 2


def test_what_was_not_delivered_is_summed_up_by_reason_and_in_money() -> None:
    summary = ten_days()
    assert (summary.totals.delivered, summary.totals.missing) == (818, 9)
    assert summary.totals.missing_revenue == {"USD": Decimal("129.50")}
    assert [(why.status, why.reason.code, why.events) for why in summary.totals.reasons] == [
        ("rejected", "device_not_found", 7),
        ("in_doubt", "no_answer", 2),
    ]
    assert summary.currencies == ["USD", "EUR"]


def test_each_day_has_a_bar_in_its_place_from_left_to_right() -> None:
    chart = trend(ten_days().days, "events")
    assert [bar.day.day for bar in chart.bars] == [FIRST + timedelta(days=place) for place in range(10)]
    assert [bar.x for bar in chart.bars] == sorted(bar.x for bar in chart.bars)
    assert all(bar.left >= chart.left and bar.left + bar.width <= chart.width for bar in chart.bars)
    third = chart.bars[2]
    assert (third.delivered, third.missing) == (437, 7)
    assert chart.delivered.top < third.delivered_y < chart.delivered.base
    assert chart.bars[0].delivered_y == chart.delivered.base


def test_the_scales_are_round_and_hold_every_bar() -> None:
    tops = {0: 1, 1: 1, 2: 2, 3: 4, 7: 8, 9: 10, 437: 600, 1001: 2000, 81_000: 100_000}
    for most, top in tops.items():
        chart = trend(summarise([count(0, "delivered", most)]).days, "events")
        assert chart.delivered.most == top
        assert [tick.value for tick in chart.delivered.ticks] == ([0, 1] if top == 1 else [0, top / 2, top])


def test_revenue_is_drawn_in_one_currency() -> None:
    chart = trend(ten_days().days, "USD")
    assert [(bar.delivered, bar.missing) for bar in chart.bars if bar.delivered or bar.missing] == [
        (Decimal("15139.86"), Decimal("120.50")),
        (0, 9),
    ]
    assert chart.delivered.most == 20_000


def test_a_long_time_has_a_dozen_dates_of_which_the_last_is_one() -> None:
    days = with_empty_days(summarise([]), FIRST, FIRST + timedelta(days=91), FIRST, FIRST).days
    labels = [bar.label for bar in trend(days, "events").bars]
    assert labels[-1] == "31 Jul"
    assert 6 <= len(list(filter(None, labels))) <= 12
    assert trend([], "events").bars == []


def test_what_a_single_ad_earns_is_not_shown_as_nothing() -> None:
    for amount, shown in (
        ("0.0000001220", "0.000000122"),
        ("9.9000000000", "9.90"),
        ("1234567.1000002", "1,234,567.10"),
    ):
        assert money(Decimal(amount)) == shown
    assert amounts({"EUR": Decimal("0.00002"), "USD": Decimal(5)}) == ["5.00 USD", "0.00002 EUR"]
