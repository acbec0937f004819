"""An Adjust endpoint as a value: its path, its parameters, its limits.

``event.schema.json`` is the one source of truth for the parameters of ``/event``; everything that needs to know a
parameter (parsing, validation, masking, the docs) reads it from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

jsonschema_rs: Any
try:
    import jsonschema_rs
except ImportError:  # the extra `curl` is not installed
    jsonschema_rs = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as the schema describes it.

    ``kind`` names the rule by which a row's value becomes the text on the wire; ``sent_as`` is set where the parameter
    goes out under another name.
    """

    name: str
    kind: str
    description: str
    source: str
    choices: Collection[str]
    letter_case: str | None
    hyphens: bool
    personal: bool
    sent_as: str | None


@dataclass(frozen=True, eq=False)
class Endpoint:
    """Where events of one kind go and what Adjust demands of them."""

    path: str
    schema: Mapping[str, Any]
    max_age: timedelta
    max_ahead: timedelta
    max_bytes: int

    @classmethod
    def load(cls, schema_file: str) -> Endpoint:
        schema = json.loads(resources.files(__package__).joinpath(schema_file).read_text(encoding="utf-8"))
        facts = schema["x-adjust"]
        return cls(
            path=facts["path"],
            schema=schema,
            max_age=timedelta(days=facts["max_age_days"]),
            max_ahead=timedelta(minutes=facts["max_ahead_minutes"]),
            max_bytes=facts["max_bytes"],
        )

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        sources = self.schema["x-adjust"]["sources"]
        return {name: _parameter(name, entry, sources) for name, entry in self.schema["properties"].items()}

    @cached_property
    def device_ids(self) -> frozenset[str]:
        """Names of the parameters of which an event needs at least one, and whose values make its lanes."""
        return frozenset(p.name for p in self.parameters.values() if p.kind == "device_id")

    @cached_property
    def personal(self) -> frozenset[str]:
        """Names of the parameters whose values appear in no log and no error."""
        return frozenset(p.name for p in self.parameters.values() if p.personal)

    @cached_property
    def validator(self) -> Any:
        """Explains what is wrong with an event's parameters."""
        return _Validator(self.schema)

    @cached_property
    def is_valid(self) -> Callable[[Mapping[str, str]], bool]:
        """Decides whether there is anything to explain: at once where jsonschema-rs is installed."""
        if jsonschema_rs is None:
            explain: Callable[[Mapping[str, str]], bool] = self.validator.is_valid
            return explain
        decide: Callable[[Mapping[str, str]], bool] = jsonschema_rs.validator_for(self.schema).is_valid
        return decide


def _sooner(keyword: str, is_met: Callable[[Any, Any], bool]) -> Any:
    """The keyword as jsonschema knows it, asked only where a look does not show that it is met."""
    library = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not is_met(value, instance):
            yield from library(validator, value, instance, schema) or ()

    return check


def _has_required(schema: Mapping[str, Any], instance: Any) -> bool:
    return schema.keys() == {"required"} and all(name in instance for name in schema["required"])


def _lacks_required(schema: Mapping[str, Any], instance: Any) -> bool:
    return schema.keys() == {"required"} and not all(name in instance for name in schema["required"])


#: jsonschema makes an error for each alternative that does not fit, 30 of them for an unusual device id.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "anyOf": _sooner("anyOf", lambda schemas, instance: any(_has_required(each, instance) for each in schemas)),
        "not": _sooner("not", _lacks_required),
        "enum": _sooner("enum", lambda choices, value: value in choices),
    },
)


def _parameter(name: str, entry: Mapping[str, Any], sources: Mapping[str, str]) -> Parameter:
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
        sent_as=facts.get("sent_as"),
    )


EVENT = Endpoint.load("event.schema.json")
