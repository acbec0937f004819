"""`python -m airflow_provider_adjust.sandbox`: the sandbox as a process, until it is told to end."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.server import SandboxServer

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOT_SETTINGS = ("host", "port")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGINT or SIGTERM; return the exit status."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    host, port = (options.pop(name) for name in _NOT_SETTINGS)
    # Blocked before the server's thread exists, which inherits it: a signal then waits for sigwait, whenever it comes.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        server = SandboxServer(SandboxConfig(**options), host=host, port=port).start()
    except (OSError, OverflowError, TypeError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write(f"Adjust sandbox listening on {server.url}\n")
    sys.stdout.flush()
    signal.sigwait(_ENDING_SIGNALS)
    server.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    # What is not given is left out, so that every default is written once, in SandboxConfig.
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_adjust.sandbox",
        description="A local stand-in for Adjust's S2S events API.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8099, help="0 lets the system choose (default: %(default)s)")
    for option, setting, what in (
        ("--token", "tokens", "an S2S security token that is accepted; without one, authentication is off"),
        ("--app-token", "app_tokens", "an app that exists; without one, any does"),
        ("--event-token", "event_tokens", "an event that exists; without one, any does"),
        ("--unique-event-token", "unique_event_tokens", "an event that counts once per device"),
        ("--unknown-device", "unknown_devices", "a device id value that is answered 404"),
        ("--opted-out-device", "opted_out_devices", "a device id value that is answered 451"),
        ("--inactive-app-token", "inactive_app_tokens", "an app that is answered 403"),
        ("--api-token", "api_tokens", "a token of the Device API and the reports; without one, any or none will do"),
    ):
        parser.add_argument(option, dest=setting, action="append", metavar="NAME", help=f"{what}; may be repeated")
    for option, what in (
        ("--unknown-share", "share of devices that is unknown, 0 to 1"),
        ("--latency", "seconds from the arrival of a request to its answer"),
        ("--retry-after", "seconds in the Retry-After header of 429 and 503"),
        ("--stall-seconds", "how long a stalled connection stays open without an answer"),
        ("--slow-seconds", "how long a slow answer takes"),
        ("--report-delay", "seconds until a report shows an event"),
    ):
        parser.add_argument(option, type=float, metavar="NUMBER", help=what)
    parser.add_argument(
        "--faults", metavar="KIND=SHARE,...", help="share of requests per fault: 503=0.02,reset_after=0.01"
    )
    parser.add_argument(
        "--report-faults", metavar="KIND=SHARE,...", help="share of reports per fault: 429=0.1,504=0.1,fewer=0.05"
    )
    parser.add_argument("--seed", type=int, metavar="NUMBER", help="start of the reproducible choice of faults")
    parser.add_argument(
        "--no-enforce", dest="enforce", action="store_false", help="answer 202, not 401, to a wrong or missing token"
    )
    parser.add_argument(
        "--no-keep-events",
        dest="keep_events",
        action="store_false",
        help="keep counters only, for runs of many millions",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
