"""The commands of ``airflow adjust`` for Airflow's own command line (Airflow 3.2 and newer)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_adjust.cli.definition import ADJUST, Command, Group
from airflow_provider_adjust.cli.run import exit_after

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


def get_adjust_commands() -> list[CLICommand]:
    """Return ``airflow adjust`` with its subcommands."""
    return [_to_airflow(ADJUST)]


def _to_airflow(command: Command | Group, *groups: str) -> Any:
    # Airflow has imported this already when it asks for the commands.
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    names = (*groups, command.name)
    if isinstance(command, Group):
        return GroupCommand(command.name, command.help, [_to_airflow(each, *names) for each in command.commands])
    arguments = [Arg(flags=option.flags, **option.settings) for option in command.options]  # type: ignore[no-untyped-call]
    return ActionCommand(command.name, command.help, partial(exit_after, command, names), arguments)
