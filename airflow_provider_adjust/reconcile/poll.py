"""One look at Adjust: is there what somebody waits for? The sensors look from a worker, their triggers from the triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from airflow_provider_adjust.adjust_api.conversation import Conversation
from airflow_provider_adjust.adjust_api.device import last_event_time
from airflow_provider_adjust.reconcile.booked import ReadingAccount
from airflow_provider_adjust.reconcile.comparison import Tolerance, compared, comparison_table
from airflow_provider_adjust.reconcile.totals import EventTotals


class Look(NamedTuple):
    """What a look found: whether it is there, in words, and what the waiting task returns."""

    is_done: bool
    said: str
    value: Any = None


def look_for_events(
    account: ReadingAccount,
    expected: Sequence[EventTotals],
    baseline: Sequence[EventTotals],
    tolerance: Tolerance,
    zone: tzinfo,
) -> Conversation[Look]:
    """Ask whether Adjust's report shows at least what is expected on top of the baseline."""
    if not expected:
        return Look(True, "Nothing is expected of Adjust", [])
    comparisons = compared(expected, (yield from account.booked(expected, zone)), baseline=baseline)
    short = sum(each.falls_short(tolerance) for each in comparisons)
    table = comparison_table(comparisons, lambda each: each.shortfall(tolerance), expected_name="expected")
    if short:
        return Look(False, f"Adjust's report shows less than expected in {short} of {len(comparisons)} lines\n{table}")
    return Look(
        True, f"Adjust's report shows what is expected\n{table}", [each.booked.as_json() for each in comparisons]
    )


def look_at_device(device: Mapping[str, Any], event_token: str, since: datetime) -> Look:
    """Tell whether Adjust's last event of that token for the device is at or after a time.

    :raises DeviceApiError: Adjust gave a time that cannot be read.
    """
    last = last_event_time(device, event_token)
    wanted = f"waiting for one at or after {since.isoformat()}"
    if last is None:
        return Look(False, f"Adjust has no event {event_token} of the device; {wanted}")
    # Adjust's times are whole seconds.
    if last < since.replace(microsecond=0):
        return Look(False, f"Adjust's last event {event_token} of the device is from {last.isoformat()}; {wanted}")
    return Look(True, f"Adjust's last event {event_token} of the device is from {last.isoformat()}", last.isoformat())
