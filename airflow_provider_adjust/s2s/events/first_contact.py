"""Check the columns of a source before any of its rows is sent.

A misspelled, missing or repeated column would cause the refusal of every row for the same reason. It is one error instead, which
says what was read and what to write.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint, endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.columns import Column, Columns, looks_like_an_id, nearest_names
from airflow_provider_adjust.s2s.events.options import EVERY_UNKNOWN, RowOptions
from airflow_provider_adjust.s2s.redaction import quote

#: Usual names of Adjust's parameters in warehouses, in lower case and without underscores.
_ALSO_CALLED = {
    "gps_adid": {"gaid", "aaid", "googleadid", "googleadvertisingid"},
    "created_at": {
        "timestamp",
        "ts",
        "eventtime",
        "eventts",
        "eventtimestamp",
        "purchasedat",
        "purchasetime",
        "occurredat",
    },
    "revenue": {"amount", "price"},
    "ip_address": {"ip", "ipaddr"},
    "user_agent": {"ua"},
}
_TIMES = frozenset({"created_at", "created_at_unix"})
_MONEY = frozenset({"money", "currency"})
_MOST_NEAR = 3
#: The similarity from which one name is suggested for another.
_ALIKE = 0.75
_MOST_SHOWN = 40
#: The most columns that are searched for similar names.
_MOST_COMPARED = 1_000
#: A longer name is not part of a suggestion.
_LONGEST_PASTED = 100


def check_columns(
    names: Sequence[Any],
    source: str,
    options: RowOptions,
    *,
    route_by: str | None = None,
    endpoint: Endpoint | None = None,
    all_columns: bool = True,
) -> None:
    """Refuse a source with columns that cannot be sent.

    :param names: the columns' names, in their order.
    :param source: what has the columns, for the message: ``the sql``, ``the file purchases.csv``.
    :param options: how the rows are read.
    :param route_by: the column with the connection of a row.
    :param all_columns: every row has exactly these columns, so missing ones can be reported.
    :raises AdjustConfigurationError: columns are unknown, missing or repeated. The message lists them all.
    """
    contact = _Contact(names, options, route_by, endpoint)
    contact.refuse_what_is_not_built()
    problems = [*contact.unknown(), *contact.nameless(), *contact.repeated(), *contact.unnamed("id_field", "route_by")]
    if all_columns:
        problems += [*contact.unnamed("column_map", "ignore_columns"), *contact.missing()]
    if problems:
        lines = [f"{source} cannot be sent, and nothing was sent:", *problems, *contact.remedies()]
        raise AdjustConfigurationError("\n  ".join(lines))


def column_meanings(
    names: Sequence[Any], options: RowOptions, *, route_by: str | None = None, endpoint: Endpoint | None = None
) -> list[str]:
    """How each column is used, as text."""
    contact = _Contact(names, options, route_by, endpoint)
    return [contact.as_text(name) for name in names]


def near_money(names: Collection[Any], endpoint: Endpoint) -> dict[str, str]:
    """Names that nearly match a parameter for money, or match any parameter in another case, each with that parameter."""
    money = [name for name, parameter in endpoint.parameters.items() if parameter.kind in _MONEY]
    found = {}
    for name in names:
        if same := _parameter_in_other_case(str(name), endpoint):
            found[str(name)] = same
            continue
        letters = re.sub(r"[^a-z]", "", str(name).lower())
        for known in money:
            if known in letters or difflib.SequenceMatcher(None, letters, known).ratio() >= _ALIKE:
                found[str(name)] = known
    return found


def _parameter_in_other_case(name: str, endpoint: Endpoint) -> str | None:
    """The parameter that matches the name in another case."""
    lowered = name.lower()
    return lowered if lowered in endpoint.parameters and name not in endpoint.parameters else None


class _Contact:
    """What is wrong with the columns, one sentence for each kind of mistake."""

    def __init__(
        self, names: Sequence[Any], options: RowOptions, route_by: str | None, endpoint: Endpoint | None
    ) -> None:
        endpoint = endpoint or endpoint_named(options.endpoint)
        self._names = names
        self._options = options
        self._route_by = route_by
        self._endpoint = endpoint
        self._columns = Columns(options, endpoint, own=() if route_by is None else (route_by,))
        self._map = dict(options.column_map or {})
        known = {name: meaning for name in names if (meaning := self._meaning(name)) is not None}
        self._unknown = [name for name in dict.fromkeys(names) if name not in known and name != ""]
        #: Each parameter that a column gives, with its columns.
        self._given: dict[str, list[Any]] = {}
        for name in names:
            if name in known and known[name].kind not in {"ignored", "own"}:
                self._given.setdefault(known[name].name, []).append(name)
        self._suggested = self._suggestions()

    def refuse_what_is_not_built(self) -> None:
        for name in self._unknown:
            if (why := self._endpoint.not_built.get(self._map.get(name, name))) is not None:
                raise AdjustConfigurationError(f"the column {quote(name)} cannot be sent. {why}")

    def unknown(self) -> Iterator[str]:
        if self._unknown:
            described = [f"{quote(name)}{self._near(name)}" for name in self._unknown[:_MOST_SHOWN]]
            yield f"unknown columns: {_listed(described, len(self._unknown))}"

    def nameless(self) -> Iterator[str]:
        if "" in self._names and self._meaning("") is None:
            yield (
                f"column {list(self._names).index('') + 1} has no name; drop it (a data frame's index: write with "
                "index=False) or name it"
            )

    def repeated(self) -> Iterator[str]:
        for parameter, columns in self._given.items():
            if len(columns) > 1:
                how_many = "two" if len(columns) == 2 else f"{len(columns):,}"
                yield (
                    f"repeated_parameter: it gives {quote(parameter)} in {how_many} columns, "
                    f"{' and '.join(map(quote, columns[:_MOST_SHOWN]))}; which one counts is not known, so keep one"
                )
        yield from self._apart_by_case()
        for name, count in Counter(self._names).items():
            if count > 1 and self._names_own(name):
                yield f"repeated_parameter: it gives {quote(name)} in two columns or more; keep one"

    def _apart_by_case(self) -> Iterator[str]:
        """Several columns that differ from one parameter only in case."""
        alike: dict[str, list[str]] = {}
        for name in dict.fromkeys(self._names):
            meaning = self._meaning(name)
            is_left_out = (
                meaning is not None and meaning.kind == "ignored" and name not in self._options.ignored_columns
            )
            if is_left_out and isinstance(name, str) and (parameter := _parameter_in_other_case(name, self._endpoint)):
                alike.setdefault(parameter, []).append(name)
        for parameter, names in alike.items():
            if len(names) > 1:
                yield (
                    f"repeated_parameter: {' and '.join(map(quote, names[:_MOST_SHOWN]))} are {quote(parameter)} but for their "
                    "case; which one counts is not known, so name the others in ignore_columns"
                )

    def unnamed(self, *arguments: str) -> Iterator[str]:
        """The columns that an argument names and the source lacks."""
        named: dict[str, Sequence[str]] = {
            "id_field": self._options.id_columns,
            "route_by": () if self._route_by is None else (self._route_by,),
            "column_map": list(self._map),
            "ignore_columns": [each for each in self._options.ignored_columns if each != EVERY_UNKNOWN],
        }
        for argument in arguments:
            for column in named[argument]:
                if column not in self._names:
                    near = nearest_names(column, map(str, self._names[:_MOST_COMPARED]), most=1)
                    yield f"it has no column {quote(column)}, which {argument} names{f' ({quote(near[0])}?)' if near else ''}"

    def missing(self) -> Iterator[str]:
        """What every row lacks. Whether a single row has a value is checked when the row is parsed."""
        given = self._given
        key = "event_token"
        if self._options.event_tokens and "event" not in given:
            yield "missing: event, the column of the names in event_tokens"
        elif self._endpoint.has_tokens and key not in given and "event" not in given and not self._options.event_token:
            yield f"missing: {key}; set it in the operator, or select it"
        if self._endpoint.time == "required" and _TIMES.isdisjoint(given):
            yield "missing: created_at or created_at_unix"
        rules = self._endpoint.rules
        for names in rules.one_of:
            if names.isdisjoint(given):
                is_device = names <= self._endpoint.device_ids
                yield f"missing: {'a device id, such as gps_adid, idfa, idfv or adid' if is_device else _any_of(names)}"
        # The connection, the operator or the endpoint sets these, or an earlier sentence reports them.
        elsewhere = {*self._endpoint.defaults, *self._endpoint.constants, *_TIMES}
        for name in rules.required:
            if name not in given and name not in elsewhere:
                yield f"missing: {name}; select it"
        for name, needed in rules.dependents:
            if name in given and needed not in given:
                yield f"missing: {needed}, which {name} needs"

    def remedies(self) -> Iterator[str]:
        """What was read, and what to write in the operator."""
        read = [quote(name) for name in self._names[:_MOST_SHOWN]]
        yield f"columns read: {_listed(read, len(self._names)) or 'none'}"
        if self._suggested:
            pasted = {name: to for name, to in self._map.items() if name in self._names} | self._suggested
            yield f"if that is meant: column_map={_dict_text(pasted)}"
        left = [name for name in map(str, self._unknown) if name not in self._suggested and len(name) < _LONGEST_PASTED]
        ids = [name for name in left if looks_like_an_id(name)]
        if ids and not self._options.id_columns:
            yield f"if it identifies a row: id_field={_text(ids[0]) if len(ids) == 1 else _list_text(ids)}"
        if left:
            ignored = [*self._options.ignored_columns, *left[:_MOST_SHOWN]]
            yield f"if they are not for Adjust: ignore_columns={_list_text(ignored)}"
            yield "the docs list the names that Adjust knows, under Events"

    def as_text(self, name: Any) -> str:
        meaning = self._meaning(name)
        if meaning is None:
            return f"unknown{self._near(name)}"
        if name in self._options.id_columns:
            return "the event id" if meaning.kind == "own" else f"the event id, and sent as {meaning.name}"
        words = {"ignored": "not sent", "own": "the route, not sent", "event": "the event's name"}
        return words.get(meaning.kind, f"sent as {meaning.name}")

    def _meaning(self, name: Any) -> Column | None:
        return self._columns.find(name)

    def _names_own(self, name: Any) -> bool:
        meaning = self._meaning(name)
        return meaning is not None and meaning.kind == "own"

    def _near(self, name: Any) -> str:
        near = self._candidates(name)
        return f" ({' or '.join(near)}?)" if near else ""

    def _candidates(self, name: Any, cutoff: float = 0.6) -> list[str]:
        """The likely meanings of an unknown name, likeliest first."""
        plain = str(self._map.get(name, name)).lower().replace("_", "")
        also = [parameter for parameter, names in _ALSO_CALLED.items() if plain in names]
        known = [*self._endpoint.parameters.keys() - self._endpoint.constants.keys(), *self._options.extra_params]
        near = nearest_names(str(self._map.get(name, name)), sorted(known), most=_MOST_NEAR, cutoff=cutoff)
        return list(dict.fromkeys([*also, *near]))[:_MOST_NEAR]

    def _suggestions(self) -> dict[Any, str]:
        """A likely parameter for each unknown column that has one; no parameter is suggested twice."""
        taken = set(self._given)
        found: dict[Any, str] = {}
        # Only this many columns are shown, and comparing with every known name is slow.
        for name in self._unknown[:_MOST_SHOWN]:
            for candidate in self._candidates(name, _ALIKE):
                if candidate not in taken and not (candidate in _TIMES and taken & _TIMES):
                    found[name] = candidate
                    taken.add(candidate)
                    break
        return found


def _any_of(names: Collection[str]) -> str:
    return " or ".join(sorted(names, reverse=True))


def _listed(shown: Sequence[str], count: int) -> str:
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def _dict_text(pairs: Mapping[Any, str]) -> str:
    return "{" + ", ".join(f'{_text(name)}: "{parameter}"' for name, parameter in pairs.items()) + "}"


def _list_text(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, names)) + "]"


def _text(name: Any) -> str:
    """The name as Python source, however hostile."""
    shown = quote(name, _LONGEST_PASTED)
    return f'"{name}"' if shown == f"'{name}'" and '"' not in name else shown
