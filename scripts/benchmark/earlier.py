"""Measure the pipeline's own cost of an event beside that of an earlier commit, which runs in an environment of its own.

    python -m benchmark.earlier                         # this tree, and the commit before the pipeline was rewritten
    python -m benchmark.earlier --commit 6fd64ea --rounds 12

Each tree runs its own ``scripts/pipeline_cost.py``, and they take turns, so that other load on the machine affects both.
The best round counts. Processor time is taken by each process for itself.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from stop_on_signals import stop_on_signals

_ROOT = Path(__file__).resolve().parents[2]
#: The last commit before rows of one shape were read in one pass.
COMMIT = "6fd64ea"
_COST = re.compile(r"([0-9.]+) us an event")


@contextmanager
def earlier_python(commit: str) -> Iterator[tuple[Path, Path]]:
    """The tree of a commit, and the Python of an environment in which it is installed with its extra ``curl``."""
    with TemporaryDirectory(prefix="adjust-earlier-") as folder:
        tree, environment = Path(folder, "tree"), Path(folder, "environment")
        uv = Path(sys.executable).with_name("uv")
        _run("git", "-C", _ROOT, "worktree", "add", "--quiet", "--detach", tree, commit)
        try:
            _run(uv, "venv", "--quiet", "--python", sys.executable, environment)
            python = environment / "bin" / "python"
            _run(uv, "pip", "install", "--quiet", "--python", python, f"{tree}[curl]")
            yield tree, python
        finally:
            _run("git", "-C", _ROOT, "worktree", "remove", "--force", tree)


def cost(python: Path, tree: Path) -> float:
    """Microseconds of processor time an event, in one round."""
    script = tree / "scripts" / "pipeline_cost.py"
    done = subprocess.run([python, script, "--rounds", "1"], cwd=tree, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    found = _COST.search(done.stdout)
    assert found is not None, done.stdout  # noqa: S101
    return float(found[1])


def compare(commit: str = COMMIT, rounds: int = 7) -> None:
    """Print a table of both, where the clone has the commit."""
    known = subprocess.run(["git", "-C", _ROOT, "cat-file", "-e", f"{commit}^{{commit}}"], stderr=subprocess.DEVNULL)  # noqa: S603, S607
    if known.returncode:
        print(f"\nThis clone has no commit {commit}, so the pipeline was not compared with an earlier one.")
        return
    with earlier_python(commit) as (tree, python):
        costs = [(cost(python, tree), cost(Path(sys.executable), _ROOT)) for _ in range(rounds)]
    before, now = (min(each) for each in zip(*costs, strict=True))
    print(f"\n### The pipeline alone, the best of {rounds} rounds\n")
    print("| provider | CPU, us an event | of the earlier |\n|---|---:|---:|")
    print(f"| at {commit}, with its extra `curl` | {before:.1f} | 100% |")
    print(f"| now, default installation | {now:.1f} | {now / before:.0%} |", flush=True)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - git and uv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default=COMMIT)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    stop_on_signals()
    compare(arguments.commit, arguments.rounds)


if __name__ == "__main__":
    main()
