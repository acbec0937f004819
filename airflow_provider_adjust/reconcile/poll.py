"""One poll of Adjust for a waiting task. Sensors poll from a worker, triggers from the triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from airflow_provider_adjust.adjust_api.device import last_event_time
from airflow_provider_adjust.reconcile.comparison import Tolerance, compared, comparison_table, what_is_compared
from airflow_provider_adjust.reconcile.report_client import ReportClient
from airflow_provider_adjust.reconcile.totals import EventTotals


class PollResult(NamedTuple):
    """Whether the wait is over, a message for the log, and the return value of the waiting task."""

    is_done: bool
    message: str
    value: Any = None


async def poll_report(
    client: ReportClient,
    expected: Sequence[EventTotals],
    baseline: Sequence[EventTotals],
    tolerance: Tolerance,
    zone: tzinfo,
) -> PollResult:
    """Check whether Adjust's report shows at least the expected totals on top of the baseline."""
    if not expected:
        return PollResult(True, "No events are expected", [])
    comparisons = compared(expected, await client.reported_totals(expected, zone), baseline=baseline)
    short = sum(each.falls_short(tolerance) for each in comparisons)
    table = comparison_table(comparisons, lambda each: each.shortfall(tolerance), expected_name="expected")
    # Above the table, since a message may show only the first lines.
    table = f"{what_is_compared(comparisons)}\n{table}"
    if short:
        return PollResult(
            False, f"Adjust's report shows less than expected in {short} of {len(comparisons)} lines\n{table}"
        )
    return PollResult(
        True, f"Adjust's report shows what is expected\n{table}", [each.booked.as_json() for each in comparisons]
    )


def poll_device(device: Mapping[str, Any], event_token: str, since: datetime) -> PollResult:
    """Check whether Adjust's last event of that token for the device is at or after a time.

    :raises DeviceApiError: Adjust gave a time that cannot be read.
    """
    last = last_event_time(device, event_token)
    wait = f"waiting for one at or after {since.isoformat()}"
    if last is None:
        return PollResult(False, f"Adjust has no event {event_token} of the device; {wait}")
    # Adjust's times are whole seconds.
    if last < since.replace(microsecond=0):
        return PollResult(False, f"Adjust's last event {event_token} of the device is from {last.isoformat()}; {wait}")
    return PollResult(
        True, f"Adjust's last event {event_token} of the device is from {last.isoformat()}", last.isoformat()
    )
