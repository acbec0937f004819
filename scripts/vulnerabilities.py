"""Fail at a known vulnerability of what an installation brings: `make release`, and each night on GitHub.

    python scripts/vulnerabilities.py .venv-runtime

pip-audit asks OSV's database about each package. A finding that does not concern this package, or has no fix yet, goes into
`requirements/allowed_vulnerabilities.toml` with its reason and a date, after which it fails again. Where the database cannot
be reached, one sentence says so and nothing fails. Libraries inside wheels are not packages: for these, give
`build/sbom.cdx.json` to a scanner that reads CycloneDX.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from bundled_libraries import site_packages_of
from pin_dependencies import REQUIREMENTS

DATABASE = "https://api.osv.dev/v1/query"
ALLOWED = REQUIREMENTS / "allowed_vulnerabilities.toml"


class Allowed(NamedTuple):
    """A vulnerability that may stay for some time, and why."""

    id: str
    package: str
    reason: str
    until: date


class Finding(NamedTuple):
    """A known vulnerability of an installed package."""

    package: str
    version: str
    ids: tuple[str, ...]
    summary: str
    fixed_in: tuple[str, ...]

    def is_of(self, entry: Allowed) -> bool:
        return entry.package == self.package and entry.id in self.ids

    def __str__(self) -> str:
        if self.fixed_in:
            pinned = f"python scripts/pin_dependencies.py --upgrade-package {self.package}"
            remedy = f"fixed in {', '.join(self.fixed_in)}: run `{pinned}`, and raise the bound in pyproject.toml"
        else:
            remedy = f"no release has a fix: do without {self.package}, or allow it in {ALLOWED.name}"
        return f"{self.package} {self.version}: {', '.join(self.ids)}: {self.summary}\n  {remedy}"


def read_allowed(file: Path) -> list[Allowed]:
    """Return the file's entries; exit at one without a reason or a date."""
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("allowed", [])
    for entry in entries:
        if set(entry) != set(Allowed._fields) or type(entry["until"]) is not date or not str(entry["reason"]).strip():
            raise SystemExit(f"{file.name}: each entry needs id, package, reason and until (a date), not {entry}")
    return [Allowed(**entry) for entry in entries]


def why_unreachable(database: str) -> str | None:
    """Return why the database gives no answers, or None if it does."""
    asked = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0"}
    try:
        httpx.post(database, json=asked, timeout=15).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        return type(error).__name__
    return None


def scan(site_packages: Path, database: str) -> list[Finding]:
    """Return the known vulnerabilities of the packages in that folder."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--path", str(site_packages), "--vulnerability-service", "osv"),
        *("--osv-url", database, "--format", "json", "--progress-spinner", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        raise SystemExit(f"the vulnerability scan broke off; run it again:\n{done.stderr[-2000:]}") from None
    return [
        Finding(
            package["name"],
            package["version"],
            tuple(sorted({found["id"], *found["aliases"]})),
            found["description"].partition("\n")[0][:200],
            tuple(found["fix_versions"]),
        )
        for package in packages
        for found in package.get("vulns", ())
    ]


def judge(findings: list[Finding], allowed: list[Allowed], today: date) -> tuple[list[str], list[str]]:
    """Return the failures, and the notes."""
    wrong, notes = [], []
    for finding in findings:
        entry = next((entry for entry in allowed if finding.is_of(entry)), None)
        if entry is None:
            wrong.append(str(finding))
        elif entry.until < today:
            wrong.append(f"{finding}\n  It was allowed until {entry.until}: {entry.reason}")
        else:
            notes.append(
                f"{finding.package} {finding.version}: {entry.id} is allowed until {entry.until}: {entry.reason}"
            )
    unused = [entry for entry in allowed if not any(finding.is_of(entry) for finding in findings)]
    notes += [f"{entry.package} no longer has {entry.id}: remove it from {ALLOWED.name}" for entry in unused]
    return wrong, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="a virtual environment")
    parser.add_argument("--database", default=DATABASE, help="URL of OSV's query")
    parser.add_argument("--allowed", type=Path, default=ALLOWED, help="file of what may stay")
    arguments = parser.parse_args()
    allowed = read_allowed(arguments.allowed)
    if why := why_unreachable(arguments.database):
        print(f"Not scanned for known vulnerabilities: {arguments.database} cannot be reached ({why}).")
        return
    findings = scan(site_packages_of(arguments.environment), arguments.database)
    wrong, notes = judge(findings, allowed, date.today())
    for note in notes:
        print(note)
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"No known vulnerability is open, by {arguments.database}.")


if __name__ == "__main__":
    main()
