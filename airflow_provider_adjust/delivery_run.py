"""One run of a delivery: sends the rows, counts and lists each receipt, and saves what is settled."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

from airflow_provider_adjust.files.receipt_files import ReceiptFile
from airflow_provider_adjust.lineage import Destinations
from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import progress_line, summary_table
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.sender import Sender
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.redaction import escape, mask_params

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

log = logging.getLogger(__name__)
#: Seconds between two progress lines in the log.
PROGRESS_EVERY = 10.0


class DeliveryRun:
    """A sender's receipts, and what is kept of them.

    :param parser: knows the rows' names and Adjust's: a rejected row is listed under the latter, so that it can be sent
        again without ``column_map``.
    :param rejected: takes what was not delivered.
    :param responses: takes Adjust's answers.
    :param has_ledger: the sender has one, so nothing is forgotten even without a checkpoint.
    """

    def __init__(
        self,
        sender: Sender,
        parser: EventParser,
        *,
        rejected: ReceiptFile,
        responses: ReceiptFile | None = None,
        checkpoint: Checkpoint | None = None,
        has_ledger: bool = False,
    ) -> None:
        self.sender = sender
        self.rejected = rejected
        self.destinations = Destinations()
        #: What earlier tries have settled, and this one so far.
        self.summary = checkpoint.earlier.copy() if checkpoint else DeliverySummary()
        self._parser = parser
        self._responses = responses or ReceiptFile(None)
        self._checkpoint = checkpoint
        self._has_ledger = has_ledger
        self._has_sent = False

    @property
    def would_send_twice(self) -> bool:
        """Adjust may have events of this try, and nothing would keep a retry from sending them again."""
        return self._has_sent and self._checkpoint is None and not self._has_ledger

    def receipts(self, rows: Sequence[Row] | Iterable[Row]) -> Generator[Receipt]:
        """Send the rows; yield each receipt once it is counted and listed. However it ends, what is known is saved."""
        if self._checkpoint and self._checkpoint.rejected_path:
            self.rejected.carry_over(self._checkpoint.rejected_path, self._checkpoint.rejected_lines)
        try:
            for receipt in self.sender.send(rows):
                if self._checkpoint and self._checkpoint.due():
                    # Not once this one is listed: it is settled later, so a retry might list it again.
                    self._save()
                self._keep(receipt)
                yield receipt
            self._save()
        except BaseException as error:
            # A timeout of Airflow's is no Exception. It leaves requests without a receipt that are on their way.
            self._has_sent |= not isinstance(error, Exception)
            with suppress(Exception):  # why it ended comes first
                self._save()
            raise
        finally:
            self.summary.read = self.sender.read

    def _keep(self, receipt: Receipt) -> None:
        self._has_sent |= receipt.attempts > 0 and receipt.outcome is not Outcome.HELD
        self.summary.add(receipt)
        self.destinations.add(receipt)
        if receipt.outcome in UNDELIVERED:
            row = receipt.row
            renamed = receipt.with_row(self._parser.renamed(row)) if isinstance(row, Mapping) else receipt
            self.rejected.write(rejected_line(renamed))
        elif receipt.answer is not None:
            self._responses.write(response_line(receipt))

    def _save(self) -> None:
        """What a checkpoint calls settled must be in the files before it says so."""
        self.rejected.flush()
        self._responses.flush()
        if self._checkpoint:
            self._checkpoint.rejected_path = self.rejected.written_to
            self._checkpoint.rejected_lines = self.rejected.lines
        self.sender.save()

    def deliver(self, rows: Sequence[Row] | Iterable[Row], task_log: Logger, *, max_in_flight: int) -> None:
        """Send the rows to their end; a line in the log says every few seconds how far it is."""
        expected = len(rows) if isinstance(rows, Sequence) else None
        started = said = time.monotonic()
        with closing(self.receipts(rows)) as receipts:
            for _ in receipts:
                now = time.monotonic()
                if now - said >= PROGRESS_EVERY:
                    said = now
                    slowed_to = self.sender.slowed_to if self.sender.slowed_to < max_in_flight else None
                    line = progress_line(self.summary, seconds=now - started, expected=expected, slowed_to=slowed_to)
                    task_log.info("%s", line)


@contextmanager
def exit_stack_preserving_error() -> Iterator[ExitStack]:
    """A stack of what must be closed at the end.

    After a failure that failure is raised, whatever closing meets because of it: a full disk also keeps a file from being
    closed, and a database that is gone a cursor.
    """
    stack = ExitStack()
    try:
        yield stack
    except BaseException:
        try:
            stack.close()
        except Exception as error:
            # The type only: a database's or a storage's message may hold an address with a password.
            log.warning("Not everything could be closed after the failure (%s)", type(error).__name__)
        raise
    stack.close()


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
    params = mask_params(job.event.params, EVENT)
    lines = "\n".join(f"  {name}={text}" for name, text in params.items())
    log.info("Row %d would be sent as event %s\n%s", job.position, escape(job.event.event_id, 80), lines)
