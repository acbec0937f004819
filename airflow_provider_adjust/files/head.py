"""Check that the first line of a file holds column names rather than values, before any row is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from airflow_provider_adjust.s2s.endpoints.endpoint import endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions

#: Raises an error if the columns cannot be used. It takes their names, and the file's name for the message.
CheckColumns = Callable[[Sequence[str], str], None]
#: Other separators that occur in files named .csv.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LOOKS_LIKE_A_NAME = re.compile(r"[A-Za-z_][A-Za-z_ ]{0,39}[0-9]{0,2}").fullmatch


def any_columns(names: Sequence[str], where: str) -> None:
    """Accept any columns."""


def check_is_head(names: Sequence[str], where: str, options: RowOptions) -> None:
    """Refuse a file if its first line holds no names. The message does not show the line, which may be personal.

    :param names: the fields of the first line.
    :param where: the file, for the message.
    :raises AdjustConfigurationError: no name is known, and the cause is not a misspelled name.
    """
    parameters = endpoint_named(options.endpoint).parameters
    known = {*parameters, *options.extra_params, *options.id_columns, *(options.column_map or ()), "event"}
    if not _any_known(names, folded := {name.casefold() for name in known}) and (cause := _likely_cause(names, folded)):
        raise AdjustConfigurationError(
            f"{where} has no column that Adjust, column_map or id_field knows, such as created_at: {cause}. Nothing was sent"
        )


def _likely_cause(names: Sequence[str], folded: set[str]) -> str | None:
    """The likely cause that no name is known; None if they look like names."""
    for separator, title in _OTHER_SEPARATORS.items():
        if any(separator in name and _any_known(name.split(separator), folded) for name in names):
            return f"the fields are separated by {title}; write the file with commas"
    if names and names[0].lstrip().startswith(("{", "[")):
        return "the lines are JSON; give the file a name that ends in .jsonl"
    if not names:
        return "its first line is too long for names"
    if not all(_LOOKS_LIKE_A_NAME(name.strip()) for name in names):
        return f"its first line has {len(names)} fields which look like values; the file needs a line of names first"
    return None


def _any_known(names: Sequence[str], folded: set[str]) -> bool:
    return any(name.strip(' "').casefold() in folded for name in names)
