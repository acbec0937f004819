"""A local stand-in for Adjust's S2S events API, for tests of DAGs that send to it.

It judges requests by Adjust's published documentation. It imports neither the provider's own rules nor Airflow, so that a
mistake in those rules is not repeated here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_adjust.sandbox.config import SandboxConfig
    from airflow_provider_adjust.sandbox.server import SandboxServer

__all__ = ["SandboxConfig", "SandboxServer"]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: Airflow's command line reads the sandbox's options at every start."""
    if name == "SandboxConfig":
        from airflow_provider_adjust.sandbox.config import SandboxConfig

        return SandboxConfig
    if name == "SandboxServer":
        from airflow_provider_adjust.sandbox.server import SandboxServer

        return SandboxServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
