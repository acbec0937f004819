"""`make test-all`: test the built wheel on every Airflow and Python that it supports, with dependencies of their time.

Each cell of the matrix has a virtual environment of its own, in which the resolver sees no package that is newer than the
day before the next Airflow's release: what a deployment of that Airflow has. `tests/compat` runs there, from a folder
outside the repository, so that only the wheel can be imported. Where there is a Chromium, it tests Airflow's UI as well.
The last check is that the resolver refuses an older Airflow.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from stop_on_signals import stop_on_signals

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
OLDEST_PYTHON = "3.11"
#: The first of these that this machine has is tested too. On the days of the older Airflows, pendulum has no wheel for 3.14.
NEWER_PYTHONS = ("3.13", "3.12")


class Airflow(NamedTuple):
    """The latest patch of a minor release, and the day up to which packages are of its time."""

    version: str
    day: str


AIRFLOWS = (Airflow("3.1.8", "2026-04-06"), Airflow("3.2.2", "2026-07-05"), Airflow("3.3.2", "2026-11-20"))
TOO_OLD = Airflow("3.0.6", "2025-09-20")
BESIDE = (
    *("apache-airflow-providers-sqlite", "apache-airflow-providers-standard", "apache-airflow-providers-postgres"),
    *("apache-airflow-providers-openlineage", "pytest>=8", "hypothesis>=6.100", "playwright"),
)

console = Console(width=120)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)  # noqa: S603


def must(*command: str | Path, cwd: Path) -> None:
    done = run(*command, cwd=cwd)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def find_python(version: str) -> Path | None:
    """Return an interpreter: uv's, one on the path, or pyenv's. A shim on the path may have no Python behind it."""
    found = run(UV, "python", "find", "--no-python-downloads", version, cwd=ROOT).stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in filter(None, [found, *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))]):
        if run(python, "-c", "import ssl, sqlite3", cwd=ROOT).returncode == 0:
            return Path(python)
    return None


def build_wheel(place: Path) -> Path:
    digests = ("--build-constraints", ROOT / "requirements" / "locked.txt", "--require-hashes")
    must(UV, "build", "--quiet", "--wheel", "--python", sys.executable, *digests, "--out-dir", place, ROOT, cwd=place)
    [wheel] = place.glob("*.whl")
    return wheel


def lay_out_tests(place: Path) -> Path:
    """Copy the parts of the repository that the tests need, and nothing of the package."""
    folder = place / "outside"
    for name in ("pyproject.toml", "tests/conftest.py", "tests/standalone.py", "tests/warm_airflow.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("tests/compat", "scripts", "example_dags"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def test_cell(airflow: Airflow, python: Path, wheel: Path, tests: Path, place: Path) -> tuple[bool, str]:
    """Install the wheel beside that Airflow and run the tests; return whether all passed, and pytest's last line."""
    venv = Path(tempfile.mkdtemp(prefix="cell-", dir=place))
    must(UV, "venv", "--quiet", "--python", python, venv, cwd=place)
    there = venv / "bin" / "python"
    must(
        # Nothing is compiled: images of Airflow have no compiler.
        *(UV, "pip", "install", "--quiet", "--no-build", "--python", there, "--exclude-newer", airflow.day),
        *(f"apache-airflow=={airflow.version}", wheel, *BESIDE),
        cwd=place,
    )
    # The tests must not depend on this run's environment.
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))
    }
    # Files that an interrupted test leaves are removed with this run.
    env["TMPDIR"] = str(place)
    done = run(there, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/compat", cwd=tests, env=env)
    shutil.rmtree(venv)
    if done.returncode:
        console.print(done.stdout[-6000:], done.stderr[-2000:], markup=False, highlight=False)
    lines = done.stdout.strip().splitlines()
    return done.returncode == 0, re.sub(r" in [\d.]+s.*", "", lines[-1]) if lines else "did not start"


def refuses_older(wheel: Path, place: Path) -> tuple[bool, str]:
    """Return whether the resolver refuses the wheel beside an Airflow before 3.1, and what it says."""
    venv = place / "too-old"
    must(UV, "venv", "--quiet", "--python", sys.executable, venv, cwd=place)
    done = run(
        *(UV, "pip", "install", "--dry-run", "--python", venv / "bin" / "python", "--exclude-newer", TOO_OLD.day),
        *(f"apache-airflow=={TOO_OLD.version}", wheel),
        cwd=place,
    )
    says_why = "apache-airflow>=3.1" in done.stderr
    return done.returncode != 0 and says_why, "refused by the resolver" if says_why else done.stderr.strip()[-200:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="VERSION", help="one Airflow, such as 3.1, on the oldest Python alone")
    only = parser.parse_args().only
    stop_on_signals()

    newest = next((version for version in NEWER_PYTHONS if find_python(version)), None)
    pythons = {version: find_python(version) for version in filter(None, [OLDEST_PYTHON, None if only else newest])}
    table = Table("Airflow", "packages up to", "Python", "result", "seconds", title="The wheel on each")
    well = True
    with tempfile.TemporaryDirectory(prefix="compatibility-") as folder:
        place = Path(folder)
        wheel, tests = build_wheel(place), lay_out_tests(place)
        for airflow in AIRFLOWS:
            for version, python in pythons.items():
                if python is None:
                    sys.exit(
                        f"Python {version} is not on this machine; install it, for example with: uv python install {version}"
                    )
                if only and not airflow.version.startswith(only):
                    continue
                started = time.monotonic()
                passed, result = test_cell(airflow, python, wheel, tests, place)
                well &= passed
                seconds = f"{time.monotonic() - started:.0f}"
                console.print(f"Airflow {airflow.version}, Python {version}: {result}, {seconds} s", highlight=False)
                table.add_row(airflow.version, airflow.day, version, result, seconds)
        refused, result = refuses_older(wheel, place)
        well &= refused
        table.add_row(TOO_OLD.version, TOO_OLD.day, OLDEST_PYTHON, result, "")
    console.print(table)
    sys.exit(not well)


if __name__ == "__main__":
    main()
