"""The rooms beside the protocol are kept apart, as docs/explanations/architecture.md says."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import airflow_provider_adjust

PACKAGE = airflow_provider_adjust.__name__
FOLDER = Path(airflow_provider_adjust.__path__[0])
PAGE = FOLDER.parent / "docs" / "explanations" / "architecture.md"
MODULES = sorted(FOLDER.rglob("*.py"))
SCRIPTS = FOLDER.parent / "scripts"

#: What sends. `s2s.transports` itself only says what a transport is.
SENDING = {
    "s2s.delivery",
    "s2s.transports.choice",
    "s2s.transports.curl",
    "s2s.transports.requests",
    "hooks.adjust_s2s",
    "routes",
    "delivery_run",
    "files",
    "operators",
    "transfers",
    "decorators",
    "cli.send",
}
#: What Airflow's words are turned into calls of, and so never calls back.
ABOVE_HOOKS = {"operators", "transfers", "sensors", "triggers", "decorators", "links", "notifications", "cli"}

#: What a room or a file imports neither itself nor through another file.
NEVER_REACHES = {
    "get_provider_info": {"airflow", "s2s", "hooks", "assets", *ABOVE_HOOKS},
    "connection_form": {"airflow", "s2s", "hooks", "assets", *ABOVE_HOOKS},
    "adjust_api": {"airflow", "sandbox", "deliveries_page", "reconcile", *SENDING, *ABOVE_HOOKS},
    "reconcile": {"airflow", "sandbox", "deliveries_page", *SENDING, *ABOVE_HOOKS},
    "sources": {"airflow", "sandbox", "deliveries_page", "reconcile", "adjust_api", *SENDING, *ABOVE_HOOKS},
    "hooks": {"sandbox", "deliveries_page", "lineage", *ABOVE_HOOKS},
    "triggers": {"sensors", "lineage", *SENDING},
    "sensors": {"lineage", *SENDING},
    "links": {"s2s", "hooks", "operators", "transfers", "decorators", "sensors", "triggers"},
    "notifications": {"hooks", "sensors", "triggers", *SENDING},
    "deliveries_page": {"hooks", "cli", "sensors", "triggers", *SENDING},
}
#: All that a room or a file imports, Airflow aside. What Airflow reads while it starts stands alone, and a mistake in what
#: the sandbox is to test must not be one in the sandbox, too.
REACHES_ONLY = {
    "sandbox": {"sandbox"},
    "assets": {"assets"},
    "oldest_airflow": set[str](),
    "airflow_versions": set[str](),
    "get_provider_info": {"connection_form"},
    "connection_form": set[str](),
}
NO_AIRFLOW = ("s2s", "adjust_api", "reconcile", "sandbox", "sources", "get_provider_info", "connection_form")
#: A file has one idea and fits in a head; in a thin room it is smaller still.
LONGEST = 450
THIN = {"decorators": 200, "links": 200, "notifications": 200, "cli": 240, "triggers": 120}


def _files(room: str) -> list[Path]:
    path = FOLDER.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(file: Path) -> Iterator[str]:
    """What the file imports at some time, function bodies included; what only a type checker reads is left out."""
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


def _modules(name: str) -> Iterator[tuple[str, Path]]:
    """Our modules that Python runs for an import of that name, packages on the way included."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        path = FOLDER.joinpath(*parts[:length])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                yield ".".join(parts[:length]), file


def _reached(room: str) -> set[str]:
    """Airflow, and our modules under their names without the package's, that the room imports directly or not."""
    found: set[str] = set()
    todo, seen = set(_files(room)), set()
    while todo:
        file = todo.pop()
        seen.add(file)
        for name in _imports(file):
            if name.partition(".")[0] == "airflow":
                found.add("airflow")
            elif name.startswith(f"{PACKAGE}."):
                for module, path in _modules(name.removeprefix(f"{PACKAGE}.")):
                    found.add(module)
                    todo |= {path} - seen
    return found


def _within(names: Iterable[str], places: Iterable[str]) -> set[str]:
    """Those of the names that are one of the places, or in one."""
    return {name for name in names if any(name == place or name.startswith(f"{place}.") for place in places)}


