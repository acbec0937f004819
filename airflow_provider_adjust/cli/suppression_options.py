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

COUNT_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (_LEDGER, _CONNECTION)
CHECK_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (_LEDGER, _CONNECTION, _APP, _ENVIRONMENT)
LIFT_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    *CHECK_OPTIONS,
    (("--yes",), {"action": "store_true", "help": "lift; without it, nothing is changed"}),
)
