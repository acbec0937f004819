"""The fields of an options class as an operator's keyword arguments.

Operators have flat arguments, since Airflow renders templates in attributes, and reads default arguments and mapped arguments
from signatures. They are generated from the fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from functools import wraps
from typing import Any, TypeVar

_Options = TypeVar("_Options")


def argument_fields(*classes: type[Any]) -> Iterator[Field[Any]]:
    """The fields that operators and the command line take as arguments."""
    for each in classes:
        yield from (field for field in fields(each) if field.metadata["argument"])


def templated(*classes: type[Any]) -> tuple[str, ...]:
    """Names of the arguments in which an operator renders templates."""
    return tuple(field.name for field in argument_fields(*classes) if field.metadata["templated"])


def takes_options(*classes: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make an ``__init__`` take the classes' fields as keyword arguments, and store them as attributes.

    The fields are added to the signature, since Airflow reads an operator's arguments from it.
    """
    known = tuple(argument_fields(*classes))

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        @wraps(init)
        def with_options(self: Any, **arguments: Any) -> None:
            given = {field.name: arguments.pop(field.name, field.default) for field in known}
            init(self, **arguments)
            for name, value in given.items():
                setattr(self, name, value)

        own = inspect.signature(init)
        *named, rest = own.parameters.values()
        added = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in known
        ]
        with_options.__signature__ = own.replace(parameters=[*named, *added, rest])  # type: ignore[attr-defined]
        return with_options

    return decorate


def options_of(owner: Any, options: type[_Options]) -> _Options:
    """The options in an operator's attributes."""
    return options(**{field.name: getattr(owner, field.name) for field in argument_fields(options)})
