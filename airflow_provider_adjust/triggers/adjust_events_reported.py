"""AdjustEventsReportedTrigger: waits in the triggerer until Adjust's report shows the expected totals."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.comparison import Tolerance
from airflow_provider_adjust.reconcile.poll import PollResult, poll_report
from airflow_provider_adjust.reconcile.totals import read_totals
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger


class AdjustEventsReportedTrigger(AdjustWaitingTrigger):
    """Fire when Adjust's report shows at least the expected totals on top of the baseline, or at the timeout.

    :param environment: ``production`` or ``sandbox``; overrides the connection's.
    :param expected: rows of period, event token, events, revenue and currency.
    :param baseline: rows of what Adjust had before, in the same form.
    :param tolerance: how many events may be missing: a count, or a share as a float below 1.
    :param revenue_tolerance: how much revenue may be missing: an amount, or a share as a float below 1.
    :param timezone: IANA name of the time zone of these days.

    The other arguments are those of :class:`AdjustWaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        *AdjustWaitingTrigger.arguments,
        "environment",
        "expected",
        "baseline",
        "tolerance",
        "revenue_tolerance",
        "timezone",
    )

    def __init__(
        self,
        *,
        environment: str | None,
        expected: list[dict[str, Any]],
        baseline: list[dict[str, Any]],
        tolerance: float,
        revenue_tolerance: float | str,
        timezone: str,
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.environment = environment
        self.expected = expected
        self.baseline = baseline
        self.tolerance = tolerance
        self.revenue_tolerance = revenue_tolerance
        self.timezone = timezone

    async def poll_once(self) -> PollResult:
        connection = await AdjustConnection.aget(
            self.adjust_conn_id, app_token=self.app_token, environment=self.environment
        )
        return await poll_report(
            connection.report_client(),
            [read_totals(row, "expected") for row in self.expected],
            [read_totals(row, "baseline") for row in self.baseline],
            Tolerance.of(self.tolerance, self.revenue_tolerance),
            load_timezone(self.timezone),
        )
