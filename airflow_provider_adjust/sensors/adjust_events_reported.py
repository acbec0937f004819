"""AdjustEventsReportedSensor: waits until Adjust's report shows the events and the revenue that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Any, ClassVar, Literal

from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.comparison import Tolerance
from airflow_provider_adjust.reconcile.expectations import read_expectations
from airflow_provider_adjust.reconcile.poll import PollResult, poll_report
from airflow_provider_adjust.reconcile.totals import EventTotals, token_of
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor
from airflow_provider_adjust.triggers.adjust_events_reported import AdjustEventsReportedTrigger


class AdjustEventsReportedSensor(AdjustWaitingSensor):
    """Wait until Adjust's report shows at least the expected events and revenue; the XCom is the reported totals.

    .. code-block:: python

        from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor

        AdjustEventsReportedSensor(
            task_id="wait_for_adjust",
            expected=[{"day": "{{ ds }}", "event_token": "f0ob4r", "events": 120, "revenue": "1480.50", "currency": "EUR"}],
            deferrable=True,
        )

    :param expected: a row, or a list of rows, of ``day`` (or ``period``), ``event_token``, ``events``, ``revenue`` and
        ``currency``; the result of a sending task, or a list of results; or JSON text of any of these. (templated)
    :param endpoint: ``event``, or ``ad_revenue``, which has no event token and is compared by revenue only, because Adjust's
        report does not count it.
    :param event_token: for rows that name none. Required for the result of a sending task, which counts all of its events
        together. (templated)
    :param date_period: a day, or the first and the last (``2026-05-01:2026-05-03``), for rows that name none. For a result,
        None means from the day of its first event to the day of its last. (templated)
    :param environment: ``production`` or ``sandbox``; overrides the connection's. (templated)
    :param timezone: IANA name of the time zone of the days.
    :param baseline: what Adjust had before, for events that the app reports as well: the result of
        ``AdjustS2SHook.booked_events`` before anything was sent. (templated)
    :param tolerance: how many events may be missing: a count, or a share as a float below 1.
    :param revenue_tolerance: how much revenue may be missing: an amount, or a share as a float below 1.
    :param with_revenue: compare the revenue, too. Adjust's report has one currency: if the expected revenue has several, only
        events are compared.

    All other arguments are those of :class:`~airflow_provider_adjust.sensors.adjust_waiting.AdjustWaitingSensor`.
    """

    template_fields: Sequence[str] = (
        "expected",
        "event_token",
        "date_period",
        "environment",
        "baseline",
        *AdjustWaitingSensor.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"expected": "json", "baseline": "json"}

    def __init__(
        self,
        *,
        expected: Any,
        endpoint: str = "event",
        event_token: str | None = None,
        date_period: Any = None,
        environment: str | None = None,
        timezone: str = "UTC",
        baseline: Any = None,
        tolerance: float = 0,
        revenue_tolerance: float | Decimal | str = "0.01",
        with_revenue: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expected = expected
        self.endpoint = endpoint
        self.event_token = event_token
        self.date_period = date_period
        self.environment = environment
        self.timezone = timezone
        self.baseline = baseline
        self.tolerance = tolerance
        self.revenue_tolerance = revenue_tolerance
        self.with_revenue = with_revenue

    def poll_once(self) -> PollResult:
        zone = load_timezone(self.timezone)
        connection = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token, environment=self.environment)
        return run_blocking(
            poll_report(
                connection.report_client(),
                self._totals("expected", zone),
                self._totals("baseline", zone),
                Tolerance.of(self.tolerance, self.revenue_tolerance),
                zone,
            )
        )

    def trigger(self, *, poke_interval: float, until: float) -> AdjustEventsReportedTrigger:
        zone = load_timezone(self.timezone)
        share = isinstance(self.revenue_tolerance, float)
        return AdjustEventsReportedTrigger(
            adjust_conn_id=self.adjust_conn_id,
            app_token=self.app_token,
            environment=self.environment,
            expected=[total.as_json() for total in self._totals("expected", zone)],
            baseline=[total.as_json() for total in self._totals("baseline", zone)],
            tolerance=self.tolerance,
            revenue_tolerance=self.revenue_tolerance if share else str(self.revenue_tolerance),  # type: ignore[arg-type]
            timezone=self.timezone,
            poke_interval=poke_interval,
            until=until,
        )

    def _totals(self, name: Literal["expected", "baseline"], zone: tzinfo) -> list[EventTotals]:
        # Only an empty list means no expectation: None may come from an upstream task that failed to return its rows.
        value = self.expected if name == "expected" else self.baseline or []
        return read_expectations(
            value,
            name,
            zone=zone,
            date_period=self.date_period,
            event_token=token_of(self.endpoint, self.event_token),
            with_revenue=self.with_revenue,
        )
