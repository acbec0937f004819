"""Adjust's Device API: `inspect_device`, with which a sender can confirm an event.

Source: Adjust's "Device API" page, version 2 of `inspect_device`. The page does not describe errors; they are this
module's choice.
"""

from __future__ import annotations

import datetime
import hashlib

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.rules import bearer_token, is_unknown_device
from airflow_provider_adjust.sandbox.state import SandboxState

# How the Device API writes "never".
_ZERO_TIME = "0001-01-01T00:00:00Z"


def inspect_device(
    id_value: str, app_token: str, authorization: str | None, config: SandboxConfig, state: SandboxState
) -> tuple[int, dict[str, object]]:
    """Return the status and JSON body for a device.

    Every device that is not configured as unknown exists, as it does for `/event`, with or without events. An event's
    name is its token, since the sandbox does not know names.
    """
    if config.api_tokens and bearer_token(authorization) not in config.api_tokens:
        return 401, {"error": "Unauthorized"}
    if not id_value or not app_token:
        return 400, {"error": "advertising_id and app_token are required"}
    if config.app_tokens is not None and app_token not in config.app_tokens:
        return 404, {"error": "App token not found"}
    if is_unknown_device(id_value, config):
        return 404, {"error": "Device not found"}
    last_events = state.last_events(id_value, app_token)
    return 200, {
        "Adid": hashlib.blake2b(id_value.encode(), digest_size=16).hexdigest(),
        "AdvertisingId": id_value,
        "Tracker": "",
        "TrackerName": "",
        "FirstTracker": "",
        "FirstTrackerName": "",
        "Environment": "sandbox",
        "ClickTime": _ZERO_TIME,
        "InstallTime": _ZERO_TIME,
        "LastSessionTime": _ZERO_TIME,
        "LastEventsInfo": {
            token: {"name": token, "time": _whole_seconds(time)} for token, time in sorted(last_events.items())
        },
        "LastSdkVersion": "",
        "State": "installed",
    }


def _whole_seconds(time: float) -> str:
    return datetime.datetime.fromtimestamp(int(time), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
