"""What Adjust has booked, in the days of a zone, by event token, in one currency."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from reconcile.report_case import APP_TOKEN, DAY, EVENT_TOKEN, Hold, receive, total

from airflow_provider_adjust.adjust_api.http import ApiAnswer
from airflow_provider_adjust.reconcile.booked import ReadingAccount, utc_offset
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.sandbox import SandboxServer

NEXT = DAY + timedelta(days=1)


def test_each_event_token_and_day_is_told_apart(reporting: SandboxServer, account: ReadingAccount, hold: Hold) -> None:
    receive(reporting, 2)
    receive(reporting, 3, at=datetime.combine(NEXT, time(12), UTC))
    receive(reporting, 4, event_token="abc123", revenue=None, currency=None)
    receive(reporting, 5, environment="production", event_token="abc123")
    wanted = [
        total(0, "0", "EUR"),
        total(0, "0", "EUR", day=NEXT),
        total(0, "0", "EUR", last=NEXT),
        total(0, event_token="abc123"),
        total(0, day=DAY - timedelta(days=1)),
    ]
    assert hold(account.booked(wanted, UTC)) == [
        total(2, "2.50", "EUR"),
        total(3, "3.75", "EUR", day=NEXT),
        total(5, "6.25", "EUR", last=NEXT),
        total(4, event_token="abc123"),
        total(0, day=DAY - timedelta(days=1)),
    ]


@pytest.mark.parametrize(("zone", "on_day", "on_next"), [("UTC", 5, 0), ("Asia/Tokyo", 2, 3), ("Asia/Kolkata", 2, 3)])
def test_days_are_those_of_the_zone(
    reporting: SandboxServer, account: ReadingAccount, hold: Hold, zone: str, on_day: int, on_next: int
) -> None:
    receive(reporting, 2)
    receive(reporting, 3, at=datetime.combine(DAY, time(19), UTC))
    booked = hold(account.booked([total(0), total(0, day=NEXT)], load_timezone(zone)))
    assert [each.events for each in booked] == [on_day, on_next]


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 28), 1), (date(2026, 3, 29), 1), (date(2026, 3, 30), 2), (date(2026, 10, 25), 2)],
)
def test_a_day_has_the_offset_that_the_zone_has_as_it_begins(day: date, hours: int) -> None:
    """Adjust takes one offset for a report; the clock changed on 29 March and 25 October 2026."""
    assert utc_offset(day, ZoneInfo("Europe/Berlin")) == timedelta(hours=hours)
    assert utc_offset(day, UTC) == timedelta(0)


def test_nothing_is_asked_where_nothing_is_wanted(account: ReadingAccount, hold: Hold) -> None:
    assert hold(account.booked([], UTC)) == []


def test_an_event_that_the_app_does_not_have_is_refused(account: ReadingAccount, hold: Hold) -> None:
    with pytest.raises(AdjustConfigurationError, match="knows no event xyz789 in the connection's app"):
        hold(account.booked([total(0), total(0, event_token="xyz789")], UTC))


def test_two_events_of_one_name_cannot_be_told_apart(
    reporting: SandboxServer, account: ReadingAccount, hold: Hold
) -> None:
    reporting.configure(event_slugs={"f0ob4r": "purchase", "abc123": "purchase"})
    with pytest.raises(AdjustConfigurationError, match="event tokens abc123, f0ob4r share one name"):
        hold(account.booked([total(0), total(0, event_token="abc123")], UTC))
    assert len(hold(account.booked([total(0)], UTC))) == 1


def test_a_report_is_asked_for_by_currency_and_offset(account: ReadingAccount) -> None:
    """The clock changes in Berlin on 29 March 2026, after midnight: two offsets, so two reports."""
    conversation = account.booked(
        [total(0, "0", "EUR", day=date(2026, 3, 28), last=date(2026, 3, 30)), total(0, event_token="abc123")],
        ZoneInfo("Europe/Berlin"),
    )
    next(conversation)
    events = [{"id": name, "app_token": [APP_TOKEN], "tokens": [name]} for name in (EVENT_TOKEN, "abc123")]
    answer = ApiAnswer(200, json.dumps(events).encode())
    asked = []
    with suppress(StopIteration):
        while True:
            call = conversation.send(answer)
            asked.append(dict(call.params))
            answer = ApiAnswer(204, b"")
    common = {
        "dimensions": "day",
        "format_dates": "false",
        "app_token__in": APP_TOKEN,
        "sandbox": "true",
        "attribution_type": "all",
    }
    summer = utc_offset(DAY, ZoneInfo("Europe/Berlin")) == timedelta(hours=2)
    assert asked == [
        common
        | {"metrics": "abc123_events", "date_period": f"{DAY}:{DAY}", "utc_offset": "+02:00" if summer else "+01:00"},
        common
        | {
            "metrics": "f0ob4r_events,f0ob4r_revenue",
            "date_period": "2026-03-28:2026-03-29",
            "utc_offset": "+01:00",
            "currency": "EUR",
        },
        common
        | {
            "metrics": "f0ob4r_events,f0ob4r_revenue",
            "date_period": "2026-03-30:2026-03-30",
            "utc_offset": "+02:00",
            "currency": "EUR",
        },
    ]
