"""AdjustDeviceEventSensor: waits until Adjust has an event of one device, the end-to-end probe with a test device."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.poll import Look, look_at_device
from airflow_provider_adjust.rendered_fields import HidesRenderedFields, hide, reveal
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor
from airflow_provider_adjust.triggers.adjust_device_event import AdjustDeviceEventTrigger, seal


class AdjustDeviceEventSensor(HidesRenderedFields, AdjustWaitingSensor):
    """Wait until Adjust's last event of a device is at or after a time; the XCom is that event's time.

    .. code-block:: python

        AdjustDeviceEventSensor(
            task_id="probe", device_id="{{ var.value.adjust_test_device }}", event_token="f0ob4r", since="{{ ts }}"
        )

    :param device_id: the device's advertising id or adid. Take it from a variable or a secrets backend: what is written
        in the DAG's file can be read in Airflow's UI. It is shown in no log and in no rendered field. (templated)
    :param event_token: the event. (templated)
    :param since: the time, as a timestamp or ISO 8601 text. (templated)
    :param timezone: IANA name of the zone in which a time without an offset is read.

    The other arguments are those of :class:`~airflow_provider_adjust.sensors.adjust_waiting.AdjustWaitingSensor`.
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

    def look(self) -> Look:
        connection = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token)
        return look_at_device(connection.inspect_device(self._device_id()), self.event_token, self._since())

    def trigger(self, *, poke_interval: float, until: float) -> AdjustDeviceEventTrigger:
        connection = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token)
        *_, api_token = connection.device_account()
        return AdjustDeviceEventTrigger(
            adjust_conn_id=self.adjust_conn_id,
            app_token=self.app_token,
            sealed_device_id=seal(self._device_id(), api_token),
            event_token=self.event_token,
            since=self._since().isoformat(),
            poke_interval=poke_interval,
            until=until,
        )

    def _device_id(self) -> str:
        return str(reveal(self.device_id))

    def _since(self) -> datetime:
        return read_time("since", self.since, load_timezone(self.timezone))
