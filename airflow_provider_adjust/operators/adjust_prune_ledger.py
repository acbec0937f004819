"""AdjustPruneLedgerOperator: deletes old events from the ledger, and none that could still be sent twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, PruningStopped
from airflow_provider_adjust.s2s.ledger.prune import prune


class AdjustPruneLedgerOperator(BaseOperator):
    """Delete old events from the ledger; the XCom is how many.

    Only settled events go. What is in doubt, or was being sent when its worker was lost, stays until somebody has checked
    it. They go in small transactions, so tasks that send meanwhile do not wait, and a task that is killed keeps what
    it has deleted.

    :param ledger_conn_id: the database connection that the sending tasks have as ``ledger_conn_id``. (templated)
    :param older_than: how long ago an event must have happened. At least 58 days: Adjust takes younger events, so one
        that the ledger has forgotten could be sent again.
    :raises AdjustConfigurationError: ``older_than`` is less than that.
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)
    ui_color = "#e0f2ef"

    def __init__(self, *, ledger_conn_id: str, older_than: timedelta = timedelta(days=90), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Not templated, so a value that is too short fails the DAG's import.
        check_age(older_than)
        self.ledger_conn_id = ledger_conn_id
        self.older_than = older_than
        self._killed = False

    def execute(self, context: Context) -> int:
        try:
            with named_ledger_errors(self.ledger_conn_id), ledger_engine(self.ledger_conn_id) as engine:
                count = prune(engine, older_than=self.older_than, is_stopped=lambda: self._killed)
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        self.log.info(
            "%s settled events older than %d days were deleted from the ledger",
            f"{count:,}",
            self.older_than.days,
        )
        if self._killed:
            raise PruningStopped(
                f"the task was killed after it had deleted {count:,} events; the next run deletes the rest"
            )
        return count

    def on_kill(self) -> None:
        # Airflow calls this in a signal handler; the current batch is finished first.
        self._killed = True


def check_age(older_than: timedelta) -> None:
    """Refuse an age at which Adjust still accepts events.

    :raises AdjustConfigurationError: ``older_than`` is too short.
    """
    if EVENT.max_age is not None and older_than < EVENT.max_age:
        raise AdjustConfigurationError(
            f"older_than is {_in_days(older_than)}; it must be at least {EVENT.max_age.days} days, since Adjust takes events "
            "up to that age, and one that the ledger has forgotten could be sent again"
        )


def _in_days(age: timedelta) -> str:
    days = age / timedelta(days=1)
    return "1 day" if days == 1 else f"{days:,.10g} days"
