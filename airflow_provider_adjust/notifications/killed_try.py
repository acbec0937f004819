"""The ledger's record of a killed try, which cannot report itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.account.amounts import from_database
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome, is_undelivered
from airflow_provider_adjust.s2s.ledger.sqlite_file import is_missing
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId, TryCounts, counts_of
from airflow_provider_adjust.sql_rows import sql_hook

log = logging.getLogger(__name__)
#: Seconds after which the message is sent without numbers. Airflow ends the Dag processor of a file after 50.
TIMEOUT = 10.0


def result_in_ledger(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """The try's result according to the ledger; None without a ledger, or if it cannot be read.

    A checkpoint cannot be read here: the Dag processor, which runs the callback of a killed try, has no task state store.
    """
    try:
        conn_id = ledger_of(context)
        if not conn_id:
            return None
        engine = sql_hook(conn_id, None, argument="ledger_conn_id").get_sqlalchemy_engine()
        if is_missing(engine):
            return None
        ti = context["ti"]
        task = TaskInstanceId(ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1), ti.try_number)
        counts = _read_in_time(engine, task)
    except Exception as error:
        # Only the type: a database's message may contain its address.
        log.warning("The ledger could not be read for the killed try (%s)", type(error).__name__)
        return None
    return _as_result(counts) if counts else None


def ledger_of(context: Mapping[str, Any]) -> str | None:
    """The task's rendered ledger_conn_id; None without one, or if its template cannot be rendered here.

    A mapped task that has not run in this process has it among its common arguments.
    """
    task = context.get("task")
    given = getattr(task, "ledger_conn_id", None) or getattr(task, "partial_kwargs", {}).get("ledger_conn_id")
    if task is not None and isinstance(given, str) and "{" in given:
        try:
            return str(task.render_template(given, context))
        except Exception as error:
            log.warning("ledger_conn_id could not be rendered for the message (%s)", type(error).__name__)
            return None
    return given


def _read_in_time(engine: sa.Engine, task: TaskInstanceId) -> TryCounts | None:
    """In a thread, since not every driver limits the time to connect."""
    ends: list[TryCounts | Exception | None] = []

    def read() -> None:
        try:
            with engine.connect() as connection:
                ends.append(counts_of(connection, task))
        except Exception as error:
            ends.append(error)
        finally:
            engine.dispose()

    thread = threading.Thread(target=read, name="adjust-killed-try", daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    [end] = ends or [TimeoutError()]
    if isinstance(end, Exception):
        raise end
    return end


def _as_result(counts: TryCounts) -> dict[str, Any]:
    summary = DeliverySummary()
    for each in counts.counted:
        summary.outcomes[each.outcome] += each.events
        if each.reason:
            summary.reasons[each.outcome, each.reason] += each.events
        if each.currency and each.revenue is not None:
            amount = from_database(each.revenue)
            if each.outcome == Outcome.DELIVERED.value:
                summary.revenue[each.currency] = summary.revenue.get(each.currency, Decimal(0)) + amount
            elif is_undelivered(each.outcome, each.reason):
                summary.revenue_by_reason.setdefault((each.outcome, each.reason), {})[each.currency] = amount
    # It is not known whether they were sent.
    summary.outcomes[Outcome.IN_DOUBT.value] += counts.sending
    summary.read = summary.settled
    return summary.as_result(seconds=counts.seconds, rejected_path=None, environment=counts.environment)
