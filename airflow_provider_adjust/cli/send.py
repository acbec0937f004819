"""``send``: a file's events to Adjust, as the operator would send them, with a progress bar instead of a task log."""

from __future__ import annotations

import signal
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.cli.check import check
from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist, hook_of, open_rows, parsing, path_of
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.operators.receipt_files import ReceiptFile
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, DeliveryIncomplete
from airflow_provider_adjust.s2s.ledger import Ledger, TaskInstanceId
from airflow_provider_adjust.s2s.receipts import UNDELIVERED, DeliverySummary
from airflow_provider_adjust.s2s.rejected import rejected_line
from airflow_provider_adjust.s2s.reporting import FailureBudget
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.s2s.sender import Sender
from airflow_provider_adjust.sql_rows import sql_hook

#: What the ledger notes as the task of an event that was sent from the command line.
TASK_ID = "airflow adjust send"


def send(options: Namespace, terminal: Terminal) -> int:
    """Send the file's events, or with ``--dry-run`` only check and show them."""
    budget = FailureBudget.of(options.max_rejected, options.tolerate or ("duplicate",))
    rejected_to = _rejected_path(options.rejected_path)
    hook = hook_of(options, max_in_flight=options.max_in_flight, max_events_per_second=options.max_events_per_second)
    route = hook.route(**parsing(options))
    summary = DeliverySummary()
    with ExitStack() as stack:
        rows = stack.enter_context(open_rows(options.file))
        if options.dry_run:
            return check(route.parser, rows, terminal, title=f"Dry run of {options.file}", shown=5)
        rejected = stack.enter_context(ReceiptFile(rejected_to))
        sender = Sender(
            {None: route},
            stack.enter_context(hook.open_transport()),
            max_in_flight=options.max_in_flight,
            max_events_per_second=options.max_events_per_second,
            on_in_doubt=options.on_in_doubt,
            ledger=_ledger(options),
        )
        stack.enter_context(_stopped_by_signals(sender))
        total = len(rows) if isinstance(rows, Sequence) else None
        progress = stack.enter_context(terminal.progress("Sending", total))
        try:
            for receipt in sender.send(rows):
                summary.add(receipt)
                if receipt.outcome in UNDELIVERED:
                    row = receipt.row
                    renamed = receipt.with_row(route.parser.renamed(row)) if isinstance(row, dict) else receipt
                    rejected.write(rejected_line(renamed))
                for task in progress.task_ids:
                    delivered = summary.outcomes[Outcome.DELIVERED.value]
                    progress.update(task, advance=1, delivered=delivered, missing=summary.count(UNDELIVERED))
        finally:
            sender.save()
            summary.read = sender.read
            progress.stop()
            terminal.summary(f"Sent from {options.file}", summary)
            if rejected.written_to:
                terminal.say(f"What was not delivered is listed with reasons in {rejected.written_to}")
    summary.check()
    try:
        budget.check(summary, rejected_path=rejected.written_to)
    except DeliveryIncomplete as error:
        # Its first line says how many; the tables that follow are on the terminal already.
        raise type(error)(str(error).partition("\n")[0]) from None
    return ExitCode.OK


def _ledger(options: Namespace) -> Ledger | None:
    if not options.ledger_conn_id:
        return None
    with connection_must_exist(options.ledger_conn_id):
        engine = sql_hook(options.ledger_conn_id, None).get_sqlalchemy_engine()
    # Two commands at once must not take each other's events under way for their own.
    sender = TaskInstanceId(run_id=f"{datetime.now(UTC).isoformat()} {uuid4().hex[:8]}", task_id=TASK_ID)
    return Ledger(engine, sender, on_in_doubt=options.on_in_doubt, batch_size=max(64, 2 * options.max_in_flight))


def _rejected_path(path: str | None) -> ObjectStoragePath | None:
    if not path:
        return None
    target = path_of(path)
    if target.suffix != ".jsonl":
        raise AdjustConfigurationError(f"{target.name!r} must end in .jsonl")
    if target.exists():
        raise AdjustConfigurationError(f"{path} exists already; name a file that is new, so that no reject is lost")
    return target


@contextmanager
def _stopped_by_signals(sender: Sender) -> Iterator[None]:
    """Ctrl-C and SIGTERM let what is in flight end, and nothing more is sent."""

    def stop(number: int, frame: Any) -> None:
        sender.stop(f"{signal.Signals(number).name} came")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
