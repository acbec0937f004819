"""Adjust's endpoints as values: path, parameters, limits. ``ENDPOINTS`` has them all.

A schema file is the one source of truth for the parameters of its endpoint; everything that needs to know a parameter
(parsing, validation, masking, the docs) reads it from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache, cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

TimeRule = Literal["required", "optional", "none"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as the schema describes it.

    ``kind`` names the rule that converts a row's value to the text that is sent. ``minimum`` is the smallest amount that
    Adjust takes, for the parameter that holds the amount. ``optional``: an event can do without it, and it says nothing
    about the event's money or time.
    """

    name: str
    kind: str
    description: str
    source: str
    choices: Collection[str]
    letter_case: str | None
    hyphens: bool
    personal: bool
    minimum: Decimal | None = None
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Endpoint:
    """The destination of one kind of events and its requirements: everything in which Adjust's endpoints differ.

    ``title`` is the name of its events in messages. ``ordered``: Adjust accepts the events of a device and key in
    chronological order only. ``time``: whether an event needs its time. ``key`` is the parameter that is part of an event's
    identity, with app, environment and event id; ``amounts`` are those that may hold its money, one per event. ``min_amount``
    and ``max_age`` are None if there is no such limit. ``verifiable``: the Device API can look up an event. ``state`` is None
    if each row is an event of its own; otherwise the parameter that a later row of the device overrides. ``not_built`` gives
    the reason why some of Adjust's parameters are not sent.
    """

    name: str
    title: str
    path: str
    schema: Mapping[str, Any]
    ordered: bool
    time: TimeRule
    key: str | None
    amounts: tuple[str, ...]
    min_amount: Decimal | None
    max_age: timedelta | None
    max_ahead: timedelta
    max_bytes: int
    verifiable: bool
    state: str | None
    not_built: Mapping[str, str]

    @classmethod
    def load(cls, schema_file: str) -> Endpoint:
        """Load the endpoint from a schema file of this package."""
        return cls.of(_resolved(_read_schema(schema_file)))

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Endpoint:
        """Build the endpoint from a schema."""
        facts = schema["x-adjust"]
        min_amount, max_age = facts.get("min_amount"), facts.get("max_age_days")
        return cls(
            name=facts["name"],
            title=facts.get("title", facts["name"]),
            path=facts["path"],
            schema=schema,
            ordered=facts["ordered"],
            time=facts["time"],
            key=facts.get("key"),
            amounts=tuple(facts.get("amounts") or ()),
            min_amount=None if min_amount is None else Decimal(min_amount),
            max_age=None if max_age is None else timedelta(days=max_age),
            max_ahead=timedelta(minutes=facts["max_ahead_minutes"]),
            max_bytes=facts["max_bytes"],
            verifiable=facts.get("verifiable", False),
            state=facts.get("state"),
            not_built=facts.get("not_built", {}),
        )

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        sources = self.schema["x-adjust"]["sources"]
        return {
            name: _parameter(
                name,
                entry,
                sources,
                minimum=self.min_amount if name in self.amounts else None,
                is_required=name in self.schema.get("required", ()),
            )
            for name, entry in self.schema["properties"].items()
        }

    @cached_property
    def device_ids(self) -> frozenset[str]:
        """Names of the device id parameters. An event needs at least one of them, and each defines a lane."""
        return frozenset(p.name for p in self.parameters.values() if p.kind == "device_id")

    @cached_property
    def personal(self) -> frozenset[str]:
        """Names of the parameters with personal values, which never appear in a log or an error."""
        return frozenset(p.name for p in self.parameters.values() if p.personal)

    @cached_property
    def constants(self) -> dict[str, str]:
        """Parameters that are sent with every event."""
        return {name: entry["const"] for name, entry in self.schema["properties"].items() if "const" in entry}

    @cached_property
    def defaults(self) -> tuple[str, ...]:
        """Parameters that the connection or the operator normally sets for all rows."""
        named = ("app_token", self.key, "environment")
        return tuple(name for name in named if name in self.parameters and name not in self.constants)

    @property
    def has_tokens(self) -> bool:
        """Whether its events have event tokens."""
        return self.key == "event_token"

    @cached_property
    def rules(self) -> Rules:
        """The schema's rules between parameters."""
        return Rules.of(self.schema)

    @cached_property
    def validator(self) -> Any:
        """A validator that explains the errors of an event's parameters."""
        return _explaining_validator()(self.schema)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a schema that involve several parameters, so that no normaliser of a single value can check them.

    They are compiled, since a JSON Schema library for every event would cost more than all other parsing.
    """

    required: tuple[str, ...]
    one_of: tuple[frozenset[str], ...]
    dependents: tuple[tuple[str, str], ...]
    exclusive: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Rules:
        """Read the rules: ``required``, ``anyOf`` and ``not`` over ``required``, and ``dependentRequired``.

        Rules inside ``allOf`` are read like those at the top level.
        """
        schemas = (schema, *schema.get("allOf", ()))
        return cls(
            required=tuple(name for each in schemas for name in each.get("required", ())),
            one_of=tuple(
                frozenset(name for choice in each["anyOf"] for name in choice["required"])
                for each in schemas
                if "anyOf" in each
            ),
            dependents=tuple(
                (name, needed)
                for each in schemas
                for name, all_needed in each.get("dependentRequired", {}).items()
                for needed in all_needed
            ),
            exclusive=tuple(frozenset(each["not"]["required"]) for each in schemas if "not" in each),
        )

    def accept(self, params: Mapping[str, str]) -> bool:
        """Whether the parameters satisfy every rule."""
        for name in self.required:
            if name not in params:
                return False
        for names in self.one_of:
            if names.isdisjoint(params):
                return False
        for name, needed in self.dependents:
            if name in params and needed not in params:
                return False
        return not any(names <= params.keys() for names in self.exclusive)


@cache
def _read_schema(file: str) -> Any:
    return json.loads(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))


def _resolved(schema: Any) -> Any:
    """The schema with its references to other files resolved: ``{"$ref": "event.schema.json#/properties/adid"}``.

    Keys beside ``$ref`` override those of the referenced part.
    """
    if isinstance(schema, list):
        return [_resolved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    entries = {name: _resolved(each) for name, each in schema.items() if name != "$ref"}
    if "$ref" not in schema:
        return entries
    file, _, pointer = schema["$ref"].partition("#/")
    part = _read_schema(file)
    for name in pointer.split("/"):
        part = part[name]
    return {**_resolved(part), **entries} if isinstance(part, dict) else _resolved(part)


@cache
def _explaining_validator() -> Any:
    """A validator class that tests alternatives first, so that it does not build an error for each of 30 when one matches."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.protocols import Validator
    from jsonschema.validators import extend

    def sooner(keyword: str, is_met: Callable[[Any, Any], bool]) -> Any:
        library = Draft202012Validator.VALIDATORS[keyword]

        def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            if not is_met(value, instance):
                yield from library(validator, value, instance, schema) or ()

        return check

    return extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {
            "anyOf": sooner("anyOf", lambda schemas, instance: any(_has_required(each, instance) for each in schemas)),
            "not": sooner("not", _lacks_required),
            "enum": sooner("enum", lambda choices, value: value in choices),
        },
    )


