"""The commands' definition: it names functions that exist, the operators' parameters, and what the docs page has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_adjust.cli.definition import ADJUST, Command, ExitCode, Group, Option
from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.operators.adjust_prune_ledger import AdjustPruneLedgerOperator

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def commands(group: Group, *words: str) -> Iterator[tuple[str, Command]]:
    for each in group.commands:
        if isinstance(each, Group):
            yield from commands(each, *words, each.name)
        else:
            yield " ".join([*words, each.name]), each


COMMANDS = dict(commands(ADJUST))


def options(words: str) -> dict[str, Option]:
    return {option.flags[-1].removeprefix("--").replace("-", "_"): option for option in COMMANDS[words].options}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_its_function_and_its_help(words: str) -> None:
    module, _, name = COMMANDS[words].run.rpartition(".")
    assert list(inspect.signature(getattr(import_module(module), name)).parameters) == ["options", "terminal"]
    assert COMMANDS[words].help
    assert all(option.settings["help"] for option in COMMANDS[words].options)


def test_options_are_the_operators_parameters() -> None:
    parameters = inspect.signature(AdjustDeliveryOperator.__init__).parameters
    own = {"file", "events"}
    for words in ("validate", "preview", "send"):
        assert options(words).keys() - own <= parameters.keys()
    assert options("ledger prune").keys() == {"ledger_conn_id", "older_than_days"}


def test_defaults_are_the_operators() -> None:
    parameters = inspect.signature(AdjustDeliveryOperator.__init__).parameters
    defaults = {
        name: option.settings["default"] for name, option in options("send").items() if "default" in option.settings
    }
    assert defaults == {name: parameters[name].default for name in defaults}
    assert {"max_in_flight", "on_in_doubt", "transport", "timezone", "max_rejected"} <= defaults.keys()
    [days] = [option.settings["default"] for option in COMMANDS["ledger prune"].options if "default" in option.settings]
    older_than = inspect.signature(AdjustPruneLedgerOperator.__init__).parameters["older_than"].default
    assert days == older_than.days


def test_the_docs_name_every_command_and_exit_code() -> None:
    named = set(re.findall(r"^\| `([a-z][a-z -]*)[A-Z ]*` \|", PAGE, re.MULTILINE))
    named = {words.strip() for words in named}
    assert named == COMMANDS.keys()
    assert [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)] == list(ExitCode)
