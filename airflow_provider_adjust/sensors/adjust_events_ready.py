"""AdjustEventsReadySensor: waits until the warehouse has the interval's events and their load has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time
from airflow_provider_adjust.s2s.events.values import is_missing
from airflow_provider_adjust.sql_rows import Parameters, sql_hook


class AdjustEventsReadySensor(BaseSensorOperator):
    """Wait until the warehouse has the events to send; the XCom is their count.

    The default mode is ``reschedule``: the sensor keeps no state between two polls, so it takes no worker slot while it
    waits.

    :param sql: a query of one row: the count of the interval's events and, with ``settle_for``, the time at which the
        last of them was loaded. (templated)
    :param sql_conn_id: any connection with a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param min_events: the smallest count that ends the wait; 0 accepts an empty interval.
    :param settle_for: how long ago the last load must be, so that half of a load is not sent.
    :param timezone: IANA name of the time zone of a load time without an offset.
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

    def poke(self, context: Context) -> PokeReturnValue:
        try:
            return self._poll_once()
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    def _poll_once(self) -> PokeReturnValue:
        record = sql_hook(self.sql_conn_id, self.hook_params).get_first(self.sql, parameters=self.parameters)
        found, *rest = record or (0,)
        count = _count(found)
        if count < self.min_events:
            self.log.info("%s events are there; waiting for %s", f"{count:,}", f"{self.min_events:,}")
            return PokeReturnValue(is_done=False)
        quiet_for = self._quiet_for(rest) if count and self.settle_for else None
        if quiet_for is not None and self.settle_for is not None and quiet_for < self.settle_for:
            self.log.info(
                "%s events are there; the last was loaded %s ago, waiting for %s",
                f"{count:,}",
                quiet_for,
                self.settle_for,
            )
            return PokeReturnValue(is_done=False)
        self.log.info("%s events are ready", f"{count:,}")
        return PokeReturnValue(is_done=True, xcom_value=count)

    def _quiet_for(self, rest: Sequence[Any]) -> timedelta:
        if not rest or is_missing(rest[0]):
            raise AdjustConfigurationError(
                "settle_for needs the sql to return a second column, the time at which the last event was loaded"
            )
        try:
            loaded_at = read_time("the load time", rest[0], load_timezone(self.timezone))
        except InvalidEvent as error:
            raise AdjustConfigurationError(error.detail) from None
        return datetime.now(UTC) - loaded_at


def _count(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        raise AdjustConfigurationError(
            f"the first column of the sql is a {type(value).__name__}; it must be the count of the events"
        ) from None
