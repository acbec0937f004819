"""Compare raw data exports with a ledger at the size of a large app, and print time and memory of each part.

    python scripts/exports_at_scale.py --lines 5000000 --events 1000000

Every event of the ledger is exported, but for one in 10,000; as many are exported twice, and as many are in doubt. The other
lines are of another event token, or have no event id, as a mobile app sends them. The comparison runs in a process of its own,
so that its memory is its own.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, islice
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_adjust.export_files import export_files
from airflow_provider_adjust.reconcile.exports.heads import definition
from airflow_provider_adjust.reconcile.exports.prove import Question, prove_by_ledger
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, reasons, scopes, tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

APP, TOKEN, HOST = "4w565xzmb54d", "f0ob4r", "s2s.adjust.com"
DAY = datetime(2026, 5, 1, tzinfo=UTC)
SENT_AT = DAY + timedelta(days=1, hours=2)
#: One event in this many is lost, exported twice, or in doubt.
RARE = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--ledger", help="the URL of an empty database; a SQLite file without one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adjust_scale_") as folder:
        url = arguments.ledger or f"sqlite:///{folder}/ledger.db"
        began = time.monotonic()
        fill_ledger(url, arguments.events)
        size = write_exports(Path(folder), arguments.lines, arguments.events)
        print(f"made in {time.monotonic() - began:.0f} s: {size / 1e6:,.0f} MB of exports")
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=compare, args=(url, folder, theirs))
        process.start()
        seconds, cpu, peak, table = ours.recv()
        process.join()
    print(
        f"{arguments.lines:,} lines, {arguments.events:,} events: {seconds:.0f} s, {cpu:.0f} s of CPU, peak {peak:,.0f} MB"
    )
    print(table)


def compare(url: str, folder: str, answer: Connection) -> None:
    """Run the comparison; return seconds, peak memory in MB, and the table."""
    began = time.monotonic()
    proof = prove_by_ledger(
        Question(window=Window(DAY, DAY + timedelta(days=1)), app_token=APP, environment="production"),
        export_files(folder),
        sa.create_engine(url),
        destination=HOST,
        task=TaskInstanceId(),
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer.send((time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, proof.table()))


def fill_ledger(url: str, number: int) -> None:
    """A night's events, one after another over a day."""
    engine = sa.create_engine(url)
    prepare(engine)
    with engine.begin() as connection:
        scope = {
            "destination": HOST,
            "app_token": APP,
            "endpoint": "event",
            "event_key": TOKEN,
            "environment": "production",
        }
        connection.execute(scopes.insert().values(id=1, **scope))
        connection.execute(reasons.insert(), [{"id": 1, "code": ""}, {"id": 2, "code": "no_answer"}])
        sent_at = SENT_AT.replace(tzinfo=None)
        times = dict.fromkeys(("started_at", "heartbeat_at", "lease_until", "ended_at"), sent_at)
        names = dict.fromkeys(("dag_id", "run_id", "task_id", "error", "rejected_path"), "")
        task = {"id": 1, "map_index": -1, "try_number": 1, "state": "success", "is_latest": True, "read": number}
        connection.execute(tries.insert().values(**task, **times, **names))
        for first in range(0, number, 20_000):
            batch = range(first, min(number, first + 20_000))
            connection.execute(events.insert(), [_record(each, number) for each in batch])


def _record(place: int, number: int) -> dict[str, object]:
    in_doubt = place % RARE in {1, 2}
    return {
        "scope_id": 1,
        "event_id": _id(place),
        "occurred_at": _moment(place, number).replace(tzinfo=None),
        "content": 0,
        "try_id": 1,
        "position": place + 1,
        "status": STATUS_NUMBERS["in_doubt" if in_doubt else "delivered"],
        "reason": 2 if in_doubt else 1,
        "lost_answers": int(in_doubt),
        "currency": "EUR",
        "revenue": Decimal("9.90"),
    }


def write_exports(folder: Path, lines: int, number: int) -> int:
    """Files of the hours from the first event to the sending, eight an hour; return their bytes."""
    hours = list(Window(DAY, SENT_AT + timedelta(hours=1)).hours())
    texts, size = _lines(lines, number), 0
    per_file = -(-lines // (len(hours) * 8))
    for place, hour in ((place, hour) for hour in hours for place in range(8)):
        path = folder / f"{APP}_{hour:%Y-%m-%dT%H%M%S}_0a1b2c_{place}.csv.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            file.write(f"{definition()}\n")
            file.writelines(islice(texts, per_file))
        size += path.stat().st_size
    return size


def _lines(lines: int, number: int) -> Iterator[str]:
    """Our events in shuffled order, between the others."""
    every = max(1, lines // number)
    ours = (place * 7_919 % number for place in count())
    for place in range(lines):
        if place % every or place // every >= number:
            yield f"{APP},production,event,{'other1' if place % 2 else TOKEN},,{int(DAY.timestamp())},,\n"
            continue
        event = next(ours)
        text = f"{APP},production,event,{TOKEN},{_id(event)},{int(_moment(event, number).timestamp())},9.9,EUR\n"
        yield "" if event % RARE in {0, 1} else text + (text if event % RARE == 3 else "")


def _id(place: int) -> str:
    return f"order-{place * 2_654_435_761 % 2**32:010}-{place:09}"


def _moment(place: int, number: int) -> datetime:
    return DAY + timedelta(days=1) * (place / number)


if __name__ == "__main__":
    main()
