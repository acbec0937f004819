"""The constraints pin everything that pyproject.toml asks for, so that each of its groups installs alike on any day.

What is installed here is pinned by the digests of its files as well.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pin_dependencies import pins_of, without_digests
from table import table

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCKED = (REQUIREMENTS / "locked.txt").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked_for() -> dict[str, list[str]]:
    """Requirements by where they stand; what a group includes is listed under its own name."""
    return {
        "build system": PYPROJECT["build-system"]["requires"],
        "dependencies": PYPROJECT["project"]["dependencies"],
        **{f"extra {name}": listed for name, listed in PYPROJECT["project"]["optional-dependencies"].items()},
        **{
            f"group {name}": [entry for entry in listed if isinstance(entry, str)]
            for name, listed in PYPROJECT["dependency-groups"].items()
        },
    }


def pinned() -> dict[str, list[Requirement]]:
    """Constraints by name; a package has several where its release depends on the Python."""
    by_name = defaultdict(list)
    for line in (REQUIREMENTS / "constraints.txt").read_text(encoding="utf-8").splitlines():
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


# --- Digests ----------------------------------------------------------------------------------------------------------


def test_each_pin_that_is_installed_here_has_digests_and_is_the_constraints_one() -> None:
    entries = re.split(r"\n(?=\S)", LOCKED.partition("\n#    ")[2].partition("\n")[2].strip())
    for entry in entries:
        pin, *digests = re.split(r" \\\n +", entry)
        Requirement(pin)
        assert digests, pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", digest) for digest in digests), pin
    assert without_digests(LOCKED) == (REQUIREMENTS / "constraints.txt").read_text(encoding="utf-8")


def test_uv_which_installs_the_rest_is_pinned_in_the_same_release() -> None:
    uv = (REQUIREMENTS / "uv.txt").read_text(encoding="utf-8")
    assert uv.endswith(pins_of("uv", LOCKED))
    assert uv.count("uv==") == 1


def test_no_requirement_names_an_index_a_link_or_a_path() -> None:
    for file in REQUIREMENTS.glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"://|^-|^ +--(?!hash=)| @ ", text, flags=re.MULTILINE), file


def test_nothing_is_installed_without_digests() -> None:
    """A line that installs takes the digests; the source tree itself is installed without its dependencies."""
    places = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / ".github" / "workflows").glob("*.yml")]
    lines = [line.strip() for place in places for line in place.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if not line.startswith("#")]
    installing = [line for line in lines if re.search(r"(?i)\b(pip install|uv\)? build|uvx|pipx|-m build)\b", line)]
    assert len(installing) >= 4
    for line in installing:
        assert "--require-hashes" in line or ("--no-deps" in line and "--build-constraints" in line), line
