"""Pin in requirements/constraints.txt what pyproject.toml newly asks for; what is pinned already stays.

    python scripts/pin_dependencies.py
    python scripts/pin_dependencies.py --upgrade                # renew every pin
    python scripts/pin_dependencies.py --airflow 3.4.0 --upgrade

The tests, the demo and CI install these releases. Run it with the Python of `.venv`, which has uv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = Path("requirements", "constraints.txt")
#: The Airflow that the tests run on.
AIRFLOW = "3.3.2"
#: Groups with a virtual environment of their own, since they contradict the pins.
APART = {"fab", "warehouses", "mysql", "clouds"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", default=AIRFLOW, help="Airflow's release")
    parser.add_argument("--upgrade", action="store_true", help="renew every pin")
    arguments = parser.parse_args()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = sorted(pyproject["dependency-groups"].keys() - APART)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as airflow:
        airflow.write(f"apache-airflow=={arguments.airflow}\n")
        airflow.flush()
        command = [
            *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "pyproject.toml", "--all-extras"),
            *(f"--group={group}" for group in groups),
            *("-c", airflow.name, "--universal", "--python-version", "3.11", "--quiet"),
            *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
            *("--custom-compile-command", "python scripts/pin_dependencies.py", "--output-file", str(CONSTRAINTS)),
            *(["--upgrade"] if arguments.upgrade else []),
        ]
        raise SystemExit(subprocess.run(command, cwd=ROOT, check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main()
