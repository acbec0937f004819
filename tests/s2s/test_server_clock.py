"""The worker's clock against the ``Date`` of the server's answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from airflow_provider_adjust.s2s.delivery.server_clock import ServerClock

NOON = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


def difference(*dates: str | None) -> timedelta | None:
    clock = ServerClock(lambda: NOON)
    for date in dates:
        clock.see(date)
    return clock.difference


def test_a_difference_of_minutes_is_notable() -> None:
    table: dict[tuple[str | None, ...], int | None] = {
        (): None,
        (None,): None,
        ("",): None,
        ("yesterday",): None,
        ("Fri, 99 Nov 2026 12:10:00 GMT",): None,
        ("Fri, 27 Nov 2026 12:00:59 GMT",): None,
        ("Fri, 27 Nov 2026 11:58:01 GMT",): None,
        ("Fri, 27 Nov 2026 12:02:00 GMT",): 2,
        ("Fri, 27 Nov 2026 11:50:00 GMT",): -10,
        # Some servers write an offset, and some none.
        ("Fri, 27 Nov 2026 13:10:00 +0100",): 10,
        ("Fri, 27 Nov 2026 12:10:00 -0000",): 10,
        # The first that can be read is the one that counts: a later answer may be a cache's.
        ("yesterday", "Fri, 27 Nov 2026 12:10:00 GMT", "Fri, 27 Nov 2026 12:20:00 GMT"): 10,
        ("Fri, 27 Nov 2026 12:00:00 GMT", "Fri, 27 Nov 2026 12:20:00 GMT"): None,
    }
    for dates, minutes in table.items():
        assert difference(*dates) == (None if minutes is None else timedelta(minutes=minutes)), dates


def test_the_difference_is_between_moments_and_not_between_clock_faces() -> None:
    clock = ServerClock(lambda: NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))
    clock.see("Fri, 27 Nov 2026 12:00:10 GMT")
    assert clock.difference is None
