"""AdjustDeviceEventTrigger: waits in the triggerer until Adjust has a device's event."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reports.look import Look, look_at_device
from airflow_provider_adjust.reports.sealed import unseal
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger


class AdjustDeviceEventTrigger(AdjustWaitingTrigger):
    """Fire once Adjust's last event of a device is at or after a time, or once the time is over.

    :param sealed_device_id: the device's id, sealed with the connection's API token: before Airflow 3.3 the arguments of
        a trigger can be read over Airflow's REST API.
    :param event_token: the event.
    :param since: the time, ISO 8601.

    The other arguments are those of :class:`AdjustWaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (*AdjustWaitingTrigger.arguments, "sealed_device_id", "event_token", "since")

    def __init__(self, *, sealed_device_id: str, event_token: str, since: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.sealed_device_id = sealed_device_id
        self.event_token = event_token
        self.since = since

    async def look(self) -> Look:
        connection = await AdjustConnection.aget(self.adjust_conn_id, app_token=self.app_token)
        device_api, app_token, api_token = connection.device_account()
        device_id = unseal(self.sealed_device_id, api_token)
        device = await device_api.ainspect_device(device_id, app_token)
        return look_at_device(device, self.event_token, datetime.fromisoformat(self.since))
