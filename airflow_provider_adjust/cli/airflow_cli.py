"""The commands of ``airflow adjust`` for Airflow's own command line (Airflow 3.2 and newer)."""

from __future__ import annotations

import shutil
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_adjust.cli.definition import ADJUST, Command, Group
from airflow_provider_adjust.cli.run import exit_after

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

#: The column in which ``argparse`` begins the help of an argument.
_INDENT = 24
_LEAST_WIDTH = 20


def get_adjust_commands() -> list[CLICommand]:
    """Return ``airflow adjust`` with its subcommands."""
    return [_to_airflow(ADJUST)]


def _to_airflow(command: Command | Group, *groups: str) -> Any:
    # Airflow has already imported this when it asks for the commands.
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    names = (*groups, command.name)
    told = _wrapped(command.help)
    if isinstance(command, Group):
        return GroupCommand(command.name, told, [_to_airflow(each, *names) for each in command.commands])
    arguments = [
        Arg(flags=option.flags, **option.settings | {"help": _wrapped(option.settings["help"])})  # type: ignore[no-untyped-call]
        for option in command.options
    ]
    return ActionCommand(command.name, told, partial(exit_after, command, names), arguments)


def _wrapped(text: str) -> str:
    """The text wrapped to the column of help texts, since Airflow's ``--help`` does not wrap."""
    return textwrap.fill(text, max(_LEAST_WIDTH, shutil.get_terminal_size().columns - _INDENT - 2))
