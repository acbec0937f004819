"""Every command with its options, once, for Airflow's parser and for our own.

Airflow imports this whenever its command line starts, so it imports next to nothing; what a command does is imported
when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass
from enum import IntEnum
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from airflow_provider_adjust.cli.contract_options import CONTRACT_OPTIONS
from airflow_provider_adjust.cli.erase_options import ERASE_OPTIONS, FILES_PRUNE_OPTIONS, PRUNE_OPTIONS
from airflow_provider_adjust.cli.query_options import QUERY_OPTIONS
from airflow_provider_adjust.cli.suppression_options import SUPPRESSION
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.option_arguments import argument_fields
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


class Option(NamedTuple):
    """An argument of a command: its names, and the keywords of ``argparse``'s ``add_argument``."""

    flags: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def dest(self) -> str:
        """The name of the parsed argument, as ``argparse`` makes it of the first long flag."""
        flag = next((each for each in self.flags if each.startswith("--")), self.flags[0])
        given: str | None = self.settings.get("dest")
        return given or flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Command:
    """``run`` is the path of a function of the parsed arguments and the terminal, which returns an exit code.

    Airflow's audit log has every command that changes something outside: all but those that are not ``audited``. A command
    that only shows rows ``ends_with_reader``: once nobody reads its output it may stop, and that is no error. Any other does
    its work to the end, and its exit code says how that went.
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


def _option(*flags: str, **settings: Any) -> Option:
    return Option(flags, settings)


_FILE = _option(
    "file", help="a .jsonl, .json, .csv or .parquet file, .gz included, or a folder of them; local or s3://..."
)


def _options(options: type[Any]) -> tuple[Option, ...]:
    """An argument for each field of an options class: its name, its type, its default and its help."""
    hints = get_type_hints(options)
    return tuple(_argument(field, hints[field.name]) for field in argument_fields(options))


def _argument(field: Field[Any], hint: Any) -> Option:
    flag = f"--{field.name.replace('_', '-')}"
    settings: dict[str, Any] = {"help": field.metadata["help"]}
    hinted = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    if literal := next((each for each in hinted if get_origin(each) is Literal), None):
        settings |= {"choices": get_args(literal), "default": field.default}
    elif hint is bool:
        settings["action"] = "store_true"
    else:
        settings["metavar"] = field.metadata["metavar"]
        kinds = {get_origin(each) or each for each in hinted}
        if kinds & {Mapping, Sequence}:
            settings["action"] = "append"
            settings["help"] += "; may be repeated"
        else:
            settings |= {"type": next(kind for kind in (int, float, str) if kind in kinds), "default": field.default}
    if settings.get("default") is not None:
        settings["help"] += f" (default: {field.default})"
    settings["help"] = settings["help"].replace("%", "%%")
    return _option(flag, **settings)


#: How rows are read.
_PARSING = _options(RowOptions)

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
        "--adjust-conn-id",
        default=DEFAULT_CONN_ID,
        metavar="CONNECTION",
        help=f"the connection (default: {DEFAULT_CONN_ID})",
    ),
    *_PARSING,
    _option("--dry-run", action="store_true", help="read the connection, check and order the rows, send nothing"),
    _option("--ledger-conn-id", metavar="CONNECTION", help="the ledger's database: what it has is not sent again"),
    _option("--rejected-path", metavar="FILE", help="where to list what was not delivered, a .jsonl file"),
    _option(
        "--max-rejected",
        type=float,
        default=0,
        metavar="NUMBER",
        help="refused events that are allowed: 5 or 0.02 (default: 0)",
    ),
    _option(
        "--tolerate",
        action="append",
        metavar="REASON",
        help="an outcome or a reason that does not count as a failure (default: duplicate); may be repeated",
    ),
    *_options(SendOptions),
)

_QUERY = tuple(_option(*flags, **settings) for flags, settings in QUERY_OPTIONS)
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
            "Show a query's columns and its first events as they would be sent, masked, and what would be refused",
            "airflow_provider_adjust.cli.query.check_query",
            (*_QUERY, *_CHECKING, _SHOWN),
            audited=False,
        ),
        Command(
            "contract",
            "Write what is expected of a model's columns, as a contract that dbt enforces",
            "airflow_provider_adjust.cli.contract.contract",
            (*(_option(*flags, **settings) for flags, settings in CONTRACT_OPTIONS), *_PARSING),
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
            tuple(_option(flag, **settings) for flag, settings in SANDBOX_OPTIONS),
            audited=False,
        ),
        Command(
            "erase",
            "Erase what the provider keeps of an event or a device; without --yes, say what that is",
            "airflow_provider_adjust.cli.erase.erase",
            tuple(_option(*flags, **settings) for flags, settings in ERASE_OPTIONS),
        ),
        Group(
            "ledger",
            "Maintain the ledger",
            (
                Command(
                    "prune",
                    "Delete settled events that Adjust would not take any more",
                    "airflow_provider_adjust.cli.ledger.prune_ledger",
                    tuple(_option(*flags, **settings) for flags, settings in PRUNE_OPTIONS),
                ),
            ),
        ),
        Group(
            "suppression",
            "Devices for which nothing is sent any more: they opted out, or were erased",
            tuple(
                Command(
                    name,
                    told,
                    f"airflow_provider_adjust.cli.suppression.{name}",
                    tuple(_option(*flags, **settings) for flags, settings in options),
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
                    tuple(_option(*flags, **settings) for flags, settings in FILES_PRUNE_OPTIONS),
                ),
            ),
        ),
    ),
)
