"""The audit log: who ran which command, in Airflow's table ``log``, as for Airflow's own commands.

Airflow's decorator logs ``sys.argv``. Here the command is rebuilt from the parsed options, so that a personal value is hidden
however its argument was written.
"""

from __future__ import annotations

import getpass
import re
import socket
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adjust.cli.definition import Command

_HIDDEN = "********"
#: Arguments that name a person's event or device.
_PERSONAL = frozenset({"event_id", "device"})
#: The user and the password in a URL. A secret key of S3 has slashes.
_CREDENTIALS = re.compile(r"(?<=://)\S*:\S*@")


@contextmanager
def audited(command: Command, names: Sequence[str], options: Namespace) -> Iterator[None]:
    """Write the command to Airflow's audit log before it runs. It runs even if the database cannot be reached.

    :param names: the names of the command's groups and of the command.
    """
    from airflow.utils import cli_action_loggers

    loggers: Any = cli_action_loggers  # without annotations
    metrics = {
        "sub_command": "_".join(names).replace("-", "_"),
        "start_datetime": datetime.now(UTC),
        "full_command": f"{['airflow', *names, *shown_arguments(command, options)]}",
        "user": current_user(),
        "dag_id": None,
        "task_id": None,
        "logical_date": None,
        "host_name": socket.gethostname(),
    }
    loggers.on_pre_execution(**metrics)
    try:
        yield
    finally:
        loggers.on_post_execution(**metrics, end_datetime=datetime.now(UTC))


def shown_arguments(command: Command, options: Namespace) -> Iterator[str]:
    """The given arguments, without passwords and without personal values."""
    for option in command.options:
        value = getattr(options, option.dest, None)
        if value is None or value == option.settings.get("default") or value is False:
            continue
        flag = option.flags[-1]
        for each in value if isinstance(value, list) else [value]:
            if flag.startswith("-"):
                yield flag
            if each is not True:
                yield _HIDDEN if option.dest in _PERSONAL else _CREDENTIALS.sub(f"{_HIDDEN}@", str(each))


def current_user() -> str:
    """The operating system's user who runs the command, as in Airflow's audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have a user without a name
        return "unknown"
