"""The protocol stands on its own, and data flows one way through it."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import airflow_provider_adjust
from airflow_provider_adjust import s2s

OURS = airflow_provider_adjust.__name__
PACKAGE = s2s.__name__
FOLDER = Path(s2s.__path__[0])
MODULES = sorted(
    module.name.removeprefix(f"{PACKAGE}.") for module in pkgutil.walk_packages(s2s.__path__, f"{PACKAGE}.")
)
#: The stages of the pipeline: the modules of each, and the stages that they may import beside their own.
STAGES: dict[str, tuple[set[str], set[str]]] = {
    "ground": ({"errors", "bounds", "shown"}, set()),
    "rows": ({"rows", "endpoint", "values", "times", "columns", "violations", "form_encoding"}, {"ground"}),
    "events": ({"events"}, {"ground", "rows"}),
    "transports": ({"transports", "api_call"}, {"ground"}),
    "answers": ({"responses", "echoes", "pace"}, {"ground", "rows"}),
    "receipts": ({"receipts"}, {"ground", "events", "answers"}),
    "schedule": ({"schedule", "probes", "retries"}, {"events"}),
    "intake": ({"intake", "source"}, {"ground", "rows", "events", "answers", "receipts", "schedule"}),
    "outcomes": (
        {"verdicts", "verification", "device_api"},
        {"ground", "events", "transports", "answers", "receipts", "schedule"},
    ),
    "delivery": (
        {"admission", "delivery"},
        {"ground", "transports", "answers", "receipts", "schedule", "intake", "outcomes"},
    ),
    "memory": (
        {"checkpoint"} | {name for name in MODULES if name.partition("_")[0] == "ledger"},
        {"ground", "events", "answers", "receipts", "schedule", "outcomes"},
    ),
    "told": ({"rejected", "reporting"}, {"ground", "rows", "answers", "receipts"}),
    "sender": (
        {"sender"},
        {"ground", "rows", "events", "transports", "receipts", "schedule", "intake", "outcomes", "delivery", "memory"},
    ),
}
STAGE_OF = {module: stage for stage, (modules, _) in STAGES.items() for module in modules}


def _file(module: str) -> Path:
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(module: str) -> Iterator[str]:
    """Every module that this one names in an import, wherever in its code."""
    for node in ast.walk(ast.parse(_file(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _own_imports(module: str) -> set[str]:
    """The modules of the protocol that this one imports."""
    names = (name.removeprefix(f"{PACKAGE}.") for name in _imports(module) if name.startswith(f"{PACKAGE}."))
    return {name for name in names if name in MODULES}


def _parts(module: str) -> set[str]:
    """The module, and what lies in it if it is a package."""
    return {module, *(name for name in MODULES if name.startswith(f"{module}."))}


def _reachable(module: str) -> set[str]:
    found: set[str] = set()
    todo = _parts(module)
    while todo:
        found |= todo
        todo = {name for each in todo for name in _own_imports(each)} - found
    return found


def test_nothing_of_airflow_is_loaded() -> None:
    """Checked in a process of its own: here, other tests may have loaded Airflow already."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {[f'{PACKAGE}.{module}' for module in MODULES]!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(name for name in sys.modules if name.split('.')[0] == 'airflow')))"
    )
    root = Path(airflow_provider_adjust.__path__[0]).parent
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ran.stdout) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_names_airflow_or_what_is_built_on_the_protocol(module: str) -> None:
    for name in _imports(module):
        assert name.split(".")[0] != "airflow"
        if name.startswith(f"{OURS}."):
            assert name.startswith((PACKAGE, f"{OURS}.__version__"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_those_that_it_may(stage: str) -> None:
    modules, may_import = STAGES[stage]
    imported = {name for module in modules for each in _parts(module) for name in _own_imports(each)}
    assert {STAGE_OF[name.split(".")[0]] for name in imported} <= {stage, *may_import}


def test_the_order_of_the_pipeline_has_no_circle() -> None:
    for module in MODULES:
        for imported in _own_imports(module):
            if not imported.startswith(module):
                assert module not in _reachable(imported), f"{module} and {imported} import each other"


def test_every_module_belongs_to_one_stage() -> None:
    placed = [module for modules, _ in STAGES.values() for module in modules]
    assert sorted(placed) == sorted({module.split(".")[0] for module in MODULES})
