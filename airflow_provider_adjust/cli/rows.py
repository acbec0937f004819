"""Shared by the commands that read a file: rows, options and connection."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar, get_args, get_type_hints

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.airflow_versions import AirflowNotFoundException
from airflow_provider_adjust.files.event_files import read_rows
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_send_events import as_rows
from airflow_provider_adjust.option_arguments import argument_fields
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.redaction import escape

_Options = TypeVar("_Options")


@contextmanager
def open_rows(file: str, options: RowOptions) -> Iterator[Sequence[Any] | Iterable[Any]]:
    """The file's rows, read as the operator reads them: a list to be sorted, or a stream in time order.

    :raises AdjustConfigurationError: the file has no rows, or cannot be opened.
    """
    with ExitStack() as stack:
        try:
            rows = as_rows(
                stack.enter_context(read_rows(path_of(file), options, check=partial(check_columns, options=options)))
            )
        except AdjustConfigurationError:
            raise
        except (OSError, ImportError, ValueError) as error:
            # For example: a missing permission, a broken gzip file, a missing library of the storage.
            raise AdjustConfigurationError(f"{file} cannot be read: {escape(str(error), 200)}") from error
        yield rows


def path_of(file: str) -> ObjectStoragePath:
    """A path as in the shell: without a scheme it is local, and relative to the working directory."""
    return ObjectStoragePath(file if "://" in file else os.path.abspath(file))


def given(options: Namespace, kind: type[_Options]) -> _Options:
    """The row options or sending options from the command line."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in argument_fields(kind):
        value = getattr(options, field.name)
        if "Mapping" in str(hints[field.name]):
            flag = f"--{field.name.replace('_', '-')}"
            value = _one_or_pairs(value, flag) if str in get_args(hints[field.name]) else _pairs(value, flag)
        elif value is None:
            continue
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def hook_of(options: Namespace) -> AdjustS2SHook:
    """The hook of the connection that the options name, with the connection read.

    :raises AdjustConfigurationError: there is no such connection, or it cannot be used.
    """
    hook = AdjustS2SHook(options.adjust_conn_id, app_token=options.app_token, environment=options.environment)
    with connection_must_exist(options.adjust_conn_id):
        hook.settings  # noqa: B018 reads the connection
    return hook


@contextmanager
def connection_must_exist(conn_id: str) -> Iterator[None]:
    """Raise an error with advice for a connection that Airflow does not know."""
    try:
        yield
    except AirflowNotFoundException:
        raise AdjustConfigurationError(
            f"there is no connection {conn_id!r}; create it in the UI or with `airflow connections add`, or set "
            f"AIRFLOW_CONN_{conn_id.upper()}"
        ) from None


def _one_or_pairs(given: Sequence[str] | None, flag: str) -> str | dict[str, str]:
    """One value for all, or values by name."""
    return given[0] if given and len(given) == 1 and "=" not in given[0] else _pairs(given, flag)


def _pairs(given: Sequence[str] | None, flag: str) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise AdjustConfigurationError(f"{flag} takes NAME=VALUE, not {text!r}")
        pairs[name] = value
    return pairs
