"""The pipeline's stages import only what docs/explanations/architecture.md allows, and the protocol runs without Airflow."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import airflow_provider_adjust
from airflow_provider_adjust import s2s

OURS = airflow_provider_adjust.__name__
PACKAGE = s2s.__name__
FOLDER = Path(s2s.__path__[0])
ROOT = FOLDER.parents[1]
MODULES = sorted(
    module.name.removeprefix(f"{PACKAGE}.") for module in pkgutil.walk_packages(s2s.__path__, f"{PACKAGE}.")
)
#: More than this at the top, and the pipeline does not show in the names.
MOST_AT_THE_TOP = 11


def _stages() -> dict[str, set[str]]:
    """Each stage and the stages that it may import, from the table under "Inside s2s"."""
    text = (ROOT / "docs" / "explanations" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Inside s2s")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w./]+)` \|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    return {_name(stage): {_name(each) for each in re.findall(r"`([\w./]+)`", allowed)} for stage, allowed in rows}


def _name(shown: str) -> str:
    return shown.removesuffix("/").removesuffix(".py")


STAGES = _stages()


def _file(module: str) -> Path:
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(module: str) -> Iterator[str]:
    """Every module that this one names in an import, anywhere in its code."""
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


def test_nothing_of_airflow_is_loaded() -> None:
    """Checked in a process of its own: here, other tests may have loaded Airflow already."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {[f'{PACKAGE}.{module}' for module in MODULES]!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(name for name in sys.modules if name.split('.')[0] == 'airflow')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ran.stdout) == []


def test_no_module_imports_airflow_or_another_room() -> None:
    named = {module: set(_imports(module)) for module in MODULES}
    wrong = {
        module: name
        for module, names in named.items()
        for name in names
        if name.split(".")[0] == "airflow"
        or (name.startswith(f"{OURS}.") and not name.startswith((PACKAGE, f"{OURS}.__version__")))
    }
    assert wrong == {}


def test_a_stage_imports_only_those_that_it_may() -> None:
    imported = {
        (module, name)
        for module in MODULES
        for name in _own_imports(module)
        if name.split(".")[0] not in {module.split(".")[0], *STAGES[module.split(".")[0]]}
    }
    assert imported == set()


def test_the_table_names_every_stage_and_the_order_has_no_circle() -> None:
    """A stage may import only stages that stand above it in the table."""
    assert set(STAGES) == {module.split(".")[0] for module in MODULES}
    order = list(STAGES)
    assert all(order.index(each) < order.index(stage) for stage, allowed in STAGES.items() for each in allowed)
    assert len(order) <= MOST_AT_THE_TOP
