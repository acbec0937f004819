"""The metrics of a sending task, to StatsD or OpenTelemetry as configured in Airflow.

Counters cover this try only, since earlier tries reported their own. Names and tags follow Airflow's: dots between words, and
the DAG and the task as tags. Outcomes and currencies are part of the name, so that backends without tags also distinguish
them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.airflow_versions import stats
from airflow_provider_adjust.s2s.account.summary import DeliverySummary

log = logging.getLogger(__name__)


class DeliveryMetrics:
    """The metrics of one try.

    :param before: the summary of earlier tries; with a ledger it grows as their events are read again.
    :param tags: tags that identify the task and the environment, such as ``dag_id``, ``task_id`` and ``environment``.
    """

    def __init__(self, before: DeliverySummary, tags: Mapping[str, str]) -> None:
        self._before = before
        self._tags = dict(tags)
        self._works = True

    @classmethod
    def of(cls, before: DeliverySummary, ti: Any, *, environment: str = "") -> DeliveryMetrics:
        """The metrics of a running task instance, with Airflow's own tags.

        :param environment: as people are shown it, since a rehearsal is not revenue.
        """
        known = getattr(ti, "stats_tags", None)
        names = ("dag_id", "task_id")
        tags = (
            known if isinstance(known, dict) else {name: str(getattr(ti, name)) for name in names if hasattr(ti, name)}
        )
        if environment:
            # Airflow drops a tag that has a comma.
            tags = {**tags, "environment": environment.replace(",", "+")}
        return cls(before, tags)

    def running(self, *, in_flight: int, last_event_at: datetime | None, now: datetime) -> None:
        """Report the number of requests in flight and the age of the newest delivered event, which show a backlog."""
        self._send("gauge", "adjust.in_flight", in_flight)
        if last_event_at is not None:
            self._send("gauge", "adjust.lag_seconds", (now - last_event_at).total_seconds())

    def ended(self, summary: DeliverySummary, *, seconds: float, failed: bool) -> None:
        """Report the counts of the try: events by outcome and reason, revenue by currency, and its duration."""
        before = self._before
        for outcome, count in (summary.outcomes - before.outcomes).items():
            reasons = {
                reason: number for (of, reason), number in (summary.reasons - before.reasons).items() if of == outcome
            }
            if unnamed := count - sum(reasons.values()):
                reasons[""] = unnamed
            for reason, number in reasons.items():
                self._send("incr", f"adjust.events.{outcome}", number, reason=reason)
        self._send_revenue("adjust.revenue.delivered", summary.revenue, before.revenue)
        for (outcome, reason), amounts in summary.revenue_by_reason.items():
            earlier = before.revenue_by_reason.get((outcome, reason), {})
            self._send_revenue("adjust.revenue.not_delivered", amounts, earlier, outcome=outcome, reason=reason)
        self._send("timing", "adjust.duration", seconds * 1000, state="failed" if failed else "success")
        self._send("gauge", "adjust.in_flight", 0)

    def _send_revenue(
        self, name: str, amounts: Mapping[str, Decimal], before: Mapping[str, Decimal], **tags: str
    ) -> None:
        for currency, amount in amounts.items():
            if (added := amount - before.get(currency, Decimal(0))) > 0:
                self._send("incr", f"{name}.{currency}", float(added), **tags)

    def _send(self, kind: str, name: str, value: float, **tags: str) -> None:
        """Report one figure. A failing backend does not affect the delivery; the log reports it once."""
        if not self._works:
            return
        try:
            getattr(stats, kind)(name, value, tags={**self._tags, **{key: tag for key, tag in tags.items() if tag}})
        except Exception as error:
            self._works = False
            log.warning("The metrics of this delivery could not be reported (%s)", type(error).__name__)
