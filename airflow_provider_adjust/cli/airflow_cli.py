"""The commands as Airflow's own command line takes them from a provider (Airflow 3.2 and newer)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_adjust.cli.definition import ADJUST, Command, Group
from airflow_provider_adjust.cli.run import exit_after

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


def get_adjust_commands() -> list[CLICommand]:
    """Return ``airflow adjust`` with all that is under it."""
    return [_as_airflows(ADJUST)]


def _as_airflows(command: Command | Group) -> Any:
    # Airflow has loaded this by the time that it asks for the commands.
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    if isinstance(command, Group):
        return GroupCommand(command.name, command.help, [_as_airflows(each) for each in command.commands])
    arguments = [Arg(flags=option.flags, **option.settings) for option in command.options]  # type: ignore[no-untyped-call]
    return ActionCommand(command.name, command.help, partial(exit_after, command.run), arguments)
