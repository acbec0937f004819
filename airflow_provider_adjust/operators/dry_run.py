"""A delivery that stops short of sending: the rows are read, checked and put in order, and the first events are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_adjust.s2s.endpoint import EVENT
from airflow_provider_adjust.s2s.receipts import DeliverySummary, Receipt
from airflow_provider_adjust.s2s.reporting import summary_table
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.s2s.rows import Row
from airflow_provider_adjust.s2s.schedule import Job
from airflow_provider_adjust.s2s.sender import Sender, masked
from airflow_provider_adjust.s2s.shown import printable

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: Events that a dry run shows.
SHOWN = 5


def dry_run(sender: Sender, rows: Sequence[Row] | Iterable[Row], log: Logger) -> DeliverySummary:
    """Count what would be sent as skipped, and what would not by its reason; log the first events with ids masked."""
    summary = DeliverySummary()
    for item in sender.jobs(rows):
        if isinstance(item, Receipt):
            summary.add(item)
            continue
        if summary.outcomes[Outcome.SKIPPED.value] < SHOWN:
            _show(item, log)
        summary.add(Receipt(Outcome.SKIPPED, "dry_run", item.event.event_id, item.position, event=item.event))
    summary.read = sender.read
    log.info("Dry run, nothing was sent\n%s", summary_table(summary))
    summary.check()
    return summary


def _show(job: Job, log: Logger) -> None:
    params = masked(job.event.params, EVENT)
    lines = "\n".join(f"  {name}={text}" for name, text in params.items())
    log.info("Row %d would be sent as event %s\n%s", job.position, printable(job.event.event_id, 80), lines)
