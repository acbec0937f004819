"""Keep the figures of a run, and bring the page of benchmarks and its pictures up to date.

PYTHONPATH=scripts python -m benchmark.writer    # only write, from the figures that are there
"""

from __future__ import annotations

from pathlib import Path

from benchmark import page, pictures, results
from benchmark.results import Run


def write(run: Run | None = None, docs: Path = page.DOCS) -> None:
    """Replace the figures of the run's part, and write all that is made of figures. A part without any stays as it is."""
    runs = results.load(docs / page.RESULTS)
    if run is not None:
        runs[run.part] = run
        results.save(docs / page.RESULTS, runs)
    path = docs / page.PAGE
    path.write_text(page.brought_up_to_date(path.read_text(encoding="utf-8"), runs), encoding="utf-8")
    pictures.draw(runs, docs / "images")


if __name__ == "__main__":
    write()
