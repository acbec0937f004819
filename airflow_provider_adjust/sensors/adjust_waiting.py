"""What the sensors that look at Adjust share: poke, reschedule or defer, and a timeout that says what is missing."""

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
from airflow_provider_adjust.reconcile.poll import Look
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger

#: The trigger keeps the time itself, so that it can say what is missing. Airflow's own limit is for a triggerer that is
#: gone, and lies behind the slowest report.
_GRACE = timedelta(hours=1)


class AdjustWaitingSensor(BaseSensorOperator):
    """Base of the sensors that look at Adjust; a subclass says at what.

    :param adjust_conn_id: the ``adjust`` connection, with an API token. (templated)
    :param app_token: takes the place of the connection's. (templated)
    :param deferrable: wait in the triggerer, which needs no worker slot and no process of its own.
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
        self._last_look = Look(False, "Adjust was not looked at")
        self._until = 0.0

    @abstractmethod
    def look(self) -> Look:
        """Look at Adjust once."""

    @abstractmethod
    def trigger(self, *, poke_interval: float, until: float) -> AdjustWaitingTrigger:
        """The trigger that goes on looking."""

    def poke(self, context: Context) -> PokeReturnValue:
        try:
            self._last_look = self.look()
        except (AdjustConfigurationError, DeviceApiRefused, InvalidEvent) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except (ReportUnavailable, DeviceApiError) as error:
            # Adjust is busy; what is waited for may be there at the next look.
            self._last_look = Look(False, str(error))
        self.log.info("%s", self._last_look.said)
        if self.deferrable and not self._last_look.is_done:
            self._defer()
        return PokeReturnValue(is_done=self._last_look.is_done, xcom_value=self._last_look.value)

    def execute(self, context: Context) -> Any:
        self._until = time.time() + self.timeout
        try:
            # Also where it defers: soft_fail, never_fail and silent_fail are seen to there.
            return super().execute(context)
        except AirflowSensorTimeout as timeout:
            raise AirflowSensorTimeout(f"{timeout}\n{excerpt(self._last_look.said)}") from timeout

    def _defer(self) -> NoReturn:
        self.defer(
            trigger=self.trigger(poke_interval=self.poke_interval, until=self._until),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout) + _GRACE,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on after the trigger has fired."""
        if event["status"] == "refused":
            raise AirflowFailException(event["said"])
        self.log.info("%s", event["said"])
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"Sensor has timed out after {self.timeout:g} seconds.\n{excerpt(event['said'])}"
            )
        return event["value"]
