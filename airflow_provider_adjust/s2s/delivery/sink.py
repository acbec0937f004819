"""The one place that takes a receipt: everything that is kept of it, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.ledger.ledger import Ledger


class Lines(Protocol):
    """A file of JSON lines. ``written_to`` is None while there are no lines."""

    lines: int

    @property
    def written_to(self) -> str | None: ...

    def write(self, line: str) -> None: ...

    def flush(self) -> None: ...


class Sink:
    """Takes each receipt once: lists it, counts it, and has the ledger and the checkpoint remember it.

    The order matters. What a checkpoint or a ledger calls settled is not offered again, so it must be in the rejected
    file and in the counts before.

    :param rejected: lists what Adjust does not have.
    :param responses: lists Adjust's answers.
    :param endpoint: where the events go; it says which of a row's values is an amount.
    :param column_map: Adjust's names by the rows', under which a rejected row is listed.
    """

    def __init__(
        self,
        *,
        rejected: Lines | None = None,
        responses: Lines | None = None,
        column_map: Mapping[str, str] | None = None,
        endpoint: Endpoint = EVENT,
        ledger: Ledger | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._rejected = rejected
        self._responses = responses
        self._column_map = column_map or {}
        self._endpoint = endpoint
        self._ledger = ledger
        self._checkpoint = checkpoint
        #: What earlier tries have settled, and this one so far.
        self.summary = checkpoint.earlier.copy() if checkpoint else DeliverySummary()
        #: Adjust may have an event of this try.
        self.has_sent = False

    def take(self, receipt: Receipt) -> None:
        """Keep everything that is to be known of the receipt.

        :raises LedgerUnavailable: the ledger's database failed. The receipt is listed and counted all the same, and the
            checkpoint has it.
        """
        self.has_sent |= receipt.attempts > 0 and receipt.outcome is not Outcome.HELD
        self._list(receipt)
        self.summary.add(receipt)
        failure = self._settle_in_ledger(receipt)
        if self._checkpoint:
            self._checkpoint.settle(receipt)
        if failure:
            raise failure
        if self._checkpoint and self._checkpoint.due():
            self.save()

    def save(self) -> None:
        """Write the files, then the ledger, then the checkpoint, which must not know more than they do.

        :raises LedgerUnavailable: the ledger's database failed.
        """
        for lines in (self._rejected, self._responses):
            if lines is not None:
                lines.flush()
        if self._ledger:
            try:
                self._ledger.flush()
            except Exception as error:
                raise LedgerUnavailable.because(error) from error
        if self._checkpoint:
            if self._rejected is not None:
                self._checkpoint.rejected_path = self._rejected.written_to
                self._checkpoint.rejected_lines = self._rejected.lines
            self._checkpoint.save()

    def _list(self, receipt: Receipt) -> None:
        if receipt.outcome in UNDELIVERED:
            if self._rejected is not None:
                self._rejected.write(rejected_line(receipt, self._endpoint, column_map=self._column_map))
        elif receipt.answer is not None and self._responses is not None:
            self._responses.write(response_line(receipt))

    def _settle_in_ledger(self, receipt: Receipt) -> LedgerUnavailable | None:
        if self._ledger:
            try:
                self._ledger.settle(receipt)
            except Exception as error:
                return LedgerUnavailable.because(error)
        return None
