"""The sandbox's options, for ``python -m airflow_provider_adjust.sandbox`` and ``airflow adjust sandbox``.

Each is the option's name and the keywords of ``argparse``'s ``add_argument``. Options that are not given are left out of
the result, so the defaults are those of ``SandboxConfig``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from airflow_provider_adjust.sandbox.faults import KINDS

#: The environment variable of each setting that holds tokens: arguments are shown to every user of the machine.
TOKEN_VARIABLES = {"tokens": "ADJUST_SANDBOX_TOKEN", "api_tokens": "ADJUST_SANDBOX_API_TOKEN"}


def _options() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "--host", {"default": "127.0.0.1", "help": "a loopback address (default: 127.0.0.1)"}
    yield "--port", {"type": int, "default": 8099, "help": "0 lets the system choose (default: 8099)"}
    for option, setting, what in (
        (
            "--token",
            "tokens",
            f"an S2S security token to accept; without one, authentication is off. Made-up ones only, because all users of the "
            f"machine see it. {TOKEN_VARIABLES['tokens']} in the environment takes others, separated by commas",
        ),
        ("--app-token", "app_tokens", "an app that exists; without one, every app does"),
        ("--event-token", "event_tokens", "an event that exists; without one, every event does"),
        ("--unique-event-token", "unique_event_tokens", "an event that counts once per device"),
        ("--unknown-device", "unknown_devices", "a device id that gets a 404"),
        ("--opted-out-device", "opted_out_devices", "a device id that gets a 451"),
        ("--inactive-app-token", "inactive_app_tokens", "an app that gets a 403"),
        (
            "--api-token",
            "api_tokens",
            "a token of the Device API and the reports; without one, any or none is accepted. Made-up ones only, as for --token; "
            f"others in {TOKEN_VARIABLES['api_tokens']}",
        ),
    ):
        yield option, {"dest": setting, "action": "append", "metavar": "NAME", "help": f"{what}; may be repeated"}
    for option, what in (
        ("--unknown-share", "share of devices that is unknown, 0 to 1"),
        ("--latency", "seconds from the arrival of a request to its answer"),
        ("--retry-after", "seconds in the Retry-After header of 429 and 503"),
        ("--stall-seconds", "how long a stalled connection stays open without an answer"),
        ("--slow-seconds", "how long a slow answer takes"),
        ("--report-delay", "seconds until a report shows an event"),
        ("--erasures-per-minute", "erasures per minute, like Adjust's 10; the others get a 429"),
    ):
        yield option, {"type": float, "metavar": "NUMBER", "help": what}
    yield (
        "--exports",
        {
            "dest": "exports_folder",
            "metavar": "FOLDER",
            "help": "the folder into which POST /_sandbox/exports writes raw data exports",
        },
    )
    yield (
        "--faults",
        {
            "metavar": "KIND=SHARE,...",
            "help": f"share of requests per fault: 503=0.02,reset_after=0.01; a status from 400 to 599, {', '.join(KINDS)}",
        },
    )
    yield (
        "--report-faults",
        {"metavar": "KIND=SHARE,...", "help": "share of reports per fault: 429=0.1,504=0.1,fewer=0.05"},
    )
    yield (
        "--seed",
        {"type": int, "metavar": "NUMBER", "help": "seed of the random faults, which makes them reproducible"},
    )
    for option, setting, what in (
        ("--no-enforce", "enforce", "answer 202, not 401, to a wrong or missing token"),
        ("--no-keep-events", "keep_events", "keep counters only, for runs of many millions"),
    ):
        yield option, {"dest": setting, "action": "store_false", "help": what}


SANDBOX_OPTIONS = tuple((option, {"default": argparse.SUPPRESS} | settings) for option, settings in _options())
#: The names of the parsed options.
SANDBOX_SETTINGS = tuple(
    settings.get("dest", option.removeprefix("--").replace("-", "_")) for option, settings in SANDBOX_OPTIONS
)
