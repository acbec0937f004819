"""``ledger prune``: what ``AdjustPruneLedgerOperator`` does, once and now."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.operators.adjust_prune_ledger import check_age
from airflow_provider_adjust.s2s.ledger import prune
from airflow_provider_adjust.sql_rows import sql_hook


def prune_ledger(options: Namespace, terminal: Terminal) -> int:
    """Delete settled events that are old enough, and say how many."""
    older_than = timedelta(days=options.older_than_days)
    check_age(older_than)
    with connection_must_exist(options.ledger_conn_id):
        engine = sql_hook(options.ledger_conn_id, None).get_sqlalchemy_engine()
    count = prune(engine, older_than=older_than)
    terminal.say(f"{count:,} settled events from more than {older_than.days} days ago were deleted from the ledger")
    return ExitCode.OK
