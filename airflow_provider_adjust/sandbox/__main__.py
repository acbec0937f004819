"""`python -m airflow_provider_adjust.sandbox`: the sandbox as a process, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.options import SANDBOX_OPTIONS, TOKEN_VARIABLES
from airflow_provider_adjust.sandbox.server import SandboxServer

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: The errors of a wrong setting and of an address in use.
CANNOT_START = (OSError, OverflowError, TypeError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGINT or SIGTERM; return the exit status."""
    parser = _parser()
    try:
        return serve(vars(parser.parse_args(arguments)))
    except CANNOT_START as error:
        parser.error(str(error))


def serve(options: Mapping[str, Any]) -> int:
    """Run the sandbox until SIGINT or SIGTERM. Its address is printed once it answers requests.

    :param options: settings of `SandboxConfig`, and `host` and `port`.
    """
    settings = {**_tokens_of_environment(), **options}
    host, port = settings.pop("host"), settings.pop("port")
    # Blocked before the server's thread starts, which inherits the mask: every signal then waits for sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    server = SandboxServer(SandboxConfig(**settings), host=host, port=port).start()
    sys.stdout.write(f"Adjust sandbox listening on {server.url}\n")
    sys.stdout.flush()
    signal.sigwait(_ENDING_SIGNALS)
    server.stop()
    return 0


def _tokens_of_environment() -> dict[str, list[str]]:
    """The tokens that the process list is not to show."""
    found = {}
    for setting, variable in TOKEN_VARIABLES.items():
        if tokens := [token.strip() for token in os.environ.get(variable, "").split(",") if token.strip()]:
            found[setting] = tokens
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_adjust.sandbox", description="A local stand-in for Adjust's S2S events API."
    )
    for option, settings in SANDBOX_OPTIONS:
        parser.add_argument(option, **settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
