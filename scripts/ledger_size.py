"""Measure the ledger on Postgres: bytes an event with the indexes, the sender's processor time, and how long pruning takes.

The script claims and settles events in batches, as a delivery does, in a Postgres of its own. It sends nothing. The
processor time is that of this process without the making of the events; Postgres' own comes on top.

    python scripts/ledger_size.py --events 400000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import sqlalchemy as sa
from own_postgres import own_postgres
from stop_on_signals import stop_on_signals

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import receipt_for
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

_APP, _EVENT = "4w565xzmb54d", "f0ob4r"
_DAYS = 4


def jobs(events: int, first: int = 0) -> Iterator[Job]:
    """Purchases of four days, with the order's number as their id.

    :param first: the number of the first order.
    """
    now = datetime.now(UTC)
    start = now - timedelta(days=_DAYS)
    parser = EventParser(RowOptions(app_token=_APP, event_token=_EVENT, environment="production", id_field="order_id"))
    for number in range(events):
        row = {
            "order_id": f"order-{first + number:09}",
            "created_at": start + timedelta(days=_DAYS) * (number / events),
            "revenue": f"{number % 9999 + 1}.25",
            "currency": "USD",
            "gps_adid": f"device-{number // 2}",
        }
        yield Job(parser.parse(row, now=now), number + 1)


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of writing: elapsed seconds, and seconds of the sender's processor."""

    clock: float
    processor: float


def write(
    engine: sa.Engine,
    events: int,
    batch_size: int,
    *,
    first: int = 0,
    on_batch: Callable[[int, float], None] = lambda _, __: None,
) -> Spent:
    """Claim and settle the events as one task.

    :param first: the number of the first order, which also tells the run from others.
    :param on_batch: called after each batch with the number of events and the seconds so far.
    """
    task = TaskInstanceId("adjust_sharded", f"scheduled__2026-11-18T00:00:00+00:00-{first}", "send_purchases", 3)
    ledger = Ledger(engine, task, batch_size=batch_size)
    ledger.attach({None: "s2s.adjust.com"})
    waiting = jobs(events, first)
    written = 0
    # Creating events does not count; the writing thread may work meanwhile.
    making_clock = making_processor = 0.0
    clock, processor = time.perf_counter(), time.process_time()
    while True:
        making = time.perf_counter(), time.thread_time()
        batch = list(islice(waiting, batch_size))
        making_clock += time.perf_counter() - making[0]
        making_processor += time.thread_time() - making[1]
        if not batch:
            break
        ledger.begin_claim(batch).result()
        for job in batch:
            ledger.settle(receipt_for(job, Outcome.DELIVERED, "", "", http_status=200))
        written += len(batch)
        on_batch(written, time.perf_counter() - clock - making_clock)
    ledger.end()
    ledger.close()
    return Spent(
        time.perf_counter() - clock - making_clock,
        time.process_time() - processor - making_processor,
    )


def sizes(engine: sa.Engine) -> dict[str, int]:
    """Bytes of the table and of each index."""
    query = """SELECT relname, pg_table_size(oid) FROM pg_class WHERE oid = 'adjust_event'::regclass
        UNION ALL SELECT indexrelid::regclass::text, pg_relation_size(indexrelid)
        FROM pg_index WHERE indrelid = 'adjust_event'::regclass"""
    with engine.connect() as connection:
        return dict(connection.execute(sa.text(query)).all())


def vacuum(engine: sa.Engine, how: str = "") -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"VACUUM {how} adjust_event"))


def report(what: str, engine: sa.Engine, events: int) -> None:
    found = sizes(engine)
    each = ", ".join(f"{name} {size / events:,.0f}" for name, size in found.items())
    print(f"| {what} | {sum(found.values()) / events:,.0f} | {each} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--batch-size", type=int, default=64, help="twice a task's max_in_flight, and at least 64")
    arguments = parser.parse_args()
    stop_on_signals()
    with own_postgres() as server:
        engine = sa.create_engine(sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2"))
        measure(engine, arguments.events, arguments.batch_size)
        engine.dispose()


def measure(engine: sa.Engine, events: int, batch_size: int) -> None:
    spent = write(engine, events, batch_size)
    print(
        f"{events:,} events claimed and settled in batches of {batch_size}, in {spent.clock:,.0f} s: "
        f"{events / spent.clock:,.0f} a second, {spent.processor / events * 1e6:,.1f} us of the sender's processor an event\n"
    )
    print("| | bytes an event | of these |\n|---|---:|---|")
    report("as written", engine, events)
    vacuum(engine)
    report("after VACUUM", engine, events)
    vacuum(engine, "FULL")
    report("after VACUUM FULL", engine, events)
    started = time.perf_counter()
    # In 60 days, the first of the four is 63 to 64 days ago.
    old = prune(engine, older_than=timedelta(days=63), now=datetime.now(UTC) + timedelta(days=60))
    print(f"\n{old:,} events deleted in {time.perf_counter() - started:,.1f} s")


if __name__ == "__main__":
    main()
