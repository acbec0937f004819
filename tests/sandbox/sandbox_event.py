"""A correct event and its time of sending. Every case of the tests differs from it in one parameter."""

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
# An event without a time counts at its receipt, so a sandbox accepts it with any clock.
EVENT_OF_NOW = {name: value for name, value in EVENT.items() if name != "created_at_unix"}

Send = Callable[..., requests.Response]
