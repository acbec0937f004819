"""Every command with its options, once, for Airflow's parser and for our own.

Airflow imports this whenever its command line starts, so it imports next to nothing; what a command does is imported
when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.sandbox.options import SANDBOX_OPTIONS


class ExitCode(IntEnum):
    """What a command says to the shell."""

    OK = 0
    #: Rows were refused, not delivered, or not in time order.
    REFUSED = 1
    #: The command, a file or a connection cannot be used; nothing was done.
    UNUSABLE = 2
    #: It ended early: Adjust refused the token, the network, the ledger or a file failed, or Ctrl-C came.
    STOPPED = 3


class Option(NamedTuple):
    """An argument of a command: its names, and the keywords of ``argparse``'s ``add_argument``."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """``run`` is the path of a function of the parsed arguments and the terminal, which returns an exit code."""

    name: str
    help: str
    run: str
    options: Sequence[Option]


@dataclass(frozen=True)
class Group:
    """Commands under one word."""

    name: str
    help: str
    commands: Sequence[Command | Group]


def _option(*flags: str, **settings: Any) -> Option:
    return Option(flags, settings)


_FILE = _option("file", help="a .jsonl, .json, .csv or .parquet file, local or s3://..., .gz included")

#: How rows are read: the operators' parameters under their names.
_PARSING = (
    _option("--event-token", metavar="TOKEN", help="used where a row has none"),
    _option(
        "--event-tokens",
        action="append",
        metavar="NAME=TOKEN",
        help="the token of the events that a row's event column calls NAME; may be repeated",
    ),
    _option("--app-token", metavar="TOKEN", help="used where a row has none; takes the place of the connection's"),
    _option("--environment", help="production or sandbox; takes the place of the connection's"),
    _option(
        "--column-map",
        action="append",
        metavar="COLUMN=PARAMETER",
        help="Adjust's name of a column, such as gaid=gps_adid; may be repeated",
    ),
    _option("--id-field", metavar="COLUMN", help="the column that identifies a row; it is not sent"),
    _option("--event-id-param", metavar="KEY", help="the key in callback_params under which the event's id is sent"),
    _option("--timezone", default="UTC", metavar="ZONE", help="zone of times without an offset (default: UTC)"),
    _option(
        "--extra-params",
        action="append",
        metavar="NAME",
        help="a name to send although the provider does not know it; may be repeated",
    ),
)

_CHECKING = (
    _option(
        "--adjust-conn-id",
        metavar="CONNECTION",
        help="check with this connection's app token and environment; without one, both are taken as given",
    ),
    *_PARSING,
)

_SENDING = (
    _option(
        "--adjust-conn-id", default=DEFAULT_CONN_ID, metavar="CONNECTION", help=f"the connection ({DEFAULT_CONN_ID})"
    ),
    *_PARSING,
    _option("--dry-run", action="store_true", help="read the connection, check and order the rows, send nothing"),
    _option("--ledger-conn-id", metavar="CONNECTION", help="the ledger's database: what it has is not sent again"),
    _option("--rejected-path", metavar="FILE", help="where to list what was not delivered, a .jsonl file"),
    _option(
        "--max-rejected", type=float, default=0, metavar="NUMBER", help="refused events that are allowed: 5 or 0.02"
    ),
    _option(
        "--tolerate",
        action="append",
        metavar="REASON",
        help="an outcome or a reason that is no failure (default: duplicate); may be repeated",
    ),
    _option(
        "--max-in-flight", type=int, default=32, metavar="NUMBER", help="requests that may wait for an answer (32)"
    ),
    _option("--max-events-per-second", type=float, metavar="NUMBER", help="upper limit of the rate"),
    _option(
        "--on-in-doubt",
        choices=("resend", "hold", "verify"),
        default="resend",
        help="what to do with an event whose answer was lost (default: resend)",
    ),
)

_SHOWN = _option("-n", "--events", type=int, default=5, metavar="NUMBER", help="how many events to show (default: 5)")

ADJUST = Group(
    "adjust",
    "Check and send events to Adjust, without a DAG",
    (
        Command(
            "validate",
            "Check a file's rows by Adjust's rules, and name the rows that are refused",
            "airflow_provider_adjust.cli.check.validate",
            (_FILE, *_CHECKING),
        ),
        Command(
            "preview",
            "Show the first events of a file as they would be sent, with ids and tokens masked",
            "airflow_provider_adjust.cli.check.preview",
            (_FILE, *_CHECKING, _SHOWN),
        ),
        Command(
            "send",
            "Send a file's events to Adjust",
            "airflow_provider_adjust.cli.send.send",
            (_FILE, *_SENDING),
        ),
        Command(
            "sandbox",
            "Run a local stand-in for Adjust until Ctrl-C",
            "airflow_provider_adjust.cli.sandbox.sandbox",
            tuple(_option(flag, **settings) for flag, settings in SANDBOX_OPTIONS),
        ),
        Group(
            "ledger",
            "Look after the ledger",
            (
                Command(
                    "prune",
                    "Delete settled events that Adjust would not take any more",
                    "airflow_provider_adjust.cli.ledger.prune_ledger",
                    (
                        _option("--ledger-conn-id", required=True, metavar="CONNECTION", help="the ledger's database"),
                        _option(
                            "--older-than-days",
                            type=int,
                            default=90,
                            metavar="DAYS",
                            help="how long ago an event must have happened, at least 58 days (default: 90)",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
