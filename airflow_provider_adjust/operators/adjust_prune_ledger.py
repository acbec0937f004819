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
    """Delete settled events from the ledger when they are too old for Adjust to accept; the XCom is their number.

    Events in doubt stay, and so do events that were being sent when their worker was lost. Transactions are small: sending
    tasks do not wait, and a killed task keeps what it has deleted.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_prune_ledger import AdjustPruneLedgerOperator

        AdjustPruneLedgerOperator(task_id="prune_ledger", ledger_conn_id="adjust_ledger")

    :param ledger_conn_id: the database connection of the sending tasks' ledger. (templated)
    :param older_than: how long ago an event must have happened, at least 58 days. Adjust accepts younger events, so one that
        the ledger has forgotten could be sent again.
    :raises AdjustConfigurationError: ``older_than`` is less than 58 days.
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
