"""``ledger prune``: one run of what ``AdjustPruneLedgerOperator`` does."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from datetime import timedelta

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist
from airflow_provider_adjust.cli.signals import stopped_by_signals
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.operators.adjust_prune_ledger import check_age
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors
from airflow_provider_adjust.s2s.ledger.prune import prune


def prune_ledger(options: Namespace, terminal: Terminal) -> int:
    """Delete old settled events, and show how many. A signal stops it after the current batch."""
    older_than = timedelta(days=options.older_than_days)
    check_age(older_than)
    signals: list[str] = []
    with ExitStack() as stack:
        with connection_must_exist(options.ledger_conn_id):
            engine = stack.enter_context(ledger_engine(options.ledger_conn_id))
        stack.enter_context(stopped_by_signals(signals.append))
        stack.enter_context(named_ledger_errors(options.ledger_conn_id))
        count = prune(engine, older_than=older_than, is_stopped=lambda: bool(signals))
    terminal.say(f"{count:,} settled events older than {older_than.days} days were deleted from the ledger")
    if signals:
        terminal.say(f"{signals[0]}; more events may be left, run the command again")
        return ExitCode.STOPPED
    return ExitCode.OK
