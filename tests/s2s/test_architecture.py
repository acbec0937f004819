"""The protocol stands on its own, and data flows one way through it."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
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
#: What is right of a module in the pipeline, and so never imported by it, directly or through another.
RIGHT_OF = {
    "errors": set(MODULES) - {"errors"},
    "endpoint": {
        "events",
        "schedule",
        "delivery",
        "receipts",
        "responses",
        "transports",
        "intake",
        "sender",
        "rejected",
    },
    "values": {"events", "times", "schedule", "delivery", "receipts", "responses", "transports", "intake", "sender"},
    "times": {"events", "schedule", "delivery", "receipts", "responses", "transports", "intake", "sender", "rejected"},
    "events": {"schedule", "delivery", "receipts", "responses", "transports", "intake", "sender", "rejected", "pace"},
    "schedule": {"delivery", "receipts", "responses", "transports", "intake", "sender", "rejected", "pace"},
    "transports": {"events", "schedule", "delivery", "receipts", "responses", "intake", "sender", "pace"},
    "responses": {"events", "schedule", "delivery", "receipts", "transports", "intake", "sender", "pace"},
    "pace": {"events", "schedule", "delivery", "receipts", "transports", "intake", "sender"},
    "receipts": {"schedule", "delivery", "transports", "intake", "sender", "rejected", "reporting"},
    "rejected": {"schedule", "delivery", "transports", "intake", "sender", "reporting"},
    "reporting": {"schedule", "delivery", "transports", "intake", "sender"},
    "intake": {"delivery", "transports", "sender", "rejected", "reporting"},
    "delivery": {"intake", "sender", "rejected", "reporting"},
}


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


def _own_imports(module: str) -> set[str]:
    """The modules of the protocol that this one imports."""
    names = (name.removeprefix(f"{PACKAGE}.") for name in _imports(module) if name.startswith(f"{PACKAGE}."))
    return {name for name in names if name in MODULES}


def _reachable(module: str) -> set[str]:
    found: set[str] = set()
    todo = {module, *(name for name in MODULES if name.startswith(f"{module}."))}
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


@pytest.mark.parametrize("module", sorted(RIGHT_OF))
def test_nothing_imports_what_is_right_of_it(module: str) -> None:
    reachable = {name.split(".")[0] for name in _reachable(module)} - {module}
    assert reachable & RIGHT_OF[module] == set()


def test_the_order_of_the_pipeline_has_no_circle() -> None:
    for module in MODULES:
        for imported in _own_imports(module):
            if not imported.startswith(module):
                assert module not in _reachable(imported), f"{module} and {imported} import each other"


def test_the_rules_above_speak_of_modules_that_exist() -> None:
    assert RIGHT_OF.keys() | set().union(*RIGHT_OF.values()) <= set(MODULES)
