"""The rooms beside the protocol are kept apart, as docs/architecture.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_adjust

PACKAGE = airflow_provider_adjust.__name__
FOLDER = Path(airflow_provider_adjust.__path__[0])
SENDING = {"operators", "transfers", "decorators", "s2s.delivery", "s2s.sender", "s2s.intake", "s2s.transports"}

#: What a room or a file imports neither itself nor through another file.
NEVER_REACHES = {
    "get_provider_info": {"airflow", *SENDING, "hooks", "sensors", "triggers", "airflow_versions"},
    "connection_form": {"airflow", *SENDING, "hooks", "sensors", "triggers", "airflow_versions"},
    "reports": {"airflow", *SENDING, "hooks", "sensors", "triggers"},
    "sandbox": {"airflow", *SENDING, "hooks", "sensors", "triggers", "reports"},
    "triggers": {"operators", "transfers", "decorators", "sensors", "hooks.adjust_s2s", "s2s.delivery", "s2s.sender"},
    "hooks": {"operators", "transfers", "decorators", "sensors", "triggers", "notifications", "cli"},
    "sensors": {"operators", "transfers", "decorators", "cli"},
    "links": {"transfers", "decorators", "sensors", "triggers", "s2s.delivery", "s2s.sender"},
    "oldest_airflow": {"s2s", "hooks", "operators", "airflow_versions"},
    "airflow_versions": {"s2s", "hooks", "operators"},
}
#: Thin rooms: a file has one idea and fits in a head.
THIN = {"decorators": 200, "links": 200, "notifications": 200, "cli": 200, "triggers": 120}


def _files(room: str) -> list[Path]:
    path = FOLDER.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(file: Path) -> Iterator[str]:
    """What the file imports when it runs; what only a type checker reads is left out."""
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


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
                module = name.removeprefix(f"{PACKAGE}.")
                files = {path for path in _files(module) if path.name != "__init__.py" and path.is_file()}
                is_module = len(files) == 1 and not FOLDER.joinpath(*module.split(".")).is_dir()
                if is_module:
                    found.add(module)
                    todo |= files - seen
    return found


@pytest.mark.parametrize("room", NEVER_REACHES)
def test_a_room_reaches_nothing_that_it_may_not(room: str) -> None:
    never = NEVER_REACHES[room]
    reached = {name for name in _reached(room) if any(name == each or name.startswith(f"{each}.") for each in never)}
    assert reached == set()


@pytest.mark.parametrize("room", THIN)
def test_a_thin_room_has_no_long_file(room: str) -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in _files(room)}
    assert {name: lines for name, lines in lengths.items() if lines > THIN[room]} == {}


def test_the_rules_speak_of_rooms_that_exist() -> None:
    rooms = set(NEVER_REACHES) | set(THIN) | set().union(*NEVER_REACHES.values()) - {"airflow"}
    assert all(any(file.is_file() for file in _files(room)) for room in rooms)


def test_the_walk_finds_what_is_imported() -> None:
    """Or the rules above would hold of anything."""
    assert {"airflow", "hooks.adjust_connection", "s2s.events"} <= _reached("operators")
