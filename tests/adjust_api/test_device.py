"""The Device API: its requests, and what its response says about an event in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from s2s.raw_server import Connection, RawServer
from s2s.s2s_case import APP, GPS_ADID, NOW, SECOND, TOKEN, parse

from airflow_provider_adjust.adjust_api.device import (
    DeviceApi,
    DeviceApiError,
    DeviceApiRefused,
    DeviceNotFound,
    last_event_time,
)
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.sandbox import SandboxServer

API_TOKEN = "api-token-of-the-test"
Inspect = Callable[[DeviceApi], dict[str, Any]]


@pytest.fixture
def sandbox(adjust_sandbox: SandboxServer) -> SandboxServer:
    adjust_sandbox.configure(api_tokens=[API_TOKEN], clock=lambda: float(SECOND))
    return adjust_sandbox


@pytest.fixture
def device_api(sandbox: SandboxServer) -> DeviceApi:
    return DeviceApi(sandbox.url, API_TOKEN)


@pytest.fixture(params=["on a worker", "in a trigger"])
def inspect(request: pytest.FixtureRequest) -> Inspect:
    if request.param == "on a worker":
        return lambda api: api.inspect_device(GPS_ADID, APP)
    return lambda api: asyncio.run(api.ainspect_device(GPS_ADID, APP))


def record(sandbox: SandboxServer, **changes: Any) -> None:
    """Have Adjust record an event of the device."""
    requests.post(f"{sandbox.url}/event", data=parse(**changes).params, timeout=30).raise_for_status()


# --- the call ---------------------------------------------------------------------------------------------------------


def test_a_device_has_the_time_of_its_last_event(
    sandbox: SandboxServer, device_api: DeviceApi, inspect: Inspect
) -> None:
    record(sandbox)
    assert last_event_time(inspect(device_api), TOKEN) == NOW


def answer_of(status: int, body: str) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    return script


REFUSED_API_TOKEN = "the Device API answers status {}; check the connection's API token"


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (404, '{"error": "Device not found"}', DeviceNotFound, "Adjust does not know the device"),
        (404, "DEVICE NOT FOUND", DeviceNotFound, "Adjust does not know the device"),
        (
            404,
            '{"error": "App token not found"}',
            DeviceApiRefused,
            "the Device API does not know the app; check the app token",
        ),
        (404, "", DeviceApiError, "the Device API answers status 404"),
        (401, "", DeviceApiRefused, REFUSED_API_TOKEN.format(401)),
        (403, f'{{"error": "{GPS_ADID}"}}', DeviceApiRefused, REFUSED_API_TOKEN.format(403)),
        (302, "", DeviceApiError, "the Device API answers status 302"),
        (500, f"{GPS_ADID} {API_TOKEN}", DeviceApiError, "the Device API answers status 500"),
        (200, "", DeviceApiError, "the Device API gave no JSON object"),
        (200, "<html>", DeviceApiError, "the Device API gave no JSON object"),
        (200, f'["{GPS_ADID}"]', DeviceApiError, "the Device API gave no JSON object"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_that_names_no_device(
    inspect: Inspect, status: int, body: str, error: type[DeviceApiError], message: str
) -> None:
    with RawServer(answer_of(status, body)) as server, pytest.raises(DeviceApiError) as caught:
        inspect(DeviceApi(server.url.removesuffix("/event"), API_TOKEN))
    assert (type(caught.value), str(caught.value)) == (error, message)


def test_an_unreachable_device_api_names_no_device(inspect: Inspect) -> None:
    with pytest.raises(DeviceApiError, match=r"^the Device API cannot be reached \(Connect\w+\)$") as caught:
        inspect(DeviceApi("http://127.0.0.1:9", API_TOKEN))
    assert caught.value.__cause__ is None


def test_its_token_is_not_shown(device_api: DeviceApi) -> None:
    assert API_TOKEN not in repr(device_api)


# --- what it says of an event -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded_after", "recorded"),
    [
        pytest.param(0.0, Recorded.YES, id="its own second"),
        pytest.param(0.75, Recorded.YES, id="a fraction of its own second"),
        pytest.param(-1.0, Recorded.NO, id="an earlier event"),
        pytest.param(1.0, Recorded.UNKNOWN, id="a later event of another sender"),
        pytest.param(None, Recorded.NO, id="no event"),
    ],
)
def test_the_last_events_time_decides(
    sandbox: SandboxServer, device_api: DeviceApi, recorded_after: float | None, recorded: Recorded
) -> None:
    event = parse(created_at=NOW - timedelta(hours=1))
    if recorded_after is not None:
        record(sandbox, created_at=event.occurred_at + timedelta(seconds=recorded_after))
    assert device_api.recorded(event) is recorded


def test_an_event_of_another_token_says_nothing(sandbox: SandboxServer, device_api: DeviceApi) -> None:
    record(sandbox, event_token="other1")
    assert device_api.recorded(parse()) is Recorded.NO


def test_an_unknown_device_has_no_event(sandbox: SandboxServer, device_api: DeviceApi) -> None:
    sandbox.configure(unknown_devices=[GPS_ADID])
    assert device_api.recorded(parse()) is Recorded.NO


def test_an_event_without_an_id_that_the_device_api_takes_is_unknown() -> None:
    nobody_listens = DeviceApi("http://127.0.0.1:9", API_TOKEN)
    assert nobody_listens.recorded(parse(gps_adid=..., oaid=GPS_ADID)) is Recorded.UNKNOWN


def test_the_most_specific_id_is_requested(sandbox: SandboxServer, device_api: DeviceApi) -> None:
    record(sandbox)
    assert device_api.recorded(parse(adid="an-adid", oaid="an-oaid")) is Recorded.YES


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({TOKEN: {"name": "x", "time": "0001-01-01T00:00:00Z"}}, None, id="never"),
        pytest.param(
            {TOKEN: {"name": "x", "time": "2024-07-18T10:01:16.5Z"}},
            datetime(2024, 7, 18, 10, 1, 16, tzinfo=UTC),
            id="a fraction",
        ),
        pytest.param(
            {TOKEN: {"time": "2024-07-18T10:01:16"}}, datetime(2024, 7, 18, 10, 1, 16, tzinfo=UTC), id="without a zone"
        ),
        pytest.param(
            {TOKEN: {"time": "2024-07-18T12:01:16+02:00"}},
            datetime(2024, 7, 18, 10, 1, 16, tzinfo=UTC),
            id="in another zone",
        ),
        pytest.param({"abc123": {"name": "x", "time": "2024-07-18T10:01:16Z"}}, None, id="another token"),
        pytest.param({TOKEN: {"name": "x", "time": 1721296876}}, None, id="a number"),
        pytest.param({TOKEN: {"name": "x"}}, None, id="no time"),
        pytest.param({TOKEN: "2024"}, None, id="no entry"),
        pytest.param([TOKEN], None, id="no mapping"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_the_last_events_time_is_read(entry: Any, expected: datetime | None) -> None:
    assert last_event_time({"LastEventsInfo": entry}, TOKEN) == expected


def test_a_device_without_last_events_has_no_time() -> None:
    assert last_event_time({}, TOKEN) is None


def test_a_time_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(DeviceApiError, match="cannot be read"):
        last_event_time({"LastEventsInfo": {TOKEN: {"time": "yesterday"}}}, TOKEN)
