"""Checks the names of a file's columns before its first row is read, so that a wrong file sends nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.redaction import quote

#: What separates fields in files that call themselves CSV.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LOOKS_LIKE_A_NAME = re.compile(r"[A-Za-z_][A-Za-z_ ]{0,39}[0-9]{0,2}").fullmatch
_MOST_SHOWN = 4


def check_columns(names: Sequence[str], where: str, options: RowOptions, route_by: str | None = None) -> None:
    """Refuse a file of which no row could be sent.

    :param names: the columns' names, as the file has them.
    :param where: the file, for the message.
    :param route_by: a column that is not a parameter of Adjust's.
    :raises AdjustConfigurationError: no name is known, one occurs twice or is missing, or there is no ``id_field``.
    """
    known = _known(options, route_by)
    column_map = options.column_map or {}
    if not any(name in known or name in column_map for name in names):
        raise AdjustConfigurationError(
            f"{where} has no column that Adjust, column_map or id_field knows, such as created_at: "
            f"{_likely_cause(names, known | column_map.keys())}. Nothing was sent"
        )
    if "" in names:
        raise AdjustConfigurationError(
            f"column {list(names).index('') + 1} of {where} has no name; drop it (a data frame's index: write with "
            "index=False) or name it"
        )
    parameters = [column_map.get(name, name) for name in names]
    for each in (names, parameters):
        if len(set(each)) < len(each):
            twice, _ = Counter(each).most_common(1)[0]
            raise AdjustConfigurationError(
                f"repeated_parameter: {where} gives {quote(twice)} in two columns; which one counts is not known, so keep one"
            )
    if missing := [name for name in options.id_columns if name not in names]:
        raise AdjustConfigurationError(
            f"{where} has no column {missing[0]!r}, which id_field names; every event needs its id"
        )


def _known(options: RowOptions, route_by: str | None) -> set[str]:
    known = {*EVENT.parameters, *options.extra_params}
    known |= set(options.id_columns)
    if route_by is not None:
        known.add(route_by)
    return known | {"event"} if options.event_tokens else known


def _likely_cause(names: Sequence[str], known: set[str]) -> str:
    """Why no name is known. It shows none that may be a value of a row, which could be personal."""
    folded = {name.casefold() for name in known}
    for separator, title in _OTHER_SEPARATORS.items():
        if any(separator in name and _any_known(name.split(separator), folded) for name in names):
            return f"the fields are separated by {title}; write the file with commas"
    if names and names[0].lstrip().startswith(("{", "[")):
        return "the lines are JSON; give the file a name that ends in .jsonl"
    if in_another_case := [name for name in names if name.strip(' "') not in known and _any_known([name], folded)]:
        return f"it has {quote(in_another_case[0])}, but names are lower case; rename the columns, or use column_map"
    if not names:
        return "its first line is too long for names"
    if not all(_LOOKS_LIKE_A_NAME(name.strip()) for name in names):
        return f"its first line has {len(names)} fields which look like values; the file needs a line of names first"
    shown = ", ".join(quote(name) for name in names[:_MOST_SHOWN])
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"it has {shown}{more}; name them as Adjust does, or use column_map"


def _any_known(names: Sequence[str], folded: set[str]) -> bool:
    return any(name.strip(' "').casefold() in folded for name in names)