@pytest.mark.parametrize("room", NEVER_REACHES)
def test_a_room_reaches_nothing_that_it_may_not(room: str) -> None:
    assert _within(_reached(room), NEVER_REACHES[room]) == set()


@pytest.mark.parametrize("room", REACHES_ONLY)
def test_a_room_that_stands_alone_reaches_nothing_but_its_own(room: str) -> None:
    reached = _reached(room) - {"airflow", "__init__"}
    parents = {place.rpartition(".")[0] for place in REACHES_ONLY[room]}
    assert reached - _within(reached, REACHES_ONLY[room]) - parents == set()


@pytest.mark.parametrize("room", NO_AIRFLOW)
def test_airflow_is_not_reached_where_it_must_not_be(room: str) -> None:
    assert "airflow" not in _reached(room)


@pytest.mark.parametrize("room", THIN)
def test_a_thin_room_has_no_long_file(room: str) -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in _files(room)}
    assert {name: lines for name, lines in lengths.items() if lines > THIN[room]} == {}


def test_no_file_is_long() -> None:
    lengths = {
        file.relative_to(FOLDER).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in MODULES
    }
    assert {name for name, lines in lengths.items() if lines > LONGEST} == set()


def test_no_two_files_import_each_other() -> None:
    """Neither directly nor through others, nor within a function: a circle is one module in several files."""
    graph: dict[Path, set[Path]] = {}
    for file in MODULES:
        ours = (name.removeprefix(f"{PACKAGE}.") for name in _imports(file) if name.startswith(f"{PACKAGE}."))
        # The last module on the way to a name is the one that has it. The packages around it hold all their modules.
        graph[file] = {modules[-1][1] for name in ours if (modules := list(_modules(name)))}
    circle: list[Path] = []
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
    assert " imports ".join(str(file.relative_to(FOLDER)) for file in reversed(circle)) == ""


def test_nothing_is_printed() -> None:
    """A task's log has levels and masks secrets, and a command writes to the terminal that it was given."""
    printing = [
        f"{file.relative_to(FOLDER)}:{node.lineno}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert printing == []


def test_the_package_imports_nothing_from_scripts() -> None:
    """The wheel does not have them, and the tests, which do, would not notice."""
    scripts = {path.stem for path in SCRIPTS.glob("*.py")} | {path.parent.name for path in SCRIPTS.glob("*/*.py")}
    assert {"demo", "local_airflow", "campaign", "benchmark"} <= scripts
    imported = {
        f"{file.relative_to(FOLDER)}: {name}"
        for file in MODULES
        for name in _imports(file)
        if name.partition(".")[0] in scripts
    }
    assert imported == set()


def test_imports_are_absolute() -> None:
    """Or the walk would not see them."""
    relative = [
        f"{file.relative_to(FOLDER)}:{node.lineno}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_the_page_names_every_room_and_no_other() -> None:
    """Every folder, and every file beside them."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("## Packages")[2].partition("## ")[0]
    named = set(re.findall(r"`([\w./]+)`", "\n".join(line.split("|")[1] for line in re.findall(r"^\|.*", table, re.M))))
    folders = {f"{path.name}/" for path in FOLDER.iterdir() if (path / "__init__.py").is_file()}
    files = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == folders | files


def test_the_rules_speak_of_rooms_that_exist() -> None:
    rooms = {*NEVER_REACHES, *REACHES_ONLY, *THIN, *NO_AIRFLOW}
    rooms |= set().union(*NEVER_REACHES.values(), *REACHES_ONLY.values()) - {"airflow"}
    assert all(any(file.is_file() for file in _files(room)) for room in rooms)


def test_the_walk_finds_what_is_imported() -> None:
    """Or the rules above would hold of anything."""
    found = {"airflow", "hooks.adjust_connection", "s2s.events.event", "s2s.transports.base", "oldest_airflow"}
    assert found <= _reached("operators")
    # Through a package that hands on what one of its modules has.
    assert "sandbox.server" in _reached("sandbox.pytest_plugin")
