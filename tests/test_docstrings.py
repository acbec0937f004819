"""What the public classes say of themselves is complete and runs: the site, the registry and editors show it."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from table import table

from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.option_arguments import argument_fields
from airflow_provider_adjust.s2s import RowOptions, SendOptions
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "python.rst"
CLASSES = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
#: What a reader does not make: bases, and what the provider hands out.
NOT_MADE = {AdjustDeliveryOperator.__name__, AdjustWaitingSensor.__name__, "Receipt", "DeliveryReport"}
EXAMPLE = re.compile(r"^\.\. code-block:: python\n\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("path", [path for path in CLASSES if path.rpartition(".")[2] not in NOT_MADE])
def test_the_example_of_a_docstring_runs(
    path: str, adjust_sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It imports what it uses, and leaves nothing out."""
    monkeypatch.chdir(tmp_path)
    examples = EXAMPLE.findall(inspect.getdoc(named(path)) or "")
    assert examples, "the docstring has no example"
    for example in examples:
        code = textwrap.dedent(example)
        assert "..." not in code
        with DAG("a_dag_of_a_docstring", schedule=None):
            exec(compile(code, path, "exec"), {"__name__": "example_of_a_docstring"})


@table("options", [RowOptions, SendOptions])
def test_the_docstring_of_an_options_class_has_each_field_with_its_help(options: Any) -> None:
    documented = dict(re.findall(r"^:param (\w+): (.+)\.$", inspect.getdoc(options) or "", re.MULTILINE))
    assert documented == {each.name: each.metadata["help"].replace("`", "``") for each in fields(options)}


@table("path", [path for path in CLASSES if "operators" in path or "sensors" in path or "transfers" in path])
def test_a_docstring_names_each_argument_in_order_and_says_whether_it_is_a_template(path: str) -> None:
    operator = named(path)
    fields = argument_fields(RowOptions, SendOptions) if operator is AdjustDeliveryOperator else ()
    options = {field.name for field in fields}
    parameters = inspect.signature(operator.__init__).parameters
    own = [name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY and name not in options]
    documented = dict(re.findall(r"^:param (\w+): (.*(?:\n[ \t]+.*)*)", inspect.getdoc(operator) or "", re.MULTILINE))
    assert list(documented) == own
    templates = [name for name, text in documented.items() if text.strip().endswith("(templated)")]
    assert templates == [name for name in own if name in operator.template_fields]
