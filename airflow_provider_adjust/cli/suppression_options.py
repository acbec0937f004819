"""The options of ``airflow adjust suppression``: the names of each, and the keywords of ``add_argument``."""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID, ENVIRONMENTS

_LEDGER = (("--ledger-conn-id",), {"required": True, "metavar": "CONNECTION", "help": "the ledger's database"})
_CONNECTION = (
    ("--adjust-conn-id",),
    {
        "default": DEFAULT_CONN_ID,
        "metavar": "CONNECTION",
        "help": f"the connection with the digest keys, the app and the environment (default: {DEFAULT_CONN_ID})",
    },
)
_APP = (("--app-token",), {"metavar": "TOKEN", "help": "another app than the connection's"})
_ENVIRONMENT = (
    ("--environment",),
    {"choices": ENVIRONMENTS, "help": "another environment than the connection's"},
)

_CHECKED = (_LEDGER, _CONNECTION, _APP, _ENVIRONMENT)
_YES = (("--yes",), {"action": "store_true", "help": "lift; without it, nothing is changed"})
_Options = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]

#: Each command: its name, its help, its options, and whether it changes something.
SUPPRESSION: Final[tuple[tuple[str, str, _Options, bool], ...]] = (
    ("count", "Count the suppressed ids by app, environment, reason and digest key", (_LEDGER, _CONNECTION), False),
    (
        "check",
        "Say of a device, read from stdin or a prompt, whether it is suppressed and who had it erased",
        _CHECKED,
        False,
    ),
    (
        "lift",
        "Have events of a device, read from stdin or a prompt, sent again; without --yes, say how many ids",
        (*_CHECKED, _YES),
        True,
    ),
)
