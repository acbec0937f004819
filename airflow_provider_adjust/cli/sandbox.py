"""``sandbox``: runs the local stand-in for Adjust until Ctrl-C."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox.__main__ import CANNOT_START, serve
from airflow_provider_adjust.sandbox.options import SANDBOX_SETTINGS


def sandbox(options: Namespace, terminal: Terminal) -> int:
    """Run the sandbox. Its address is the first line of the output."""
    given = {name: getattr(options, name) for name in SANDBOX_SETTINGS if hasattr(options, name)}
    try:
        return serve(given)
    except CANNOT_START as error:
        raise AdjustConfigurationError(f"the sandbox cannot start: {error}") from None
