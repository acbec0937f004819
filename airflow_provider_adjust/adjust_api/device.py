"""Adjust's Device API: when did Adjust last record an event of a device? (Adjust Device API, ``inspect_device`` v2)

It returns the time of the last event per event token, without counts. That settles an event in doubt, since a lane has one
event in flight at a time: Adjust has the event if that time is the event's own, and lacks it if that time is earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.adjust_api.client import ApiClient, ApiResponse, ApiUnreachable
from airflow_provider_adjust.s2s.answers.classify import read_answer
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.redaction import Unshown

PATH = "/device_service/api/v2/inspect_device"
#: The ids that Adjust documents for this call, the most specific first. Public clients pass adid as well.
_ACCEPTED_IDS = ("gps_adid", "idfa", "android_id", "fire_adid", "win_adid", "adid")


class DeviceApiError(AdjustError):
    """The Device API gave no usable answer. The message names neither the device nor a token."""


class DeviceNotFound(DeviceApiError):
    """Adjust does not know the device, so it has no events of it."""


class DeviceApiRefused(DeviceApiError):
    """The API token or the app token is wrong. A retry would fail the same way."""


@dataclass(frozen=True, slots=True)
class DeviceApi:
    """The Device API with one user's API token."""

    endpoint: str
    api_token: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 10.0)

    async def ainspect_device(self, device_id: str, app_token: str) -> dict[str, Any]:
        """Return what Adjust knows about the device.

        :raises DeviceNotFound: Adjust does not know the device.
        :raises DeviceApiError: the API gave no usable answer.
        """
        params = Unshown({"advertising_id": device_id, "app_token": app_token})
        del device_id  # a traceback may show local variables
        client = ApiClient(self.endpoint, self.api_token, self.timeout)
        try:
            response = await client.get(PATH, params)
        except ApiUnreachable as failure:
            raise DeviceApiError(f"the Device API cannot be reached ({failure})") from None
        return _device(response)

    def inspect_device(self, device_id: str, app_token: str) -> dict[str, Any]:
        """The same, blocking."""
        inspection = self.ainspect_device(device_id, app_token)
        del device_id
        return run_blocking(inspection)

    def recorded(self, event: Event) -> Recorded:
        """Whether Adjust's last event for this device and event token is this one.

        Adjust may know the device by only one of its ids, so each id that the API accepts is looked up. The event is missing
        if no id has it.

        :raises DeviceApiError: the API gave no usable answer.
        """
        found = {self._recorded_under(name, event) for name in _ACCEPTED_IDS if name in event.params}
        if Recorded.YES in found:
            return Recorded.YES
        return Recorded.NO if found == {Recorded.NO} else Recorded.UNKNOWN

    def _recorded_under(self, id_name: str, event: Event) -> Recorded:
        try:
            device = self.inspect_device(event.params[id_name], event.params["app_token"])
        except DeviceNotFound:
            return Recorded.NO
        last = last_event_time(device, event.params["event_token"])
        second = datetime.fromtimestamp(int(event.params["created_at_unix"]), UTC)
        if last is None or last < second:
            return Recorded.NO
        return Recorded.YES if last == second else Recorded.UNKNOWN


def _device(response: ApiResponse) -> dict[str, Any]:
    if response.status == 404 and "device not found" in response.text.lower():
        raise DeviceNotFound("Adjust does not know the device")
    if response.status in {401, 403}:
        raise DeviceApiRefused(f"the Device API answers status {response.status}; check the connection's API token")
    if response.status == 404 and "app token" in response.text.lower():
        raise DeviceApiRefused("the Device API does not know the app; check the app token")
    if response.status != 200:
        raise DeviceApiError(f"the Device API answers status {response.status}")
    found = read_answer(response.body)
    if not isinstance(found, dict):
        raise DeviceApiError("the Device API gave no JSON object")
    return found


def last_event_time(device: Mapping[str, Any], event_token: str) -> datetime | None:
    """When Adjust last recorded an event of that token for the device; None if never.

    :raises DeviceApiError: Adjust gave a time that cannot be read.
    """
    events = device.get("LastEventsInfo")
    entry = events.get(event_token) if isinstance(events, Mapping) else None
    text = entry.get("time") if isinstance(entry, Mapping) else None
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DeviceApiError("the Device API gave a time that cannot be read") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None if moment.year == 1 else moment.replace(microsecond=0)
