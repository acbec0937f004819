"""Time zones in the form that databases accept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from airflow_provider_adjust.s2s.events.times import load_timezone

#: The first second that can be an event's time, and the last of MySQL's TIMESTAMP on most servers.
_FIRST, _LAST = datetime(2001, 9, 9, tzinfo=UTC), datetime(2038, 1, 19, tzinfo=UTC)
#: No zone changes its clocks and changes them back within this time.
_STEP = timedelta(days=7)


@lru_cache(maxsize=64)
def fixed_offset(timezone: str) -> str | None:
    """The zone's offset from UTC, such as ``+02:00``; None if it changes. Every server knows offsets, but not every one knows
    names."""
    zone = load_timezone(timezone)
    steps = (_LAST - _FIRST) // _STEP
    moments = [(_FIRST + number * _STEP).astimezone(zone) for number in range(steps)]
    if len({moment.utcoffset() for moment in moments}) > 1:
        return None
    return moments[0].isoformat()[-6:]
