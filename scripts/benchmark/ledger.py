"""Measure the ledger on Postgres, without sending: `make bench BENCH=ledger`.

This is ``scripts/ledger_size.py`` with the batches of two settings: 32 in flight, and 450.
"""

from __future__ import annotations

import argparse

import sqlalchemy as sa
from ledger_size import sizes, vacuum, write
from own_postgres import own_postgres

from benchmark import part
from benchmark.results import Figure, Run, run_of

#: Events in a batch, by `max_in_flight`: two times that, at least 64.
BATCHES = {32: 64, 450: 900}


def once(events: int, batch: int) -> dict[str, int]:
    with own_postgres() as server:
        engine = sa.create_engine(sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2"))
        spent = write(engine, events, batch)
        written = sum(sizes(engine).values())
        vacuum(engine, "FULL")
        packed = sum(sizes(engine).values())
        engine.dispose()
    return {
        "cpu_us": round(spent.processor / events * 1e6),
        "bytes_written": round(written / events),
        "bytes_packed": round(packed / events),
    }


def measure(arguments: argparse.Namespace) -> Run:
    events = 2_000 if arguments.quick else arguments.events
    figures: list[Figure] = []
    for in_flight, batch in BATCHES.items():
        rounds = [once(events, batch) for _ in range(1 if arguments.quick else arguments.rounds)]
        part.progress(f"batches of {batch}: {rounds}")
        found = {key: [each[key] for each in rounds] for key in rounds[0]}
        figures.append({"in_flight": in_flight, "batch": batch, **found})
    return run_of("ledger", figures, events=events)


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--events", type=int, default=200_000)
    found.add_argument("--rounds", type=int, default=1)
    return found


if __name__ == "__main__":
    part.main(parser(), measure)
