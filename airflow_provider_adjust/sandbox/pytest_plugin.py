"""The sandbox as a pytest fixture.

Name this module in the `pytest_plugins` of the conftest.py at the root of your tests. It is not an entry point of pytest,
so the installation of the provider changes no test run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_adjust.sandbox.server import SandboxServer


@pytest.fixture
def adjust_sandbox() -> Iterator[SandboxServer]:
    """Run a sandbox for one test; `adjust_sandbox.configure(...)` changes its settings.

    `adjust_sandbox.configure(fault_plan=["firewall"])` has a firewall answer the next request.
    """
    with SandboxServer() as server:
        yield server
