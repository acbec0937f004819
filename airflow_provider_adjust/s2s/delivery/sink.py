"""The sink: it records each receipt everywhere, in a fixed order."""

from __future__ import annotations

from typing import Protocol

from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.events.columns import Columns
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.ledger.ledger import Ledger


class Lines(Protocol):
    """A file of JSON lines. ``written_to`` is None while there are no lines."""

    lines: int

    @property
    def written_to(self) -> str | None: ...

    def write(self, line: str) -> None: ...

    def flush(self) -> None: ...


#: Outcomes of events that Adjust does not have and that no try offers again.
_REFUSED = UNDELIVERED - UNRESOLVED


class Sink:
    """Records each receipt once: in the files, the summary, the ledger and the checkpoint.

    The order matters. A refused event that is settled in the checkpoint is not offered again, so its line must be in the
    rejected file first: the event stays open in the checkpoint until the file is flushed. A failing file does not prevent the
    rest; the next try lists what it lacks.

    :param rejected: receives the events that Adjust does not have.
    :param responses: receives Adjust's answers.
    :param columns: the meaning of the rows' columns, for the names in listed rows.
    """

    def __init__(
        self,
        *,
        rejected: Lines | None = None,
        responses: Lines | None = None,
        columns: Columns | None = None,
        ledger: Ledger | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._rejected = rejected
        self._responses = responses
        self._columns = columns or Columns(RowOptions(), EVENT)
        self._ledger = ledger
        self._checkpoint = checkpoint
        #: Refusals that may not be in the rejected file yet, for the checkpoint.
        self._unlisted: list[Receipt] = []
        self._file_failure: Exception | None = None
        #: The counts of earlier tries, and of this one so far.
        self.summary = checkpoint.earlier.copy() if checkpoint else DeliverySummary()
        #: The part of the summary that earlier tries of the task settled, according to the checkpoint or the ledger.
        self.earlier = self.summary.copy()
        #: How many of the summary's receipts earlier tries and runs settled.
        self.settled_before = self.summary.settled
        #: Whether Adjust may have an event of this try.
        self.has_sent = False

    @property
    def behind(self) -> bool:
        """Whether the checkpoint could not be saved. Nothing more may be sent until it is."""
        return self._checkpoint is not None and self._checkpoint.behind

    def take(self, receipt: Receipt) -> None:
        """Record the receipt everywhere, whatever fails; then raise the first failure.

        :raises LedgerUnavailable: the ledger's database failed.
        :raises OSError: a file could not be written.
        """
        self.has_sent |= receipt.attempts > 0 and receipt.outcome is not Outcome.HELD
        if receipt.settled_before:
            self.settled_before += 1
            if receipt.outcome is not Outcome.SKIPPED:  # settled by another run
                self.earlier.add(receipt)
        self._list(receipt)
        self.summary.add(receipt)
        failure = self._settle_in_ledger(receipt)
        if self._checkpoint:
            if self._rejected is not None and receipt.outcome in _REFUSED:
                self._unlisted.append(receipt)
            else:
                self._checkpoint.settle(receipt)
        if error := failure or self._file_failure:
            raise error

    def keep_up(self) -> None:
        """Save if it is time to, or to retry.

        :raises DeliveryStopped: the checkpoint could not be saved for too long.
        :raises OSError: a file could not be written. The checkpoint is saved all the same.
        """
        if self._checkpoint and self._checkpoint.due():
            self._write_first(self._checkpoint)
            self._checkpoint.try_to_save()
            if self._file_failure:
                raise self._file_failure

    def save(self, *, ended: bool = True) -> None:
        """Write the files, the ledger and the checkpoint. A failing file does not affect the others.

        :param ended: no request is in flight any more.
        :raises LedgerUnavailable: the ledger's database failed.
        :raises DeliveryStopped: the checkpoint could not be saved for too long.
        :raises OSError: a file could not be written.
        """
        self._write_first(self._checkpoint)
        if self._checkpoint:
            self._checkpoint.save_at_the_end(ended=ended)
        if self._file_failure:
            raise self._file_failure

    def hurry(self) -> None:
        """Shorten all waits to a few seconds, since the task is being killed. For a signal handler."""
        for memory in (self._ledger, self._checkpoint):
            if memory is not None:
                memory.hurry()

    def _write_first(self, checkpoint: Checkpoint | None) -> None:
        """Write the files and the ledger first, so that the checkpoint is never ahead of them."""
        self._flush_files()
        if self._ledger:
            try:
                self._ledger.flush()
            except Exception as error:
                raise LedgerUnavailable.because(error) from error
        if checkpoint and self._rejected is not None and self._file_failure is None:
            for receipt in self._unlisted:
                checkpoint.settle(receipt)
            self._unlisted.clear()
            checkpoint.rejected_path = self._rejected.written_to
            checkpoint.rejected_lines = self._rejected.lines

    def _flush_files(self) -> None:
        for lines in (self._rejected, self._responses):
            if lines is not None and self._file_failure is None:
                try:
                    lines.flush()
                except Exception as error:
                    self._file_failure = error

    def _list(self, receipt: Receipt) -> None:
        if self._file_failure:
            return  # a line after an incomplete one would be lost with it
        try:
            if receipt.is_undelivered:
                if self._rejected is not None:
                    self._rejected.write(rejected_line(receipt, self._columns))
            elif receipt.answer is not None and self._responses is not None:
                self._responses.write(response_line(receipt))
        except Exception as error:
            self._file_failure = error

    def _settle_in_ledger(self, receipt: Receipt) -> LedgerUnavailable | None:
        if self._ledger:
            try:
                self._ledger.settle(receipt)
            except Exception as error:
                return LedgerUnavailable.because(error)
        return None
