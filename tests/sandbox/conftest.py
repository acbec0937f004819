"""A sandbox with a fixed clock, and a function that sends to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sandbox_event import EVENT, NOW, Send

from airflow_provider_adjust.sandbox import SandboxServer


@pytest.fixture
def sandbox(adjust_sandbox: SandboxServer) -> SandboxServer:
    adjust_sandbox.configure(clock=lambda: float(NOW))
    return adjust_sandbox


@pytest.fixture
def send(sandbox: SandboxServer) -> Iterator[Send]:
    """Send the correct event with changes; a change to None leaves the parameter out."""
    with requests.Session() as session:

        def send(headers: dict[str, str] | None = None, timeout: float = 5, **changes: Any) -> requests.Response:
            params = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
            return session.post(
                f"{sandbox.url}/event", data=params, headers=headers, timeout=timeout, allow_redirects=False
            )

        yield send
