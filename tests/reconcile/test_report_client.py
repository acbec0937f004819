"""What Adjust has booked, in the days of a zone, by event token, in one currency."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from reconcile.report_case import API_TOKEN, APP_TOKEN, DAY, EVENT_TOKEN, Run, receive, total

from airflow_provider_adjust.adjust_api.reports import Report, ReportQuery, ReportService
from airflow_provider_adjust.reconcile.report_client import ReportClient, utc_offset
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.sandbox import SandboxServer

NEXT = DAY + timedelta(days=1)


def test_each_event_token_and_day_has_its_own_total(reporting: SandboxServer, client: ReportClient, run: Run) -> None:
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
    assert run(client.reported_totals(wanted, UTC)) == [
        total(2, "2.50", "EUR"),
        total(3, "3.75", "EUR", day=NEXT),
        total(5, "6.25", "EUR", last=NEXT),
        total(4, event_token="abc123"),
        total(0, day=DAY - timedelta(days=1)),
    ]


@pytest.mark.parametrize(("zone", "on_day", "on_next"), [("UTC", 5, 0), ("Asia/Tokyo", 2, 3), ("Asia/Kolkata", 2, 3)])
def test_days_are_those_of_the_zone(
    reporting: SandboxServer, client: ReportClient, run: Run, zone: str, on_day: int, on_next: int
) -> None:
    receive(reporting, 2)
    receive(reporting, 3, at=datetime.combine(DAY, time(19), UTC))
    booked = run(client.reported_totals([total(0), total(0, day=NEXT)], load_timezone(zone)))
    assert [each.events for each in booked] == [on_day, on_next]


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 28), 1), (date(2026, 3, 29), 1), (date(2026, 3, 30), 2), (date(2026, 10, 25), 2)],
)
def test_a_day_has_the_offset_that_the_zone_has_as_it_begins(day: date, hours: int) -> None:
    """Adjust takes one offset for a report; the clock changed on 29 March and 25 October 2026."""
    assert utc_offset(day, ZoneInfo("Europe/Berlin")) == timedelta(hours=hours)
    assert utc_offset(day, UTC) == timedelta(0)


def test_no_totals_need_no_request(client: ReportClient, run: Run) -> None:
    assert run(client.reported_totals([], UTC)) == []


def test_an_event_that_the_app_does_not_have_is_refused(client: ReportClient, run: Run) -> None:
    with pytest.raises(AdjustConfigurationError, match="knows no event xyz789 in the connection's app"):
        run(client.reported_totals([total(0), total(0, event_token="xyz789")], UTC))


def test_two_events_that_share_a_name_are_refused(reporting: SandboxServer, client: ReportClient, run: Run) -> None:
    reporting.configure(event_slugs={"f0ob4r": "purchase", "abc123": "purchase"})
    with pytest.raises(AdjustConfigurationError, match="event tokens abc123, f0ob4r share one name"):
        run(client.reported_totals([total(0), total(0, event_token="abc123")], UTC))
    assert len(run(client.reported_totals([total(0)], UTC))) == 1


def test_one_report_is_requested_for_each_currency_and_offset(client: ReportClient, run: Run) -> None:
    """The clock changes in Berlin on 29 March 2026, after midnight: two offsets, so two reports."""
    requests: list[dict[str, str]] = []

    class Recording(ReportService):
        async def event_slugs(self, app_token: str) -> dict[str, str]:
            return {name: name for name in (EVENT_TOKEN, "abc123")}

        async def report(self, query: ReportQuery) -> Report:
            requests.append(query.as_params())
            return Report()

    run(
        replace(client, service=Recording("http://127.0.0.1:9", API_TOKEN)).reported_totals(
            [total(0, "0", "EUR", day=date(2026, 3, 28), last=date(2026, 3, 30)), total(0, event_token="abc123")],
            ZoneInfo("Europe/Berlin"),
        )
    )
    common = {
        "dimensions": "day",
        "format_dates": "false",
        "app_token__in": APP_TOKEN,
        "sandbox": "true",
        "attribution_type": "all",
    }
    summer = utc_offset(DAY, ZoneInfo("Europe/Berlin")) == timedelta(hours=2)
    assert requests == [
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
