"""Run every part of the benchmarks, and write docs/explanations/benchmarks.md with its plots: `make bench`.

    python -m benchmark                        # some twenty minutes
    python -m benchmark --quick                # a minute or two, to see that it works; writes nothing

The part senders, alone, is ``python -m benchmark.senders``, and so on: see benchmark/results.py for their names. What a part
has found is written before the next begins.
"""

from __future__ import annotations

import importlib

from stop_on_signals import stop_on_signals

from benchmark import part
from benchmark.results import PARTS


def main() -> None:
    arguments = part.parser(__doc__).parse_args()
    stop_on_signals()
    for name in PARTS:
        part.progress(f"--- {name}")
        module = importlib.import_module(f"benchmark.{name}")
        run = module.measure(module.parser().parse_args(["--quick"] if arguments.quick else []))
        part.hand_in(run, write=arguments.write or not arguments.quick)


if __name__ == "__main__":
    main()
