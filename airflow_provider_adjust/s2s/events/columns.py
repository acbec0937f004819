"""What each column of a row means: a parameter of Adjust, the event id, the route, or a column that is not sent."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint, Parameter
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events import values
from airflow_provider_adjust.s2s.events.clean import CLEAN, Clean
from airflow_provider_adjust.s2s.events.event import encoded_name
from airflow_provider_adjust.s2s.events.options import EVERY_UNKNOWN, RowOptions
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, Row
from airflow_provider_adjust.s2s.redaction import quote

#: Row shapes kept in memory. A query has one shape; a file of JSON lines may have many.
MOST_SHAPES = 1024
#: Characters of an unknown name that are compared with the known ones.
LONGEST_NAME = 100


class Column(NamedTuple):
    """How the values of a column are read.

    ``kind`` is the kind of the parameter; ``event`` for the name of an event, ``own`` for a column that the provider reads and
    does not send, ``ignored`` for one that is not read. ``clean`` is the fast path for most values, if the kind has one.
    ``encoded_name`` is the start of the parameter in the body.
    """

    name: str
    kind: str
    parameter: Parameter
    normalise: values.Normalise | None
    clean: Clean | None
    encoded_name: str


class Columns:
    """Decides what the columns of a row mean, once for each shape of row.

    :param own: columns that the caller reads itself, such as that of the route; they are not sent.
    :raises AdjustConfigurationError: a column is both mapped and ignored.
    """

    def __init__(self, options: RowOptions, endpoint: Endpoint, *, own: Collection[str] = ()) -> None:
        self._endpoint = endpoint
        self._names = dict(options.column_map or {})
        ids = tuple(self._names.get(column, column) for column in options.id_columns)
        self._extra = frozenset(options.extra_params) - endpoint.parameters.keys()
        by_lower_case = {name.lower(): name for name in endpoint.parameters}
        #: Columns that the provider reads itself and that match a parameter of Adjust in another case: they are sent, too.
        self._own_parameters = {
            name: by_lower_case[name.lower()]
            for name in {*own, *ids} - endpoint.parameters.keys()
            if name.lower() in by_lower_case
        }
        self._own = frozenset((*own, *ids)) - endpoint.parameters.keys()
        if wrong := sorted(name for name in self._extra if name.lower() in by_lower_case):
            raise AdjustConfigurationError(
                f"extra_params names {quote(wrong[0])}, Adjust's {by_lower_case[wrong[0].lower()]} in another case; "
                "alias the column, or map it by column_map"
            )
        if refused := sorted(self._extra & endpoint.not_built.keys()):
            raise AdjustConfigurationError(f"extra_params names {refused[0]}: {endpoint.not_built[refused[0]]}")
        self._has_event_names = bool(options.event_tokens)
        self._ignored = frozenset(options.ignored_columns)
        self._ignores_unknown = EVERY_UNKNOWN in self._ignored
        if both := sorted(self._ignored & self._names.keys()):
            raise AdjustConfigurationError(
                f"ignore_columns and column_map both name {quote(both[0])}; remove it from one of them"
            )
        #: What column_map gives. In a row of a rejected file these are Adjust's names already.
        self._mapped = frozenset(self._names.values())
        self._shapes: dict[tuple[bool, tuple[Any, ...]], list[Column]] = {}
        #: The columns that ignore_columns has left out so far, in the order in which they were found.
        self.left_out: dict[str, None] = {}

    def of(self, row: Row) -> list[Column]:
        """The row's columns, in the order of the row.

        :raises InvalidEvent: a column has a name that Adjust does not know, or two columns have the same name.
        """
        given = _has_adjusts_names(row), tuple(row)
        shape = self._shapes.get(given)
        if shape is None:
            shape = [self.meaning(column, has_adjusts_names=given[0]) for column in given[1]]
            counts = Counter(column.name for column in shape if column.kind != "ignored")
            if counts and (most := counts.most_common(1)[0])[1] > 1:
                raise InvalidEvent("repeated_parameter", f"two columns give {most[0]}; keep one")
            self.left_out.update(dict.fromkeys(column.name for column in shape if column.kind == "ignored"))
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            self._shapes[given] = shape
        return shape

    def renamed(self, row: Row) -> tuple[Row, bool]:
        """The row under Adjust's names without the ignored columns, and True; or the unchanged row, and False.

        A row in which two columns give one parameter stays unchanged, since renaming would lose a value.
        """
        has_adjusts_names = _has_adjusts_names(row)
        kept = {}
        for column in row:
            name = column
            try:
                meaning = self.meaning(column, has_adjusts_names=has_adjusts_names)
            except InvalidEvent:
                pass  # a name that Adjust does not know is listed as it is
            else:
                if meaning.kind == "ignored":
                    continue
                if meaning.kind != "own":  # id_field and route_by name it as the source does
                    name = meaning.name
            kept[column] = name
        if len(set(kept.values())) < len(kept):
            return row, False
        return {name: row[column] for column, name in kept.items()}, True

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint to which the rows are sent."""
        return self._endpoint

    def is_amount(self, column: Any) -> bool:
        """Whether the column, or what it is mapped to, is an amount of money."""
        parameter = self._endpoint.parameters.get(self._names.get(column, column))
        return parameter is not None and parameter.kind == "money"

    def meaning(self, column: Any, *, has_adjusts_names: bool = False) -> Column:
        """How the values of a column are read.

        :param has_adjusts_names: the row was already renamed by column_map.
        :raises InvalidEvent: its name is not known.
        """
        if (found := self.find(column, has_adjusts_names=has_adjusts_names)) is not None:
            return found
        name = self._names.get(column, column)
        if not isinstance(name, str):
            raise InvalidEvent("unknown_parameter", f"a column's name is a {type(name).__name__}; names must be text")
        if (why := self._endpoint.not_built.get(name)) is not None:
            raise InvalidEvent("unknown_parameter", f"{name}: {why}")
        raise InvalidEvent("unknown_parameter", _did_you_mean(name[:LONGEST_NAME], self._endpoint))

    def find(self, column: Any, *, has_adjusts_names: bool = False) -> Column | None:
        """``meaning``, or None if the name is not known."""
        is_final = has_adjusts_names and column in self._mapped
        if column in self._ignored and not is_final:
            return _not_sent(column, "ignored")
        name = column if is_final else self._names.get(column, column)
        name = self._own_parameters.get(name, name)
        parameter = self._endpoint.parameters.get(name)
        if parameter is not None:
            return _sent(parameter)
        if not isinstance(name, str):
            return None
        if name in self._extra:
            return _sent(_unknown_parameter(name))
        if name == "event" and self._has_event_names:
            return _not_sent(name, "event")
        if name in self._own:
            return _not_sent(name, "own")
        if self._ignores_unknown and name == column:
            return _not_sent(name, "ignored")
        return None


