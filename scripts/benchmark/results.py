"""The figures of the benchmarks as data, in a file with one JSON object a line.

A part of the benchmarks has a line that says when and where it ran and with which settings, and a line for each of its
figures. A run of one part replaces the lines of that part.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: The parts, in the order in which they run and stand in the file.
PARTS = ("senders", "refusals", "earlier", "ledger", "scale", "startup")

Figure = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a part of the benchmarks found, when, and on which machine."""

    part: str
    date: str
    machine: str
    python: str
    settings: dict[str, Any]
    figures: list[Figure]

    @property
    def where(self) -> str:
        """The date and the machine, as the page has it."""
        return f"{self.date}, {self.machine}, Python {self.python}"


def run_of(part: str, figures: list[Figure], **settings: Any) -> Run:
    """A run that took place just now, on this machine."""
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return Run(part, datetime.now(UTC).date().isoformat(), machine, platform.python_version(), settings, figures)


def load(file: Path) -> dict[str, Run]:
    """The runs in the file, by part."""
    runs: dict[str, Run] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        found = json.loads(line)
        if "date" in found:
            runs[found["part"]] = Run(**found, figures=[])
        else:
            runs[found.pop("part")].figures.append(found)
    return runs


def save(file: Path, runs: dict[str, Run]) -> None:
    """Write the runs, in the order of PARTS."""
    lines = []
    for part in PARTS:
        if run := runs.get(part):
            lines.append({name: value for name, value in asdict(run).items() if name != "figures"})
            lines += [{"part": part, **figure} for figure in run.figures]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def span(values: list[float], form: str = ",.0f") -> str:
    """The least and the most, or the only one, as text."""
    low, high = (format(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
