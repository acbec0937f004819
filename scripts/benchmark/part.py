"""What the parts of the benchmarks have in common: their options, and where their figures go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from stop_on_signals import stop_on_signals

from benchmark import page
from benchmark.results import Run


def parser(description: str | None) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--quick", action="store_true", help="few events, to see that it works")
    found.add_argument(
        "--write",
        action="store_true",
        help="write docs/explanations/benchmarks.md in any case; else without options only",
    )
    return found


def progress(what: str) -> None:
    """Say what was measured: a part takes minutes, and its tables come at its end."""
    print(what, file=sys.stderr, flush=True)


def hand_in(run: Run, *, write: bool) -> None:
    """Print the part's section of the page; write it there too, with its figures and pictures."""
    print(f"\n{page.section(run)}\n", flush=True)
    if write:
        from benchmark import writer  # needs matplotlib

        writer.write(run)


def is_for_the_page(of_part: argparse.ArgumentParser, arguments: argparse.Namespace) -> bool:
    """With options, the figures are not those of the page, unless ``--write`` says that they are."""
    return bool(arguments.write) or arguments == of_part.parse_args([])


def main(of_part: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Run]) -> None:
    """Measure one part."""
    arguments = of_part.parse_args()
    stop_on_signals()
    hand_in(measure(arguments), write=is_for_the_page(of_part, arguments))
