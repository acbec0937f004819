"""Measure the ledger without sending: `make bench BENCH=ledger`.

This is ``scripts/ledger_size.py`` on Postgres, with the batches of two settings, 32 in flight and 256; and on
Postgres and SQLite one large task after ten small ones, to show that it costs no more at its end than at its beginning.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import sqlalchemy as sa
from ledger_size import sizes, vacuum, write
from own_postgres import own_postgres

from benchmark import part
from benchmark.results import Figure, Run, run_of

#: Events in a batch, by `max_in_flight`: two times that, at least 64.
BATCHES = {32: 64, 256: 512}
#: How many parts of a large task are compared, and how many small tasks run before it.
PARTS, TASKS_BEFORE = 6, 10
_BATCH = 128


@contextmanager
def postgres() -> Iterator[sa.Engine]:
    with own_postgres() as server:
        engine = sa.create_engine(sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2"))
        yield engine
        engine.dispose()


@contextmanager
def sqlite() -> Iterator[sa.Engine]:
    with tempfile.TemporaryDirectory(prefix="adjust-benchmark-") as folder:
        engine = sa.create_engine(f"sqlite:///{folder}/ledger.db")
        yield engine
        engine.dispose()


def over_time(engine: sa.Engine, events: int) -> list[float]:
    """Microseconds an event in each part of a task, from the first to the last."""
    part = events // PARTS
    for task in range(TASKS_BEFORE):
        write(engine, part // TASKS_BEFORE, _BATCH, first=events + task * part)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")  # as a database does on its own, before it knows the large task
    ends = [(0, 0.0)]

    def note(written: int, seconds: float) -> None:
        if written - ends[-1][0] >= part or written == events:
            ends.append((written, seconds))

    write(engine, events, _BATCH, on_batch=note)
    return [round((end - start) / (last - first) * 1e6) for (first, start), (last, end) in pairwise(ends)]


def once(events: int, batch: int) -> dict[str, int]:
    with postgres() as engine:
        spent = write(engine, events, batch)
        written = sum(sizes(engine).values())
        vacuum(engine, "FULL")
        packed = sum(sizes(engine).values())
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
    for database in (postgres, sqlite):
        with database() as engine:
            parts = over_time(engine, events)
        part.progress(f"one task on {database.__name__}: {parts} us an event")
        figures.append({"database": database.__name__, "parts_us": parts})
    return run_of("ledger", figures, events=events)


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--events", type=int, default=200_000)
    found.add_argument("--rounds", type=int, default=1)
    return found


if __name__ == "__main__":
    part.main(parser(), measure)
