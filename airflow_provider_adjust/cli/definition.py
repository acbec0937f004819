"""Every command with its options, for both Airflow's parser and our own.

Airflow imports this whenever its command line starts, so it imports almost nothing; the code of a command is imported when it
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from airflow_provider_adjust.cli.contract_options import CONTRACT_OPTIONS
from airflow_provider_adjust.cli.erase_options import ERASE_OPTIONS, FILES_PRUNE_OPTIONS, PRUNE_OPTIONS
from airflow_provider_adjust.cli.option import Option, option, options_of
from airflow_provider_adjust.cli.query_options import QUERY_OPTIONS
from airflow_provider_adjust.cli.suppression_options import SUPPRESSION
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.sandbox.options import SANDBOX_OPTIONS


class ExitCode(IntEnum):
    """The exit codes of the commands."""

    OK = 0
    #: Rows were refused, not delivered, or not in time order.
    REFUSED = 1
    #: The command, a file or a connection cannot be used; nothing was done.
    UNUSABLE = 2
    #: It ended early: Adjust refused the token, the network, the ledger or a file failed, or Ctrl-C was pressed.
    STOPPED = 3


@dataclass(frozen=True)
class Command:
    """A command. ``run`` is the path of a function that takes the parsed arguments and the terminal, and returns an exit code.

    ``audited`` commands, those that change something, are written to Airflow's audit log. ``ends_with_reader``: the command
    only shows rows, so it stops without an error when its pipe is closed. Other commands finish their work, and their exit
    code reports the result.
    """

    name: str
    help: str
    run: str
    options: Sequence[Option]
    audited: bool = True
    ends_with_reader: bool = False


@dataclass(frozen=True)
class Group:
    """Commands under a common name."""

    name: str
    help: str
    commands: Sequence[Command | Group]


_FILE = option(
    "file", help="a .jsonl, .json, .csv or .parquet file, .gz included, or a folder of them; local or s3://..."
)

#: How rows are read.
_PARSING = options_of(RowOptions)

_CHECKING = (
    option(
        "--adjust-conn-id",
        metavar="CONNECTION",
        help="check with this connection's app token and environment; without it, both are assumed to be set",
    ),
    *_PARSING,
)

_SENDING = (
    option(
        "--adjust-conn-id",
        default=DEFAULT_CONN_ID,
        metavar="CONNECTION",
        help=f"the connection (default: {DEFAULT_CONN_ID})",
    ),
    *_PARSING,
    option("--dry-run", action="store_true", help="read the connection, check and order the rows, send nothing"),
    option(
        "--ledger-conn-id",
        metavar="CONNECTION",
        help="the ledger's database connection; events in it are not sent again",
    ),
    option("--rejected-path", metavar="FILE", help="a new .jsonl file that lists what was not delivered"),
    option(
        "--max-rejected",
        type=float,
        default=0,
        metavar="NUMBER",
        help="how many events may be refused: a count such as 5, or a share such as 0.02 (default: 0)",
    ),
    option(
        "--tolerate",
        action="append",
        metavar="REASON",
        help="an outcome or a reason that does not count as a failure (default: duplicate); may be repeated",
    ),
    *options_of(SendOptions),
)

_QUERY = tuple(option(*flags, **settings) for flags, settings in QUERY_OPTIONS)
_SHOWN = option("-n", "--events", type=int, default=5, metavar="NUMBER", help="how many events to show (default: 5)")

ADJUST = Group(
    "adjust",
    "Check and send events to Adjust, without a DAG",
    (
        Command(
            "validate",
            "Check a file's rows against Adjust's rules, and list the refused ones",
            "airflow_provider_adjust.cli.check.validate",
            (_FILE, *_CHECKING),
            audited=False,
        ),
        Command(
            "preview",
            "Show the first events of a file as they would be sent, with ids and tokens masked",
            "airflow_provider_adjust.cli.check.preview",
            (_FILE, *_CHECKING, _SHOWN),
            audited=False,
            ends_with_reader=True,
        ),
        Command(
            "check-query",
            "Show a query's columns, its first events as they would be sent, masked, and the refusals",
            "airflow_provider_adjust.cli.query.check_query",
            (*_QUERY, *_CHECKING, _SHOWN),
            audited=False,
        ),
        Command(
            "contract",
            "Write the columns that the provider expects of a model, as a contract that dbt enforces",
            "airflow_provider_adjust.cli.contract.contract",
            (*(option(*flags, **settings) for flags, settings in CONTRACT_OPTIONS), *_PARSING),
            audited=False,
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
            tuple(option(flag, **settings) for flag, settings in SANDBOX_OPTIONS),
            audited=False,
        ),
        Command(
            "erase",
            "Erase what the provider keeps of an event or a device; without --yes, only show it",
            "airflow_provider_adjust.cli.erase.erase",
            tuple(option(*flags, **settings) for flags, settings in ERASE_OPTIONS),
        ),
        Group(
            "ledger",
            "Maintain the ledger",
            (
                Command(
                    "prune",
                    "Delete settled events that are too old for Adjust to accept",
                    "airflow_provider_adjust.cli.ledger.prune_ledger",
                    tuple(option(*flags, **settings) for flags, settings in PRUNE_OPTIONS),
                ),
            ),
        ),
        Group(
            "suppression",
            "Manage suppressed devices, which opted out or were erased: nothing is sent for them",
            tuple(
                Command(
                    name,
                    told,
                    f"airflow_provider_adjust.cli.suppression.{name}",
                    tuple(option(*flags, **settings) for flags, settings in options),
                    audited=changes_something,
                )
                for name, told, options, changes_something in SUPPRESSION
            ),
        ),
        Group(
            "files",
            "Maintain rejected files and responses files",
            (
                Command(
                    "prune",
                    "Delete old rejected files and responses files, and no other file",
                    "airflow_provider_adjust.cli.files.prune",
                    tuple(option(*flags, **settings) for flags, settings in FILES_PRUNE_OPTIONS),
                ),
            ),
        ),
    ),
)
