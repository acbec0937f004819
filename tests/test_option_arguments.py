"""An option is written once, as a field, and appears in an operator, in its mapped form, on the command line and in the docs."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_adjust.cli.option import options_of as command_options_of
from airflow_provider_adjust.option_arguments import options_of, takes_options, templated
from airflow_provider_adjust.s2s.events.options import option

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    colour: str | None = option(help="which colour", metavar="COLOUR", templated=True)
    names: Mapping[str, str] | None = option(help="names by name", metavar="NAME=NAME")
    size: int = option(3, help="how large", metavar="NUMBER")
    kind: Literal["a", "b"] = option("a", help="which kind")
    inner: float = option(0.5, help="for Python only", argument=False)


class MadeUpOperator(BaseOperator):
    template_fields = templated(MadeUp)

    @takes_options(MadeUp)
    def __init__(self, *, own: str = "own", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.own = own


def test_an_operator_takes_the_fields_and_gives_the_options_back() -> None:
    operator = MadeUpOperator(task_id="t", colour="red", names={"a": "b"}, own="mine")
    assert options_of(operator, MadeUp) == MadeUp(colour="red", names={"a": "b"})
    assert operator.own == "mine"
    assert operator.template_fields == ("colour",)
    assert list(inspect.signature(MadeUpOperator.__init__).parameters)[1:6] == [
        "own",
        "colour",
        "names",
        "size",
        "kind",
    ]


def test_what_is_not_a_field_is_refused() -> None:
    for unknown in ({"color": "red"}, {"inner": 1.0}):
        with pytest.raises(TypeError, match=next(iter(unknown))):
            MadeUpOperator(task_id="t", **unknown)


def test_default_args_and_mapped_tasks_reach_the_fields() -> None:
    with DAG("made_up", schedule=None, default_args={"size": 7}):
        plain = MadeUpOperator(task_id="plain")
        mapped = MadeUpOperator.partial(task_id="mapped", kind="b").expand(colour=["red", "blue"])
    assert options_of(plain, MadeUp).size == 7
    assert mapped.partial_kwargs["kind"] == "b"
    with pytest.raises(TypeError, match="color"), DAG("wrong", schedule=None):
        MadeUpOperator.partial(task_id="mapped", color="b").expand(colour=["red"])


def test_the_command_line_has_an_option_for_each() -> None:
    found = {option.flags[0]: option.settings for option in command_options_of(MadeUp)}
    assert found == {
        "--colour": {"help": "which colour", "metavar": "COLOUR", "type": str, "default": None},
        "--names": {"help": "names by name; may be repeated", "metavar": "NAME=NAME", "action": "append"},
        "--size": {"help": "how large (default: 3)", "metavar": "NUMBER", "type": int, "default": 3},
        "--kind": {"help": "which kind (default: a)", "choices": ("a", "b"), "default": "a"},
    }


def test_the_docs_have_a_row_for_each() -> None:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    rows = generator.options_table(MadeUp).splitlines()[2:]
    assert rows[0] == "| `colour` | `None` | yes | Which colour. |"
    assert rows[3] == '| `kind` | `"a"` | no | Which kind. |'
    assert len(rows) == 4
