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

from benchmark import part
from benchmark.results import Figure, Run, run_of

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


def measure(arguments: argparse.Namespace) -> Run:
    """Both costs, where the clone has the commit; else only this tree's."""
    commit, rounds = arguments.commit, 1 if arguments.quick else arguments.rounds
    here = Path(sys.executable), _ROOT
    known = subprocess.run(["git", "-C", _ROOT, "cat-file", "-e", f"{commit}^{{commit}}"], stderr=subprocess.DEVNULL)  # noqa: S603, S607
    figures: list[Figure] = []
    if known.returncode:
        part.progress(f"This clone has no commit {commit}, so there is nothing to compare with.")
        now = min(cost(*here) for _ in range(rounds))
    else:
        with earlier_python(commit) as (tree, python):
            costs = [(cost(python, tree), cost(*here)) for _ in range(rounds)]
        before, now = (min(each) for each in zip(*costs, strict=True))
        figures.append({"provider": f"at {commit}, with its extra `curl`", "cpu_us": before})
    figures.append({"provider": "now, default installation", "cpu_us": now})
    return run_of("earlier", figures, rounds=rounds)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - git and uv


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--commit", default=COMMIT)
    found.add_argument("--rounds", type=int, default=7)
    return found


if __name__ == "__main__":
    part.main(parser(), measure)
