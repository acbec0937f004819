"""From parsed arguments to an exit code: calls the command's function and says in one line what went wrong."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from importlib import import_module
from typing import NoReturn

from airflow_provider_adjust.cli.definition import ExitCode


def exit_after(path: str, options: Namespace) -> NoReturn:
    """Run the command whose function is at ``path``, and end the process with its exit code."""
    # A person's command sees the connections that Airflow's own commands see: those of the metadata database too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        code = _run(path, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads the pipe has seen enough (`| head`); Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    sys.exit(code)


def _run(path: str, options: Namespace) -> int:
    # Not at the top: Airflow imports this module whenever its command line starts.
    from airflow_provider_adjust.cli.terminal import Terminal
    from airflow_provider_adjust.s2s.errors import (
        AdjustConfigurationError,
        AdjustError,
        DeliveryIncomplete,
        StreamOutOfOrder,
    )

    terminal = Terminal()
    module, _, name = path.rpartition(".")
    try:
        code: int = getattr(import_module(module), name)(options, terminal)
    except BrokenPipeError:
        raise
    except (StreamOutOfOrder, DeliveryIncomplete) as error:
        terminal.complain(error)
        code = ExitCode.REFUSED
    except AdjustConfigurationError as error:
        terminal.complain(error)
        code = ExitCode.UNUSABLE
    except (AdjustError, OSError, EOFError) as error:
        terminal.complain(error)
        code = ExitCode.STOPPED
    except Exception:
        # A defect, to be reported with its place. Python's own code for it, 1, would say that rows were refused.
        traceback.print_exc()
        code = ExitCode.STOPPED
    return code
