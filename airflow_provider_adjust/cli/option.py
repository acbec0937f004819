"""An argument of a command, and the arguments that the fields of an options class make.

Airflow imports this whenever its command line starts, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from airflow_provider_adjust.option_arguments import argument_fields


class Option(NamedTuple):
    """An argument of a command: its names, and the keywords of ``argparse``'s ``add_argument``."""

    flags: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def dest(self) -> str:
        """The name of the parsed argument, as ``argparse`` makes it of the first long flag."""
        flag = next((each for each in self.flags if each.startswith("--")), self.flags[0])
        given: str | None = self.settings.get("dest")
        return given or flag.lstrip("-").replace("-", "_")


def option(*flags: str, **settings: Any) -> Option:
    """The option with these names and these keywords of ``add_argument``."""
    return Option(flags, settings)


def options_of(options: type[Any]) -> tuple[Option, ...]:
    """An argument for each field of an options class: its name, its type, its default and its help."""
    hints = get_type_hints(options)
    return tuple(_argument(field, hints[field.name]) for field in argument_fields(options))


def _argument(field: Field[Any], hint: Any) -> Option:
    flag = f"--{field.name.replace('_', '-')}"
    settings: dict[str, Any] = {"help": field.metadata["help"].replace("`", "")}
    hinted = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    if literal := next((each for each in hinted if get_origin(each) is Literal), None):
        settings |= {"choices": get_args(literal), "default": field.default}
    elif hint is bool:
        settings["action"] = "store_true"
    else:
        settings["metavar"] = field.metadata["metavar"]
        kinds = {get_origin(each) or each for each in hinted}
        if kinds & {Mapping, Sequence}:
            settings["action"] = "append"
            settings["help"] += "; may be repeated"
        else:
            settings |= {"type": next(kind for kind in (int, float, str) if kind in kinds), "default": field.default}
    if settings.get("default") is not None:
        settings["help"] += f" (default: {field.default})"
    settings["help"] = settings["help"].replace("%", "%%")
    return option(flag, **settings)
