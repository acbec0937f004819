"""Adjust's Device API: when did Adjust last record an event of a device? (Adjust Device API, ``inspect_device`` v2)

It answers with the last event's time for each event token, no counts. So it can settle an event in doubt, because a lane
has one event in flight at a time: if the last time is the event's own, Adjust has it; if it is earlier, Adjust does not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import requests

from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events import Event
from airflow_provider_adjust.s2s.responses import read_answer
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES
from airflow_provider_adjust.s2s.transports.deadline import within
from airflow_provider_adjust.s2s.transports.session import BearerToken

PATH = "/device_service/api/v2/inspect_device"
#: The ids that Adjust documents for this call, the most telling first; adid is what public clients pass besides.
_ACCEPTED_IDS = ("gps_adid", "idfa", "android_id", "fire_adid", "win_adid", "adid")


class _NoQueries(logging.Filter):
    """urllib3 logs the whole URL at DEBUG, and this one holds a device id; other URLs are none of its business."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                each.partition("?")[0] if isinstance(each, str) and PATH in each else each for each in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_NoQueries())


class Standing(Enum):
    """How an event in doubt stands with Adjust."""

    RECORDED = "recorded"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class DeviceApiError(AdjustError):
    """The Device API gave no answer that could be used; the message names neither device nor token."""


class DeviceNotFound(DeviceApiError):
    """Adjust does not know the device, so it can have no event of it."""


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
            status, answer = within(sum(self.timeout), lambda: self._get(device_id, app_token))
        except (requests.RequestException, TimeoutError, UnicodeError) as error:
            # The exception's text holds the URL, and with it the device id.
            raise DeviceApiError(f"the Device API cannot be reached ({type(error).__name__})") from None
        if status == 404 and b"device not found" in answer.lower():
            raise DeviceNotFound("Adjust does not know the device")
        if status != 200:
            hint = "; check the connection's API token" if status in {401, 403} else ""
            raise DeviceApiError(f"the Device API answers status {status}{hint}")
        found = read_answer(answer)
        if not isinstance(found, dict):
            raise DeviceApiError("the Device API gave no JSON object")
        return found

    def _get(self, device_id: str, app_token: str) -> tuple[int, bytes]:
        """The answer's status and body; a body that is longer than any of Adjust's is cut, and then is no JSON."""
        with requests.get(
            self.endpoint + PATH,
            params={"advertising_id": device_id, "app_token": app_token},
            auth=BearerToken(self.api_token),
            timeout=self.timeout,
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = bytearray()
            for chunk in answer.iter_content(8192):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break
            return answer.status_code, bytes(body)

    def standing(self, event: Event) -> Standing:
        """Tell whether Adjust's last event for this device and event token is this one.

        :raises DeviceApiError: no usable answer.
        """
        device_id = next((event.params[name] for name in _ACCEPTED_IDS if name in event.params), None)
        if device_id is None:
            return Standing.UNKNOWN
        try:
            device = self.inspect_device(device_id, event.params["app_token"])
        except DeviceNotFound:
            return Standing.ABSENT
        last = last_event_time(device, event.params["event_token"])
        second = datetime.fromtimestamp(int(event.params["created_at_unix"]), UTC)
        if last is None or last < second:
            return Standing.ABSENT
        return Standing.RECORDED if last == second else Standing.UNKNOWN


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
