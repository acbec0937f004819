"""Run a command: call its function, turn an error into one line on stderr, and return the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import NoReturn

from airflow_provider_adjust.cli.definition import Command, ExitCode


def exit_after(command: Command, names: Sequence[str], options: Namespace) -> NoReturn:
    """Run the command, and end the process with its exit code.

    :param names: the names of the command's groups and of the command, for the audit log.
    """
    # Like Airflow's own commands: connections may be in the metadata database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        code = _run(command, names, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The pipe was closed (`| head`). Python would report the error again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK if command.ends_with_reader else ExitCode.STOPPED
    sys.exit(code)


def _run(command: Command, names: Sequence[str], options: Namespace) -> int:
    # Not at the top, since Airflow imports this module whenever its command line starts.
    from airflow_provider_adjust.cli.audit import audited
    from airflow_provider_adjust.cli.terminal import Terminal
    from airflow_provider_adjust.cli.words import Words
    from airflow_provider_adjust.s2s.errors import (
        AdjustConfigurationError,
        AdjustError,
        DeliveryIncomplete,
        InputUnreadable,
        StreamOutOfOrder,
    )

    terminal = Terminal(Words(command), ends_with_reader=command.ends_with_reader)
    module, _, name = command.run.rpartition(".")
    try:
        with audited(command, names, options) if command.audited else nullcontext():
            code: int = getattr(import_module(module), name)(options, terminal)
    except BrokenPipeError:
        raise
    except (StreamOutOfOrder, InputUnreadable, DeliveryIncomplete) as error:
        terminal.complain(error)
        code = ExitCode.REFUSED
    except AdjustConfigurationError as error:
        terminal.complain(error)
        code = ExitCode.UNUSABLE
    except (AdjustError, OSError, EOFError) as error:
        terminal.complain(error)
        code = ExitCode.STOPPED
    except Exception:
        # A defect, which needs its traceback. Python's exit code, 1, means refused rows here.
        terminal.trace(traceback.format_exc())
        code = ExitCode.STOPPED
    return code
