"""Translate messages of the operators' code for the command line: arguments become flags."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Mapping

from airflow_provider_adjust.cli.definition import Command
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS

#: A remedy as Python source, as the check of columns suggests it.
_PASTED = re.compile(r"\b(column_map|ignore_columns|id_field)=([{\[\"].*)$", re.MULTILINE)
_TO_SET = re.compile(r"\b(\w+); set it in the operator\b")
_OPERATOR = re.compile(r"\bthe operator\b")
#: Arguments with a name in messages that differs from the flag.
_ALSO_CALLED = {"older_than_days": "older_than"}


class Words:
    """Translates errors and warnings for the user of one command."""

    def __init__(self, command: Command | None = None) -> None:
        flags: dict[str, str] = {}
        parameters = frozenset[str]().union(*(each.parameters for each in ENDPOINTS.values()))
        for option in command.options if command else ():
            flag = next((each for each in option.flags if each.startswith("--")), None)
            name = _ALSO_CALLED.get(option.dest, option.dest)
            # A word such as "environment" is not always the argument, and Adjust's parameters are also columns.
            if flag and "_" in name and name not in parameters:
                flags[name] = flag
        self._flags: Mapping[str, str] = flags
        # Not within a quoted value, a path or a longer word.
        names = "|".join(map(re.escape, sorted(flags, key=len, reverse=True)))
        self._names = re.compile(rf"(?<![\w'\"/.-])(?:{names})(?![\w'\"/-]|\.\w)") if flags else None

    def of(self, text: str) -> str:
        """The text with flags in place of arguments; quoted text stays unchanged."""
        if self._names is None:
            return text
        text = _PASTED.sub(self._as_flags, text)
        text = _TO_SET.sub(lambda found: f"{found[1]}; give --{found[1].replace('_', '-')}", text)
        text = _OPERATOR.sub("the command line", text)
        return self._names.sub(lambda found: self._flags[found[0]], text)

    def _as_flags(self, found: re.Match[str]) -> str:
        flag = self._flags.get(found[1])
        try:
            value = ast.literal_eval(found[2])
        except (ValueError, SyntaxError):
            return found[0]
        return found[0] if flag is None else " ".join(f"{flag} {shlex.quote(each)}" for each in _values(value))


def _values(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        return [f"{name}={parameter}" for name, parameter in value.items()]
    return [value] if isinstance(value, str) else map(str, value)  # type: ignore[call-overload]
