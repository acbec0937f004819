"""The options of ``airflow adjust suppression``: the names of each, and the keywords of ``add_argument``."""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID, ENVIRONMENTS

_LEDGER = (
    ("--ledger-conn-id",),
    {"required": True, "metavar": "CONNECTION", "help": "the ledger's database connection"},
)
_CONNECTION = (
    ("--adjust-conn-id",),
    {
        "default": DEFAULT_CONN_ID,
        "metavar": "CONNECTION",
        "help": f"the connection with the digest keys, the app and the environment (default: {DEFAULT_CONN_ID})",
    },
)
_APP = (("--app-token",), {"metavar": "TOKEN", "help": "the app; overrides the connection's"})
_ENVIRONMENT = (
    ("--environment",),
    {"choices": ENVIRONMENTS, "help": "the environment; overrides the connection's"},
)

_CHECKED = (_LEDGER, _CONNECTION, _APP, _ENVIRONMENT)
_YES = (("--yes",), {"action": "store_true", "help": "lift; without it, nothing changes"})
_Options = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]

#: Each command: its name, its help, its options, and whether it changes something.
SUPPRESSION: Final[tuple[tuple[str, str, _Options, bool], ...]] = (
    ("count", "Count the suppressed ids by app, environment, reason and digest key", (_LEDGER, _CONNECTION), False),
    (
        "check",
        "Show whether a device, read from stdin or a prompt, is suppressed, and who had it erased",
        _CHECKED,
        False,
    ),
    (
        "lift",
        "Allow events of a device, read from stdin or a prompt, again; without --yes, only count its ids",
        (*_CHECKED, _YES),
        True,
    ),
)
