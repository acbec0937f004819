"""An Adjust endpoint as a value: its path, its parameters, its limits.

``event.schema.json`` is the one source of truth for the parameters of ``/event``; everything that needs to know a
parameter (parsing, validation, masking, the docs) reads it from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache, cached_property
from importlib import resources
from typing import Any, Literal

TimeRule = Literal["required", "optional", "none"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as the schema describes it.

    ``kind`` names the rule by which a row's value becomes the text on the wire. ``minimum`` is the smallest amount that
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
    """Where events of one kind go and what Adjust demands of them: all that differs between Adjust's endpoints.

    ``ordered``: Adjust takes the events of a device and key in chronological order only. ``time``: whether an event needs
    its time. ``key`` names the parameter that belongs to an event's identity beside app, environment and event id;
    ``amount`` the one that holds its money. ``min_amount`` and ``max_age`` are None where there is no such limit.
    """

    name: str
    path: str
    schema: Mapping[str, Any]
    ordered: bool
    time: TimeRule
    key: str | None
    amount: str | None
    min_amount: Decimal | None
    max_age: timedelta | None
    max_ahead: timedelta
    max_bytes: int

    @classmethod
    def load(cls, schema_file: str) -> Endpoint:
        """The endpoint that a schema file of this package describes."""
        return cls.of(json.loads(resources.files(__package__).joinpath(schema_file).read_text(encoding="utf-8")))

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Endpoint:
        """The endpoint that a schema describes."""
        facts = schema["x-adjust"]
        min_amount, max_age = facts.get("min_amount"), facts.get("max_age_days")
        return cls(
            name=facts["name"],
            path=facts["path"],
            schema=schema,
            ordered=facts["ordered"],
            time=facts["time"],
            key=facts.get("key"),
            amount=facts.get("amount"),
            min_amount=None if min_amount is None else Decimal(min_amount),
            max_age=None if max_age is None else timedelta(days=max_age),
            max_ahead=timedelta(minutes=facts["max_ahead_minutes"]),
            max_bytes=facts["max_bytes"],
        )

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        sources = self.schema["x-adjust"]["sources"]
        return {
            name: _parameter(
                name,
                entry,
                sources,
                minimum=self.min_amount if name == self.amount else None,
                is_required=name in self.schema.get("required", ()),
            )
            for name, entry in self.schema["properties"].items()
        }

    @cached_property
    def device_ids(self) -> frozenset[str]:
        """Names of the device id parameters. An event needs at least one of them, and each makes a lane."""
        return frozenset(p.name for p in self.parameters.values() if p.kind == "device_id")

    @cached_property
    def personal(self) -> frozenset[str]:
        """Names of the parameters with personal values, which appear in no log and no error."""
        return frozenset(p.name for p in self.parameters.values() if p.personal)

    @cached_property
    def constants(self) -> dict[str, str]:
        """Parameters that are sent with every event."""
        return {name: entry["const"] for name, entry in self.schema["properties"].items() if "const" in entry}

    @cached_property
    def defaults(self) -> tuple[str, ...]:
        """Parameters that the connection or the operator normally names for all rows."""
        named = ("app_token", self.key, "environment")
        return tuple(name for name in named if name is not None and name in self.parameters)

    @cached_property
    def rules(self) -> Rules:
        """The schema's rules over several parameters."""
        return Rules.of(self.schema)

    @cached_property
    def validator(self) -> Any:
        """Explains what is wrong with an event's parameters."""
        return _explaining_validator()(self.schema)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a schema that no normaliser of a single value can keep.

    They decide at run time, since asking a JSON Schema library for every event costs more than all else in parsing.
    """

    required: tuple[str, ...]
    one_of: frozenset[str]
    dependents: tuple[tuple[str, str], ...]
    exclusive: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Rules:
        """Read the rules: ``required``, ``anyOf`` and ``not`` over ``required``, and ``dependentRequired``."""
        exclusive = schema.get("not", {}).get("required")
        return cls(
            required=tuple(schema.get("required", ())),
            one_of=frozenset(name for each in schema.get("anyOf", ()) for name in each["required"]),
            dependents=tuple(
                (name, needed)
                for name, all_needed in schema.get("dependentRequired", {}).items()
                for needed in all_needed
            ),
            exclusive=(frozenset(exclusive),) if exclusive else (),
        )

    def accept(self, params: Mapping[str, str]) -> bool:
        """Tell whether the parameters keep every rule."""
        for name in self.required:
            if name not in params:
                return False
        if self.one_of and self.one_of.isdisjoint(params):
            return False
        for name, needed in self.dependents:
            if name in params and needed not in params:
                return False
        return not any(names <= params.keys() for names in self.exclusive)


@cache
def _explaining_validator() -> Any:
    """A validator class that does not build an error for each of 30 alternatives when the first check shows that one fits."""
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


#: Kinds of parameters that an event cannot do without, or that say what it is worth.
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
        choices=dict.fromkeys(entry.get("enum", ())),  # in the order of the schema, and quick to look into
        letter_case=facts.get("letter_case"),
        hyphens=facts.get("hyphens", True),
        personal=facts.get("personal", False) or facts["kind"] in {"device_id", "object", "token"},
        minimum=minimum,
        optional=not is_required and facts["kind"] not in _NEVER_OPTIONAL,
    )


EVENT = Endpoint.load("event.schema.json")
