"""What a row's columns mean. Rows of one query have one shape, so this is decided once for all of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s import values
from airflow_provider_adjust.s2s.endpoint import Endpoint, Parameter
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.rows import Row
from airflow_provider_adjust.s2s.shown import quoted

#: Row shapes that are remembered; a query has one, a file of JSON lines may have many.
_MOST_SHAPES = 1024
#: Characters of an unknown name that are looked at, and remembered.
_LONGEST_NAME = 100


class Column(NamedTuple):
    """What is to be done with a column's values."""

    name: str
    kind: str
    parameter: Parameter
    normalise: values.Normalise | None


class Columns:
    """The columns of every shape of row that was met.

    :param names: Adjust's names by the row's.
    :param extra: names that are sent although the endpoint does not know them.
    :param ignored: columns that are not sent.
    :param has_event_names: a column ``event`` holds the name of an event, whose token is looked up.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        names: Mapping[str, str],
        extra: Collection[str],
        ignored: Collection[str],
        has_event_names: bool,
    ) -> None:
        self._endpoint = endpoint
        self._names = names
        self._extra = frozenset(extra) - endpoint.parameters.keys()
        self._ignored = frozenset(ignored) - endpoint.parameters.keys()
        self._has_event_names = has_event_names
        self._shapes: dict[tuple[Any, ...], list[Column]] = {}

    def of(self, row: Row) -> list[Column]:
        """The row's columns, in its order.

        :raises InvalidEvent: a column has a name that Adjust does not know, or two columns have one.
        """
        given = tuple(row)
        shape = self._shapes.get(given)
        if shape is None:
            shape = [self._column(column) for column in given]
            names = [column.name for column in shape]
            if len(set(names)) < len(names):
                repeated = next(name for name in names if names.count(name) > 1)
                raise InvalidEvent("repeated_parameter", f"two columns give {repeated}; keep one")
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[given] = shape
        return shape

    def _column(self, column: Any) -> Column:
        name = self._names.get(column, column)
        parameter = self._endpoint.parameters.get(name)
        if parameter is not None:
            return Column(name, parameter.kind, parameter, values.NORMALISERS.get(parameter.kind))
        if not isinstance(name, str):
            raise InvalidEvent("unknown_parameter", f"a column is named by a {type(name).__name__}; names are text")
        if name in self._extra:
            return Column(name, "text", _unknown_parameter(name), values.text)
        if name == "event" and self._has_event_names:
            return Column(name, "event", _unknown_parameter(name), None)
        if name in self._ignored:
            return Column(name, "ignored", _unknown_parameter(name), None)
        raise InvalidEvent("unknown_parameter", _did_you_mean(name[:_LONGEST_NAME], self._endpoint))


@lru_cache(maxsize=1024)
def _unknown_parameter(name: str) -> Parameter:
    return Parameter(
        name=name,
        kind="text",
        description="",
        source="",
        choices=(),
        letter_case=None,
        hyphens=True,
        personal=True,
        sent_as=None,
    )


@lru_cache(maxsize=1024)
def _did_you_mean(name: str, endpoint: Endpoint) -> str:
    by_lower_case = {known.lower(): known for known in endpoint.parameters}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    meant = (
        f"did you mean {by_lower_case[near[0]]} (names are case-sensitive)?" if near else "rename or drop the column."
    )
    return f"Adjust knows no parameter {quoted(name)}; {meant} To send it as it is, name it in extra_params"
