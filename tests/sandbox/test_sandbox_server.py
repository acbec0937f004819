"""The server in a process: its start, its stop, and settings that it refuses."""

from __future__ import annotations

import logging
import threading

import pytest
import requests
from sandbox_event import EVENT_OF_NOW

from airflow_provider_adjust.sandbox import SandboxConfig, SandboxServer


def test_the_fixture_is_a_fresh_running_sandbox(adjust_sandbox: SandboxServer) -> None:
    assert requests.get(f"{adjust_sandbox.url}/event", params=EVENT_OF_NOW, timeout=5).status_code == 200
    assert adjust_sandbox.stats()["requests"] == 1


def test_a_sandbox_starts_and_stops() -> None:
    with SandboxServer() as server:
        assert server.stats()["requests"] == 0
    assert "adjust-sandbox" not in [thread.name for thread in threading.enumerate()]


def test_settings_add_to_a_config() -> None:
    with SandboxServer(SandboxConfig(tokens=["T"], seed=4), seed=5) as server:
        assert (server.config.tokens, server.config.seed) == ({"T"}, 5)


def test_after_stop_the_port_is_free_and_the_records_remain() -> None:
    with SandboxServer() as server:
        requests.get(f"{server.url}/event", params=EVENT_OF_NOW, timeout=5)
    assert "adjust-sandbox" not in [thread.name for thread in threading.enumerate()]
    assert (server.stats()["recorded"], len(server.events())) == (1, 1)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(server.url, timeout=5)
    server.stop()


@pytest.mark.parametrize("settings", [{"latency": 60}, {"fault_plan": ["stall_after"], "stall_seconds": 60}])
def test_stop_aborts_requests_in_flight_and_logs_nothing(
    settings: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []

    def send(url: str) -> None:
        try:
            requests.get(url, params=EVENT_OF_NOW, timeout=5)
        except requests.exceptions.ConnectionError as error:
            errors.append(error)

    with caplog.at_level(logging.WARNING), SandboxServer(**settings) as server:
        sender = threading.Thread(target=send, args=(f"{server.url}/event",))
        sender.start()
        while not server.stats()["recorded"]:
            pass
    sender.join(5)
    assert len(errors) == 1
    assert [record for record in caplog.records if record.name.startswith(("uvicorn", "asyncio"))] == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_every_loopback_address_is_accepted(host: str) -> None:
    with SandboxServer(host=host) as server:
        assert requests.get(f"{server.url}/_sandbox/stats", timeout=5).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.com", ""])
def test_a_host_that_is_not_loopback_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        SandboxServer(host=host)


def test_a_port_in_use_is_an_error() -> None:
    with SandboxServer() as server, pytest.raises(OSError, match="in use"):
        SandboxServer(port=int(server.url.rsplit(":", 1)[1])).start()


def test_a_sandbox_that_was_not_started_has_no_url() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = SandboxServer().url


def test_an_invalid_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown setting token"):
        SandboxServer(token="T")
    with SandboxServer() as server, pytest.raises(ValueError, match="unknown_share"):
        server.configure(unknown_share=2)