def _has_required(schema: Mapping[str, Any], instance: Any) -> bool:
    return schema.keys() == {"required"} and all(name in instance for name in schema["required"])


def _lacks_required(schema: Mapping[str, Any], instance: Any) -> bool:
    return schema.keys() == {"required"} and not all(name in instance for name in schema["required"])


#: Kinds of parameters that an event requires, or that state its value.
_NEVER_OPTIONAL = frozenset({"constant", "currency", "money", "time", "token"})


def _parameter(
    name: str, entry: Mapping[str, Any], sources: Mapping[str, str], *, minimum: Decimal | None, is_required: bool
) -> Parameter:
    facts = entry["x-adjust"]
    return Parameter(
        name=name,
        kind=facts["kind"],
        description=entry["description"],
        source=sources[facts["source"]],
        # A dict, since it keeps the schema's order and is fast to search.
        choices=dict.fromkeys([entry["const"]] if "const" in entry else entry.get("enum", ())),
        letter_case=facts.get("letter_case"),
        hyphens=facts.get("hyphens", True),
        personal=facts.get("personal", False) or facts["kind"] in {"device_id", "object", "token"},
        minimum=minimum,
        optional=not is_required and facts["kind"] not in _NEVER_OPTIONAL,
    )


EVENT = Endpoint.load("event.schema.json")
AD_REVENUE = Endpoint.load("ad_revenue.schema.json")
THIRD_PARTY_SHARING = Endpoint.load("third_party_sharing.schema.json")
#: Every endpoint by name.
ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {each.name: each for each in (EVENT, AD_REVENUE, THIRD_PARTY_SHARING)}
)


def endpoint_named(name: str, argument: str = "endpoint") -> Endpoint:
    """The endpoint of the name.

    :param argument: the name of the argument in the message.
    :raises AdjustConfigurationError: there is none.
    """
    if name not in ENDPOINTS:
        raise AdjustConfigurationError(f"{argument}={name[:60]!r} must be one of {', '.join(ENDPOINTS)}")
    return ENDPOINTS[name]
