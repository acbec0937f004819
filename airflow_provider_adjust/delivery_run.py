"""One run of a delivery, for an operator's task or the command line: open it, send or check its rows, and conclude it."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, get_args

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.files.receipt_files import ReceiptFile
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.lineage import Destinations
from airflow_provider_adjust.metrics import DeliveryMetrics
from airflow_provider_adjust.s2s.account.budget import FailureBudget
from airflow_provider_adjust.s2s.account.foreign import check_foreign_claims
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import progress_line
from airflow_provider_adjust.s2s.answers.outcome import DRY_RUN, OnForeignClaim, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.sender import Sender
from airflow_provider_adjust.s2s.endpoints.endpoint import endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, DeliveryIncomplete
from airflow_provider_adjust.s2s.events.first_contact import near_money
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.options import EVERY_UNKNOWN, RowOptions
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.redaction import quote

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

log = logging.getLogger(__name__)
#: Seconds between two progress lines in the log.
PROGRESS_EVERY = 10.0
#: The most columns that a line of the log names.
_MOST_COLUMNS = 40
_CLAIM_POLICIES: tuple[OnForeignClaim, ...] = get_args(OnForeignClaim)


class DeliveryRun:
    """A sender with its files and its memory, and the summary of its receipts.

    :param rejected: the file of undelivered events.
    """

    def __init__(
        self,
        sender: Sender,
        hooks: Mapping[str | None, AdjustS2SHook],
        options: RowOptions,
        *,
        rejected: ReceiptFile,
        checkpoint: Checkpoint | None,
        ledger: Ledger | None,
        on_foreign_claim: OnForeignClaim = "warn",
    ) -> None:
        self.sender = sender
        self.rejected = rejected
        self.summary = sender.sink.summary
        self._destinations = Destinations()
        self._hooks = hooks
        self._options = options
        self._checkpoint = checkpoint
        self._ledger = ledger
        self._on_foreign_claim = on_foreign_claim
        self._was_interrupted = False
        self._said_left_out: set[str] = set()

    @classmethod
    @contextmanager
    def open(
        cls,
        hooks: Mapping[str | None, AdjustS2SHook],
        routes: Mapping[str | None, Route],
        options: RowOptions,
        sending: SendOptions,
        *,
        route_by: str | None = None,
        rejected: ReceiptFile,
        responses: ReceiptFile | None = None,
        checkpoint: Checkpoint | None = None,
        ledger: Ledger | None = None,
    ) -> Iterator[DeliveryRun]:
        """Open a run over the routes of the hooks. Its connections are closed at the end.

        :raises AdjustConfigurationError: ``on_foreign_claim`` is not known.
        """
        on_foreign_claim = claim_policy(sending.on_foreign_claim)
        with next(iter(hooks.values())).open_transport(sending) as transport:
            sender = Sender(
                routes,
                transport,
                sending,
                route_by=route_by,
                rejected=rejected,
                responses=responses,
                checkpoint=checkpoint,
                ledger=ledger,
            )
            yield cls(
                sender,
                hooks,
                options,
                rejected=rejected,
                checkpoint=checkpoint,
                ledger=ledger,
                on_foreign_claim=on_foreign_claim,
            )

    @property
    def destinations(self) -> Destinations:
        """The apps and events at Adjust that received a delivery, for lineage."""
        return self._destinations

    @property
    def would_send_twice(self) -> bool:
        """Whether a retry would send events again that Adjust may have from this try."""
        return (
            (self._was_interrupted or self.sender.sink.has_sent) and self._checkpoint is None and self._ledger is None
        )

    def receipts(self, rows: Sequence[Row] | Iterable[Row]) -> Generator[Receipt]:
        """Send the rows; yield each receipt once the sink has recorded it. The progress is saved however the delivery ends."""
        with closing(self._rounds(rows)) as rounds:
            for receipts in rounds:
                yield from receipts

    def _rounds(self, rows: Sequence[Row] | Iterable[Row]) -> Generator[list[Receipt]]:
        if self._checkpoint and self._checkpoint.rejected_path:
            self.rejected.carry_over(self._checkpoint.rejected_path, self._checkpoint.rejected_lines)
        try:
            for receipts in self.sender.rounds(rows):
                for receipt in receipts:
                    self._destinations.add(receipt)
                yield receipts
            self.sender.save()
        except BaseException as error:
            # Airflow's timeout is not an Exception. It leaves requests in flight without a receipt.
            self._was_interrupted |= not isinstance(error, Exception)
            for conclude in (self.sender.give_up, self.sender.save):
                with suppress(Exception):  # the original error has priority
                    conclude()
            raise
        finally:
            self.summary.read = self.sender.read
            if self._ledger:
                self._ledger.rejected_path = self.rejected.written_to

    def deliver(self, rows: Sequence[Row] | Iterable[Row], task_log: Logger, metrics: DeliveryMetrics) -> None:
        """Send all rows; report the progress to the log and the metrics every few seconds."""
        expected = len(rows) if isinstance(rows, Sequence) else None
        started = reported = time.monotonic()
        # Earlier tries have logged their own.
        logged = len(self.summary.first_details)
        told_of_clock = False
        with closing(self._rounds(rows)) as rounds:
            for _ in rounds:
                self.say_left_out(task_log)
                for (outcome, reason), detail in islice(self.summary.first_details.items(), logged, None):
                    logged += 1
                    task_log.warning("The first event that is %s: %s, %s", outcome, reason, detail)
                if not told_of_clock and (difference := self.sender.clock_difference) is not None:
                    told_of_clock = True
                    task_log.warning("%s", _clock_warning(difference))
                now = time.monotonic()
                if now - reported >= PROGRESS_EVERY:
                    reported = now
                    line = progress_line(
                        self.summary,
                        seconds=now - started,
                        settled_before=self.sender.sink.settled_before,
                        expected=expected,
                        slowed_to=self.sender.slowed_to,
                        waiting_for=self.sender.waiting_for,
                    )
                    task_log.info("%s", line)
                    metrics.running(
                        in_flight=self.sender.in_flight,
                        last_event_at=self.summary.last_event_at,
                        now=datetime.now(UTC),
                    )

    def say_left_out(self, task_log: Logger) -> None:
        """Log each column that ``ignore_columns`` leaves out once, and warn about one that may be meant as money."""
        new = [name for name in self.sender.left_out_columns if name not in self._said_left_out]
        self._said_left_out.update(new)
        for level, line in left_out_lines(new, self._options):
            task_log.log(level, "%s", line)

    def dry_run(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[Job | Receipt]:
        """Read, check and order the rows, and send nothing; yield each item once it is counted."""
        return counted_unsent(self.sender.jobs(rows), self.summary)

    def report_lineage(self) -> None:
        """Report the apps and events at Adjust to Airflow as lineage."""
        self._destinations.report(next(iter(self._hooks.values())))

    def check(self, budget: FailureBudget) -> None:
        """Raise if the counts do not add up, or more is missing than allowed.

        :raises CountsMismatch: a row has no outcome.
        :raises EventsUnresolved: events are held or in doubt.
        :raises RejectedBudgetExceeded: more were refused than allowed.
        :raises ClaimedByAnotherDag: the ledger has events from another DAG, and that is an error.
        """
        self.summary.check()
        try:
            budget.check(self.summary, rejected_path=self.rejected.written_to, deleted_path=self.rejected.missing)
        except DeliveryIncomplete:
            # The budget's failure has priority: it may include the other DAG's events.
            check_foreign_claims(self.summary, "allow" if self._on_foreign_claim == "allow" else "warn")
            raise
        check_foreign_claims(self.summary, self._on_foreign_claim)


def claim_policy(given: str | None) -> OnForeignClaim:
    """The policy for events that the ledger has from another DAG: that of the task, or else of the deployment.

    :raises AdjustConfigurationError: the policy is not known.
    """
    written = given or conf.get("adjust", "on_foreign_claim", fallback=_CLAIM_POLICIES[0]).strip()
    for policy in _CLAIM_POLICIES:
        if written == policy:
            return policy
    option = "on_foreign_claim" if given else "[adjust] on_foreign_claim"
    raise AdjustConfigurationError(f"{option} is {written[:40]!r}; it must be one of {', '.join(_CLAIM_POLICIES)}")


def counted_unsent(items: Iterable[Job | Receipt], summary: DeliverySummary) -> Iterator[Job | Receipt]:
    """Count events that would be sent as skipped, and others by their reason; yield each item once it is counted."""
    for item in items:
        summary.read += 1
        if isinstance(item, Receipt):
            summary.add(item)
        else:
            summary.add(Receipt(Outcome.SKIPPED, DRY_RUN, item.event.event_id, item.position, event=item.event))
        yield item


def left_out_lines(names: Sequence[str], options: RowOptions) -> Iterator[tuple[int, str]]:
    """What to log about columns that ``ignore_columns`` leaves out: each line with its level."""
    if names:
        shown = ", ".join(quote(name) for name in names[:_MOST_COLUMNS])
        more = f" and {len(names) - _MOST_COLUMNS:,} more" if len(names) > _MOST_COLUMNS else ""
        yield logging.INFO, f"Columns that are not sent, by ignore_columns: {shown}{more}"
    if EVERY_UNKNOWN in options.ignored_columns:
        for name, parameter in near_money(names, endpoint_named(options.endpoint)).items():
            yield (
                logging.WARNING,
                f"The column {quote(name)} is not sent, since ignore_columns is *; if it is {parameter}, name it in "
                "column_map, else name the ignored columns one by one",
            )


def _clock_warning(behind: timedelta) -> str:
    where = "behind" if behind > timedelta(0) else "ahead of"
    return (
        f"The worker's clock is {abs(behind).total_seconds() / 60:.0f} minutes {where} the server's: fresh events may be "
        "refused as created_at_in_future, or old ones sent too late. Set the worker's clock by NTP"
    )


@contextmanager
def exit_stack_preserving_error() -> Iterator[ExitStack]:
    """An exit stack. If the body failed, its exception is raised, and errors while closing are only logged.

    A full disk, for example, also makes closing a file fail, which would hide why the delivery failed.
    """
    stack = ExitStack()
    try:
        yield stack
    except BaseException as failure:
        try:
            # With the failure, rather than by close(), since the ledger records from it how the try ended.
            stack.__exit__(type(failure), failure, failure.__traceback__)
        except BaseException as error:
            if error is not failure:
                # Only the type: a database's or a storage's message may contain an address with a password.
                log.warning("Not everything could be closed after the failure (%s)", type(error).__name__)
        raise
    stack.close()
