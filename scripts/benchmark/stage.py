"""The surroundings of a measurement: a warehouse in a real Postgres, and servers in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from own_postgres import connection_to, own_postgres
from stop_on_signals import stop_on_signals

#: How many events a device has: two on average, one with all of them, or one each.
DEVICES = {"two": "i / 2", "one-device": "0", "one-each": "i"}


@contextmanager
def place() -> Iterator[str]:
    """An Airflow home and a Postgres for this measurement only; yields the URL of the Postgres."""
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="adjust-benchmark-") as home, own_postgres() as server:
        before = os.environ.get("AIRFLOW_HOME")
        os.environ["AIRFLOW_HOME"] = home
        try:
            yield server.get_uri()
        finally:
            del os.environ["AIRFLOW_HOME"]
            if before is not None:  # the home is gone, and another part may follow
                os.environ["AIRFLOW_HOME"] = before


def load_purchases(url: str, events: int, devices: str = "two") -> None:
    """Load a number of purchases, a millisecond apart, all of them younger than Adjust's limit."""
    import psycopg2

    start = datetime.now(UTC) - timedelta(days=2)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS purchases")
        cursor.execute(  # the only part that varies is one of DEVICES
            "CREATE TABLE purchases AS SELECT 'order-' || i AS order_id,"  # noqa: S608
            " %s + i * interval '1 millisecond' AS created_at, (1 + i %% 9999)::numeric / 100 AS revenue,"
            f" 'USD' AS currency, md5('device' || ({DEVICES[devices]}))::uuid::text AS gps_adid"
            " FROM generate_series(1, %s) AS i",
            (start, events),
        )
        cursor.execute("CREATE INDEX ON purchases (created_at)")
        cursor.execute("ANALYZE purchases")


def forget_deliveries(url: str) -> None:
    import psycopg2

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP VIEW IF EXISTS adjust_delivery")
        cursor.execute(
            "DROP TABLE IF EXISTS adjust_event, adjust_total, adjust_try, adjust_reason, adjust_scope,"
            " adjust_suppression, adjust_lane, adjust_erasure, adjust_verdict, adjust_ledger_version"
        )


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """Run a server that prints its URL last on its first line; yields the URL."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def environment(**more: str) -> dict[str, str]:
    """This process' environment, in which the modules of this folder can be imported."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **more}


def run(module: str, *arguments: str, **more: str) -> Any:
    """Run a module that prints JSON on its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment(**more), stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def postgres_connection(url: str) -> str:
    return json.dumps(connection_to(url))


def adjust_connection(url: str) -> str:
    extra = {"app_token": "4w565xzmb54d", "environment": "sandbox"}
    return json.dumps({"conn_type": "adjust", "host": url, "password": "measured-token", "extra": extra})


def get_json(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        found: dict[str, Any] = json.load(answer)
    return found
