"""The constraints pin everything that pyproject.toml asks for, so that each of its groups installs alike on any day."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pin_dependencies import APART
from table import table

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked_for() -> dict[str, list[str]]:
    """Requirements by where they stand; what a group includes is listed under its own name."""
    groups = [(name, listed) for name, listed in PYPROJECT["dependency-groups"].items() if name not in APART]
    return {
        "dependencies": PYPROJECT["project"]["dependencies"],
        **{f"extra {name}": listed for name, listed in PYPROJECT["project"]["optional-dependencies"].items()},
        **{f"group {name}": [entry for entry in listed if isinstance(entry, str)] for name, listed in groups},
    }


def pinned() -> dict[str, list[Requirement]]:
    """Constraints by name; a package has several where its release depends on the Python."""
    by_name = defaultdict(list)
    for line in (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            by_name[canonicalize_name(pin.name)].append(pin)
    return by_name


def test_each_constraint_names_one_release() -> None:
    for pins in pinned().values():
        for pin in pins:
            [specifier] = pin.specifier
            assert specifier.operator == "=="
            assert "*" not in specifier.version


@table(
    "requirement",
    [pytest.param(one, id=f"{where}: {one}") for where, listed in asked_for().items() for one in listed],
)
def test_what_is_asked_for_is_pinned_to_a_release_that_will_do(requirement: str) -> None:
    wanted = Requirement(requirement)
    pins = pinned().get(canonicalize_name(wanted.name))
    assert pins, "run scripts/pin_dependencies.py"
    for pin in pins:
        [specifier] = pin.specifier
        assert wanted.specifier.contains(specifier.version), "run scripts/pin_dependencies.py"
