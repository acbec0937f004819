"""The common part of the sensors that poll Adjust: poke, reschedule or defer, and a timeout that names what is missing."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_adjust.adjust_api.device import DeviceApiError, DeviceApiRefused
from airflow_provider_adjust.adjust_api.errors import ReportUnavailable
from airflow_provider_adjust.airflow_versions import AirflowFailException, AirflowSensorTimeout, conf
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.reconcile.comparison import excerpt
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger

#: The trigger checks the timeout itself, so that it can name what is missing. Airflow's own limit covers a triggerer that does
#: not run, and is later by more than the slowest report or query.
GRACE = timedelta(hours=1)


class AdjustWaitingSensor(BaseSensorOperator):
    """Base of the sensors that poll Adjust. A subclass defines the poll.

    The default mode is ``reschedule``, and ``poke_interval`` is five minutes.

    :param adjust_conn_id: the ``adjust`` connection, with an API token. (templated)
    :param app_token: the app; overrides the connection's. (templated)
    :param deferrable: wait in the triggerer, which takes neither a worker slot nor a process.
    """

    template_fields: Sequence[str] = ("adjust_conn_id", "app_token")
    ui_color = "#e0f2ef"

    def __init__(
        self,
        *,
        adjust_conn_id: str = DEFAULT_CONN_ID,
        app_token: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("mode", "reschedule")
        kwargs.setdefault("poke_interval", timedelta(minutes=5))
        super().__init__(**kwargs)
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.deferrable = deferrable
        self._last_result = PollResult(False, "Adjust was not polled")
        self._until = 0.0

    @abstractmethod
    def poll_once(self) -> PollResult:
        """Poll Adjust once."""

    @abstractmethod
    def trigger(self, *, poke_interval: float, until: float) -> AdjustWaitingTrigger:
        """The trigger that continues to poll."""

    def poke(self, context: Context) -> PokeReturnValue:
        try:
            self._last_result = self.poll_once()
        except (AdjustConfigurationError, DeviceApiRefused, InvalidEvent) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except (ReportUnavailable, DeviceApiError) as error:
            # Adjust is busy. The next poll may succeed.
            self._last_result = PollResult(False, str(error))
        self.log.info("%s", self._last_result.message)
        if self.deferrable and not self._last_result.is_done:
            self._defer()
        return PokeReturnValue(is_done=self._last_result.is_done, xcom_value=self._last_result.value)

    def execute(self, context: Context) -> Any:
        self._until = time.time() + self.timeout
        try:
            # Also when it defers: the base class applies soft_fail, never_fail and silent_fail.
            return super().execute(context)
        except AirflowSensorTimeout as timeout:
            raise AirflowSensorTimeout(f"{timeout}\n{excerpt(self._last_result.message)}") from timeout

    def _defer(self) -> NoReturn:
        self.defer(
            trigger=self.trigger(poke_interval=self.poke_interval, until=self._until),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout) + GRACE,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """End the task with the result of the trigger."""
        if event["status"] == "refused":
            raise AirflowFailException(event["message"])
        self.log.info("%s", event["message"])
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"Sensor has timed out after {self.timeout:g} seconds.\n{excerpt(event['message'])}"
            )
        return event["value"]
