"""``send``: send a file's events like the operator, with a progress bar instead of a task log."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from uuid import uuid4

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.cli.audit import current_user
from airflow_provider_adjust.cli.check import NO_ROWS, check
from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist, given, hook_of, open_rows, path_of
from airflow_provider_adjust.cli.signals import stopped_by_signals
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.delivery_run import DeliveryRun, exit_stack_preserving_error, left_out_lines
from airflow_provider_adjust.files.private import is_local, local_path
from airflow_provider_adjust.files.receipt_files import ReceiptFile
from airflow_provider_adjust.routes import destination, open_ledger
from airflow_provider_adjust.s2s.account.budget import FailureBudget
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, Outcome
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, DeliveryIncomplete
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

#: The task id in the ledger for events that were sent from the command line.
TASK_ID = "airflow adjust send"


def send(options: Namespace, terminal: Terminal) -> int:
    """Send the file's events, or with ``--dry-run`` only check and show them."""
    budget = FailureBudget.of(options.max_rejected, options.tolerate or ("duplicate",))
    rejected_to = _rejected_path(options.rejected_path)
    hook, row_options, sending = hook_of(options), given(options, RowOptions), given(options, SendOptions)
    route = hook.route(row_options)
    with exit_stack_preserving_error() as stack:
        rows = stack.enter_context(open_rows(options.file, row_options))
        target = destination(route, f"ledger {options.ledger_conn_id}" if options.ledger_conn_id else "no ledger")
        terminal.say(f"{'Would send' if options.dry_run else 'Sending'} to {target}")
        if options.dry_run:
            return check(route.parser, rows, terminal, title=f"Dry run of {options.file}", shown=5)
        rejected = stack.enter_context(ReceiptFile(rejected_to))
        ledger = _ledger(options, sending, stack)
        run = stack.enter_context(
            DeliveryRun.open({None: hook}, {None: route}, row_options, sending, rejected=rejected, ledger=ledger)
        )
        stack.enter_context(stopped_by_signals(run.sender.stop))
        total = len(rows) if isinstance(rows, Sequence) else None
        progress = stack.enter_context(terminal.progress("Sending", total))
        receipts = stack.enter_context(closing(run.receipts(rows)))
        try:
            for _ in receipts:
                for task in progress.task_ids:
                    delivered = run.summary.outcomes[Outcome.DELIVERED.value]
                    progress.update(task, advance=1, delivered=delivered, missing=run.summary.count(UNDELIVERED))
        finally:
            progress.stop()
            terminal.notes(left_out_lines(run.sender.left_out_columns, row_options))
            terminal.summary(f"Sent from {options.file} to {target}", run.summary)
            if rejected.written_to:
                terminal.say(f"Undelivered events are listed with reasons in {rejected.written_to}")
        if not run.summary.read:
            terminal.warn(NO_ROWS)
        # Within the ledger's context, so that the ledger records how the try ended.
        try:
            run.check(budget)
        except DeliveryIncomplete as error:
            # Only its first line, with the counts: the terminal already shows the tables.
            raise type(error)(str(error).partition("\n")[0]) from None
    return ExitCode.OK


def _ledger(options: Namespace, sending: SendOptions, stack: ExitStack) -> Ledger | None:
    # Two simultaneous commands must not share their claims.
    run_id = f"{datetime.now(UTC).isoformat()} by {current_user()[:100]} {uuid4().hex[:8]}"
    sender = TaskInstanceId(run_id=run_id, task_id=TASK_ID)
    with connection_must_exist(options.ledger_conn_id):
        return stack.enter_context(open_ledger(options.ledger_conn_id, sender, sending))


def _rejected_path(path: str | None) -> ObjectStoragePath | None:
    if not path:
        return None
    target = path_of(path)
    if target.suffix != ".jsonl":
        raise AdjustConfigurationError(f"{target.name!r} must end in .jsonl")
    if os.path.lexists(local_path(target)) if is_local(target) else target.exists():
        raise AdjustConfigurationError(f"{path} exists already; name a file that is new, so that no reject is lost")
    return target
