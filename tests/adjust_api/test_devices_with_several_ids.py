"""Adjust may know a device by one of its ids only: an event is absent if it is absent under every one."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from s2s.s2s_case import NOW, row
from table import table

from airflow_provider_adjust.adjust_api.device import DeviceApi, DeviceNotFound
from airflow_provider_adjust.s2s import parse_event
from airflow_provider_adjust.s2s.answers.outcome import Recorded

ADID = "df6c5653080670612cd2f9766ddc0814"
THIS = {"LastEventsInfo": {"f0ob4r": {"time": NOW.isoformat()}}}
LATER = {"LastEventsInfo": {"f0ob4r": {"time": NOW.replace(hour=13).isoformat()}}}
NEVER: dict[str, Any] = {"LastEventsInfo": {}}


@table(
    ("by_gps_adid", "by_adid", "recorded"),
    [
        (None, THIS, Recorded.YES),
        (THIS, None, Recorded.YES),
        (None, NEVER, Recorded.NO),
        (None, None, Recorded.NO),
        (None, LATER, Recorded.UNKNOWN),
        (LATER, THIS, Recorded.YES),
    ],
)
def test_each_id_of_a_device_is_asked_for(by_gps_adid: Any, by_adid: Any, recorded: Recorded) -> None:
    event = parse_event(row(adid=ADID), now=NOW)

    def inspect(_: DeviceApi, device_id: str, app_token: str) -> Any:
        answer = by_adid if device_id == ADID else by_gps_adid
        if answer is None:
            raise DeviceNotFound("Adjust does not know the device")
        return answer

    with patch.object(DeviceApi, "inspect_device", autospec=True, side_effect=inspect):
        assert DeviceApi.recorded(_api(), event) is recorded


def _api() -> DeviceApi:
    return DeviceApi("http://127.0.0.1:9", "token")
