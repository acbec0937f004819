"""Adjust's Device API: when did Adjust last record an event of a device? (Adjust Device API, ``inspect_device`` v2)

It answers with the last event's time for each event token, no counts. So it can settle an event in doubt, because a lane
has one event in flight at a time: if the last time is the event's own, Adjust has it; if it is earlier, Adjust does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adjust.adjust_api.http import ApiAnswer, ApiCall, ApiUnreachable
from airflow_provider_adjust.s2s.answers.classify import read_answer
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.event import Event

PATH = "/device_service/api/v2/inspect_device"
#: The ids that Adjust documents for this call, the most telling first; adid is what public clients pass besides.
_ACCEPTED_IDS = ("gps_adid", "idfa", "android_id", "fire_adid", "win_adid", "adid")
_UNREACHABLE = "the Device API cannot be reached ({})"


class DeviceApiError(AdjustError):
    """The Device API gave no answer that could be used; the message names neither device nor token."""


class DeviceNotFound(DeviceApiError):
    """Adjust does not know the device, so it can have no event of it."""


class DeviceApiRefused(DeviceApiError):
    """The API token or the app token is wrong; asking again would end the same way."""


@dataclass(frozen=True, slots=True)
class DeviceApi:
    """The Device API with one user's API token."""

    endpoint: str
    api_token: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 10.0)

    def inspect_device(self, device_id: str, app_token: str) -> dict[str, Any]:
        """Return what Adjust knows of the device.

        :raises DeviceNotFound: Adjust does not know the device.
        :raises DeviceApiError: no usable answer.
        """
        try:
            return _device(self._call(device_id, app_token).send())
        except ApiUnreachable as failure:
            raise DeviceApiError(_UNREACHABLE.format(failure)) from None

    async def ainspect_device(self, device_id: str, app_token: str) -> dict[str, Any]:
        """The same, for a trigger."""
        try:
            return _device(await self._call(device_id, app_token).asend())
        except ApiUnreachable as failure:
            raise DeviceApiError(_UNREACHABLE.format(failure)) from None

    def _call(self, device_id: str, app_token: str) -> ApiCall:
        params = {"advertising_id": device_id, "app_token": app_token}
        return ApiCall(self.endpoint + PATH, params, self.api_token, self.timeout)

    def recorded(self, event: Event) -> Recorded:
        """Tell whether Adjust's last event for this device and event token is this one.

        :raises DeviceApiError: no usable answer.
        """
        device_id = next((event.params[name] for name in _ACCEPTED_IDS if name in event.params), None)
        if device_id is None:
            return Recorded.UNKNOWN
        try:
            device = self.inspect_device(device_id, event.params["app_token"])
        except DeviceNotFound:
            return Recorded.NO
        last = last_event_time(device, event.params["event_token"])
        second = datetime.fromtimestamp(int(event.params["created_at_unix"]), UTC)
        if last is None or last < second:
            return Recorded.NO
        return Recorded.YES if last == second else Recorded.UNKNOWN


def _device(answer: ApiAnswer) -> dict[str, Any]:
    if answer.status == 404 and "device not found" in answer.text.lower():
        raise DeviceNotFound("Adjust does not know the device")
    if answer.status in {401, 403}:
        raise DeviceApiRefused(f"the Device API answers status {answer.status}; check the connection's API token")
    if answer.status == 404 and "app token" in answer.text.lower():
        raise DeviceApiRefused("the Device API does not know the app; check the app token")
    if answer.status != 200:
        raise DeviceApiError(f"the Device API answers status {answer.status}")
    found = read_answer(answer.body)
    if not isinstance(found, dict):
        raise DeviceApiError("the Device API gave no JSON object")
    return found


def last_event_time(device: Mapping[str, Any], event_token: str) -> datetime | None:
    """When Adjust last recorded the event of that token for the device; None if never."""
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
