"""AdjustDeviceEventSensor: waits until Adjust has an event of one device, such as an end-to-end test's device."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.poll import PollResult, poll_device
from airflow_provider_adjust.rendered_fields import HidesRenderedFields, hide, reveal
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor
from airflow_provider_adjust.triggers.adjust_device_event import AdjustDeviceEventTrigger, encrypt_for_trigger


class AdjustDeviceEventSensor(HidesRenderedFields, AdjustWaitingSensor):
    """Wait until Adjust has an event of one device at or after a given time; the XCom is the event's time.

    .. code-block:: python

        from airflow_provider_adjust.sensors.adjust_device_event import AdjustDeviceEventSensor

        AdjustDeviceEventSensor(
            task_id="probe",
            device_id="{{ var.value.adjust_test_device }}",
            event_token="f0ob4r",
            since="{{ ts }}",
        )

    :param device_id: the device's advertising id or adid. Read it from a variable or a secrets backend, because Airflow's UI
        shows the DAG's file. Logs and rendered fields do not show it. (templated)
    :param event_token: the event token. (templated)
    :param since: the earliest time that counts, as a timestamp or ISO 8601 text. Adjust keeps whole seconds. (templated)
    :param timezone: IANA name of the time zone of a ``since`` without an offset.

    All other arguments are those of :class:`~airflow_provider_adjust.sensors.adjust_waiting.AdjustWaitingSensor`.
    """

    template_fields: Sequence[str] = ("device_id", "event_token", "since", *AdjustWaitingSensor.template_fields)

    def __init__(self, *, device_id: Any, event_token: str, since: Any, timezone: str = "UTC", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.device_id = device_id
        self.event_token = event_token
        self.since = since
        self.timezone = timezone

    def hide_rendered_fields(self) -> None:
        self.device_id = hide(self.device_id, "not shown: a device id")

    def poll_once(self) -> PollResult:
        connection = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token)
        return poll_device(connection.inspect_device(self._device_id()), self.event_token, self._since())

    def trigger(self, *, poke_interval: float, until: float) -> AdjustDeviceEventTrigger:
        connection = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token)
        *_, api_token = connection.device_account()
        return AdjustDeviceEventTrigger(
            adjust_conn_id=self.adjust_conn_id,
            app_token=self.app_token,
            encrypted_device_id=encrypt_for_trigger(self._device_id(), api_token),
            event_token=self.event_token,
            since=self._since().isoformat(),
            poke_interval=poke_interval,
            until=until,
        )

    def _device_id(self) -> str:
        return str(reveal(self.device_id))

    def _since(self) -> datetime:
        return read_time("since", self.since, load_timezone(self.timezone))
