"""``python -m airflow_provider_adjust``: the commands of ``airflow adjust`` on any Airflow, with a faster start."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from airflow_provider_adjust.cli.definition import ADJUST, Command, Group
from airflow_provider_adjust.cli.run import exit_after


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, and exit with its code."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_adjust", description=ADJUST.help)
    _add(parser, ADJUST)
    options = parser.parse_args(arguments)
    options.run(options)


def _add(parser: argparse.ArgumentParser, command: Command | Group, *groups: str) -> None:
    names = (*groups, command.name)
    if isinstance(command, Group):
        below: Any = parser.add_subparsers(metavar="COMMAND", required=True)
        for each in command.commands:
            _add(below.add_parser(each.name, help=each.help, description=each.help), each, *names)
        return
    for option in command.options:
        parser.add_argument(*option.flags, **option.settings)
    parser.set_defaults(run=partial(exit_after, command, names))


if __name__ == "__main__":
    main()
