"""A local stand-in for Adjust's S2S events API, for tests of DAGs that send to it.

It judges requests by Adjust's published documentation alone. It imports neither the provider's own rules nor Airflow, so
a mistake in the rules cannot be repeated here and stay hidden.
"""

from __future__ import annotations

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.server import SandboxServer

__all__ = ["SandboxConfig", "SandboxServer"]
