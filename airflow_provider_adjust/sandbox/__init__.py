"""A local stand-in for Adjust's S2S events API, for tests of DAGs that send to it.

It judges requests by Adjust's published documentation alone. It imports neither the provider's own rules nor Airflow, so
a mistake in the rules cannot be repeated here and stay hidden.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_adjust.sandbox.config import SandboxConfig
    from airflow_provider_adjust.sandbox.server import SandboxServer

__all__ = ["SandboxConfig", "SandboxServer"]

#: Where each name is defined. A name is imported at its first use: Airflow's command line imports the sandbox's options at
#: each start, and must not load a web server.
_HOMES = {"SandboxConfig": "config", "SandboxServer": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