def _has_adjusts_names(row: Row) -> bool:
    return isinstance(row, ResubmittedRow) and not row.as_given


def _sent(parameter: Parameter) -> Column:
    name, kind = parameter.name, parameter.kind
    clean = CLEAN[kind](parameter) if kind in CLEAN else None
    return Column(name, kind, parameter, values.NORMALISERS.get(kind), clean, encoded_name(name))


def _not_sent(name: str, kind: str) -> Column:
    return Column(name, kind, _unknown_parameter(name), None, None, "")


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
        optional=True,
    )


@lru_cache(maxsize=1024)
def _did_you_mean(name: str, endpoint: Endpoint) -> str:
    near = nearest_names(name, endpoint.parameters, most=1)
    meant = f"did you mean {near[0]} (names are case-sensitive)?" if near else "rename or drop the column."
    identifies = " If it identifies the row, name it in id_field." if looks_like_an_id(name) else ""
    return f"Adjust knows no parameter {quote(name)}; {meant}{identifies} To send it as it is, name it in extra_params"


def looks_like_an_id(name: str) -> bool:
    """Whether the name suggests the id of an event, such as ``order_id``, rather than the id of a person or a thing."""
    words = _WORDS.findall(name)
    if not words or words[-1].lower() not in _ID_WORDS:
        # Some databases write names in one case, with nothing between the words.
        return name.lower().endswith(_ID_ENDINGS)
    return _NOT_AN_EVENT.isdisjoint(word.lower() for word in words)


#: The words of a name, whether it is written order_id, orderId, OrderID or order-id.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ID_WORDS = frozenset({"id", "uuid", "guid", "ulid", "key", "pk", "number", "no", "nr", "num", "ref", "reference"})
#: Ids of these are not ids of events.
_NOT_AN_EVENT = frozenset(
    {
        *(
            "account",
            "ad",
            "adgroup",
            "advertiser",
            "advertising",
            "app",
            "campaign",
            "category",
            "creative",
            "customer",
        ),
        *(
            "device",
            "item",
            "network",
            "partner",
            "player",
            "product",
            "profile",
            "publisher",
            "session",
            "shop",
            "sku",
        ),
        *("store", "tenant", "user", "visitor"),
    }
)
_ID_ENDINGS = tuple(
    f"{event}{number}"
    for event in ("event", "invoice", "message", "order", "payment", "purchase", "receipt", "row", "transaction", "txn")
    for number in ("id", "uuid", "key", "number", "no")
)


def nearest_names(name: str, known: Iterable[str], *, most: int, cutoff: float = 0.6) -> list[str]:
    """The known names with the most similar spelling, nearest first."""
    by_lower_case = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name[:LONGEST_NAME].lower(), by_lower_case, n=most, cutoff=cutoff)
    return [by_lower_case[each] for each in near]
