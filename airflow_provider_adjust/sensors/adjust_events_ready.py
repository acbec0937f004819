"""AdjustEventsReadySensor: waits until the warehouse has the interval's events and their load has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_adjust.airflow_versions import AirflowFailException, AirflowSensorTimeout, conf
from airflow_provider_adjust.events_ready import ReadyQuery
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sensors.adjust_waiting import GRACE
from airflow_provider_adjust.sql_rows import Parameters
from airflow_provider_adjust.triggers.adjust_events_ready import AdjustEventsReadyTrigger


class AdjustEventsReadySensor(BaseSensorOperator):
    """Wait until the warehouse has the events to send; the XCom is their count.

    The default mode is ``reschedule``, so the sensor takes no worker slot while it waits.

    .. code-block:: python

        from datetime import timedelta

        from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor

        AdjustEventsReadySensor(
            task_id="wait_for_purchases",
            sql_conn_id="warehouse",
            sql="SELECT COUNT(*), MAX(loaded_at) FROM purchases WHERE purchased_at >= '{{ data_interval_start }}'",
            settle_for=timedelta(minutes=10),
            timeout=timedelta(hours=6).total_seconds(),
        )

    :param sql: a query that returns one row: the count of the interval's events and, with ``settle_for``, the time of the
        last load. Inline or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: the database connection; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param min_events: the smallest count that ends the wait; 0 accepts an empty interval.
    :param settle_for: how long ago the last load must be, so that half of a load is not sent.
    :param timezone: IANA name of the time zone of a load time without an offset.
    :param deferrable: wait in the triggerer, which takes neither a worker slot nor a process.
    """

    template_fields: Sequence[str] = ("sql", "sql_conn_id", "parameters")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        min_events: int = 1,
        settle_for: timedelta | None = None,
        timezone: str = "UTC",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("mode", "reschedule")
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.min_events = min_events
        self.settle_for = settle_for
        self.timezone = timezone
        self.deferrable = deferrable
        self._until = 0.0

    def execute(self, context: Context) -> Any:
        self._until = time.time() + self.timeout
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        query = ReadyQuery(
            sql=self.sql,
            sql_conn_id=self.sql_conn_id,
            parameters=self.parameters,
            hook_params=self.hook_params,
            min_events=self.min_events,
            settle_for=self.settle_for,
            timezone=self.timezone,
        )
        try:
            result = query.poll()
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        self.log.info("%s", result.message)
        if self.deferrable and not result.is_done:
            self._defer(query, result)
        return PokeReturnValue(is_done=result.is_done, xcom_value=result.value)

    def _defer(self, query: ReadyQuery, result: PollResult) -> None:
        """Defer to the triggerer, unless a parameter cannot be stored: then Airflow reschedules the task."""
        if time.time() >= self._until:
            raise self._timed_out(result.message)
        try:
            trigger = AdjustEventsReadyTrigger.of(query, poke_interval=self.poke_interval, until=self._until)
        except TypeError:
            self.log.warning(
                "The task is not deferred: a value of parameters or hook_params is of a type that cannot be stored"
            )
            return
        self.defer(
            trigger=trigger,
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=max(0.0, self._until - time.time())) + GRACE,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """End the task with the result of the trigger, or poll here if the trigger could not."""
        self.log.info("%s", event["message"])
        if event["status"] == "timeout":
            raise self._timed_out(event["message"])
        if event["status"] == "poll":
            self._until = event["until"]
            return super().execute(context)
        return event["value"]

    def _timed_out(self, message: str) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"Sensor has timed out after {self.timeout:g} seconds.\n{message}")
