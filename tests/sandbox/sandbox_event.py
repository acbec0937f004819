"""A correct event and the time it is sent at, from which every case differs in one thing."""

from __future__ import annotations

from collections.abc import Callable

import requests

NOW = 1_700_000_000
EVENT = {
    "s2s": "1",
    "app_token": "4w565xzmb54d",
    "event_token": "f0ob4r",
    "gps_adid": "device-1",
    "created_at_unix": str(NOW - 60),
}
# Without a time an event happens when it is received, so a sandbox accepts it whatever its clock says.
EVENT_OF_NOW = {name: value for name, value in EVENT.items() if name != "created_at_unix"}

Send = Callable[..., requests.Response]
