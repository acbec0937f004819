"""Every library that the package imports is declared in pyproject.toml, or is optional and named here."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from table import table

import airflow_provider_adjust

FOLDER = Path(airflow_provider_adjust.__path__[0])
#: Imported only where a user has installed them.
OPTIONAL = {
    "MySQLdb",
    "airflow.providers.common.compat",  # the OpenLineage provider brings it
    "airflow.providers.openlineage",
    "airflow.providers.slack",
    "airflow.providers.smtp",
    "flask_appbuilder",
    "flask_babel",
    "openlineage",
    "psycopg",
    "psycopg2",
    "pyarrow",
    "pymysql",
    "pytest",
    "wtforms",
}


DISTRIBUTIONS = packages_distributions()  # reads the metadata of all that is installed, which takes a second


def _imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def _library(module: str) -> str:
    """The top-level name of the module. Airflow's providers are distributions of their own."""
    parts = module.split(".")
    if parts[:2] != ["airflow", "providers"]:
        return parts[0]
    return ".".join(parts[: 4 if parts[2] == "common" else 3])


def _distributions(library: str) -> set[str]:
    if library.startswith("airflow."):
        return {"apache-" + library.replace(".", "-")}
    return {"apache-airflow"} if library == "airflow" else set(map(_normal, DISTRIBUTIONS.get(library, ())))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _undeclared(libraries: set[str], dependencies: list[str]) -> set[str]:
    declared = {_normal(re.split(r"[^\w.-]", dependency)[0]) for dependency in dependencies}
    return {library for library in libraries if declared.isdisjoint(_distributions(library))}


def test_every_imported_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {module for file in FOLDER.rglob("*.py") for module in _imports(file.read_text(encoding="utf-8"))}
    libraries = set(map(_library, modules)) - sys.stdlib_module_names - {FOLDER.name}
    assert OPTIONAL - libraries == set(), "these are no longer imported"
    assert _undeclared(libraries - OPTIONAL, project["dependencies"]) == set()
    for dependency in project["dependencies"]:
        others = [each for each in project["dependencies"] if each != dependency]
        name = re.split(r"[^\w.-]", dependency)[0]
        if name != "jinja2":  # fastapi's templates import it
            assert _undeclared(libraries - OPTIONAL, others), f"{name} is declared and not imported"


@table(
    ("system", "machine", "python", "implementation", "expected"),
    [
        *[
            ("linux", machine, f"3.{minor}", "cpython", True)
            for machine in ("x86_64", "aarch64")
            for minor in range(11, 15)
        ],
        *[("darwin", machine, "3.12", "cpython", True) for machine in ("arm64", "x86_64")],
        ("linux", "x86_64", "3.15", "cpython", False),
        ("linux", "x86_64", "3.11", "pypy", False),
        ("linux", "s390x", "3.12", "cpython", False),
        ("linux", "armv7l", "3.12", "cpython", False),
        ("win32", "AMD64", "3.12", "cpython", False),
    ],
)
def test_pycurl_is_asked_for_where_it_has_wheels(
    system: str, machine: str, python: str, implementation: str, expected: bool
) -> None:
    """Elsewhere an installation would have to compile it."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [pycurl] = [each for each in map(Requirement, project["dependencies"]) if each.name == "pycurl"]
    assert pycurl.marker is not None
    there = {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python,
        "implementation_name": implementation,
    }
    assert pycurl.marker.evaluate(there) is expected  # type: ignore[arg-type]
    assert project["optional-dependencies"]["curl"] == [], "requirements that name the extra go on to work"
