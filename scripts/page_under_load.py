"""Measure how Airflow's API server answers while many people ask for the heaviest view of *Adjust deliveries* at once.

A real `airflow api-server` with a ledger of its own, and a client in another process, which sends that many requests at once
again and again. Meanwhile this process asks for Airflow's health, and for the ping that its workers send.

    python scripts/page_under_load.py
    python scripts/page_under_load.py --users 1 --database sqlite
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from local_airflow import free_port, own_environment, running
from own_postgres import connection_to, own_postgres
from stop_on_signals import stop_on_signals

from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, reasons, scopes, totals, tries

PROBES = {"health": "/api/v2/monitor/health", "ping of workers": "/execution/health/ping"}
DAYS, DAGS = 92, 4
#: Seconds between two checks of Airflow.
PACE = 0.1


def fill(engine: sa.Engine, ledger_events: int) -> None:
    """A ledger of hourly runs of several DAGs over the most days that the page shows, and as many events."""
    prepare(engine)
    now = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    kinds = [
        ("delivered", ""),
        ("duplicate", "duplicate"),
        ("rejected", "device_not_found"),
        ("invalid", "missing_device"),
    ]
    hours = DAYS * 24
    a_try = {"task_id": "send", "map_index": -1, "try_number": 1, "state": "success", "is_latest": True, "read": 1}
    with engine.begin() as connection:
        for number, token in enumerate(("f0ob4r", "sub5cr", "tr1al0"), start=1):
            scope = {"destination": "s2s.adjust.com", "app_token": "4w565xzmb54d", "endpoint": "event"}
            connection.execute(scopes.insert().values(id=number, event_key=token, environment="production", **scope))
        connection.execute(reasons.insert().values(id=1, code="device_not_found"))
        for hour in range(hours):
            ended = now - timedelta(hours=hour)
            ids = [hour * DAGS + dag + 1 for dag in range(DAGS)]
            times = dict.fromkeys(("started_at", "heartbeat_at", "lease_until", "ended_at"), ended)
            connection.execute(
                tries.insert(),
                [
                    {
                        "id": id_,
                        "dag_id": f"shop_{id_ % DAGS}",
                        "run_id": f"scheduled__{ended:%Y-%m-%dT%H}",
                        "error": "",
                    }
                    | {"rejected_path": "", **a_try, **times}
                    for id_ in ids
                ],
            )
            connection.execute(
                totals.insert(),
                [
                    {
                        "try_id": id_,
                        "number": number,
                        "scope_id": number % 3 + 1,
                        "day": ended.date(),
                        "outcome": outcome,
                    }
                    | {"reason": reason, "currency": currency, "events": 7, "revenue": 7 if currency else None}
                    for id_ in ids
                    for number, (outcome, reason, currency) in enumerate(
                        (outcome, reason, currency)
                        for outcome, reason in kinds
                        for _ in range(3)
                        for currency in ("EUR", "USD")
                    )
                ],
            )
        status, lost = STATUS_NUMBERS["delivered"], {"lost_answers": 0, "http_status": 200, "reason": 1, "content": 1}
        for start in range(0, ledger_events, 10_000):
            connection.execute(
                events.insert(),
                [
                    {
                        "occurred_at": now - timedelta(hours=hours) * (n / ledger_events),
                        "try_id": n % (hours * DAGS) + 1,
                    }
                    | {"scope_id": n % 3 + 1, "position": n, "status": status, "event_id": f"order-{n}", **lost}
                    | {"currency": "EUR", "revenue": 7}
                    for n in range(start, min(start + 10_000, ledger_events))
                ],
            )


def attack(url: str, tokens: list[str], at_once: int, seconds: float) -> None:
    """Send that many requests at once until the time is up; print the answers. This is the client process."""
    first = f"{datetime.now(UTC).date() - timedelta(days=DAYS - 1)}"
    path = f"/adjust/?first_day={first}&last_day={datetime.now(UTC).date()}"

    async def send_all() -> Counter[str]:
        found: Counter[str] = Counter()
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as client:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                answers = await asyncio.gather(
                    *(
                        client.get(path, headers={"Authorization": f"Bearer {tokens[number % len(tokens)]}"})
                        for number in range(at_once)
                    )
                )
                found.update(str(answer.status_code) for answer in answers)
                found["rounds"] += 1
        return found

    sys.stdout.write(json.dumps(asyncio.run(send_all())))


def probe(url: str, until: Any) -> dict[str, list[float]]:
    """The seconds of each answer of Airflow's own, until the condition holds."""
    found: dict[str, list[float]] = {name: [] for name in PROBES}
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        while not until():
            for name, path in PROBES.items():
                began = time.perf_counter()
                client.get(path).raise_for_status()
                found[name].append(time.perf_counter() - began)
            time.sleep(PACE)
    return found


@contextmanager
def api_server(home: Path, ledger: dict[str, Any], users: int) -> Iterator[tuple[str, list[str]]]:
    """A running API server and the tokens of its users."""
    passwords = home / "passwords.json"
    names = [f"user{number}" for number in range(users)]
    passwords.write_text(json.dumps(dict.fromkeys(names, "password")))
    environment = own_environment(
        home,
        free_port(),
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="False",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=",".join(f"{name}:viewer" for name in names),
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(passwords),
        AIRFLOW__ADJUST__LEDGER_CONN_IDS="ledger",
        AIRFLOW_CONN_LEDGER=json.dumps(ledger),
    )
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, check=True, capture_output=True)  # noqa: S603 - Airflow's own command
    _add_dags(home / "airflow.db")
    url = f"http://127.0.0.1:{environment['AIRFLOW__API__PORT']}"
    with running(("api-server",), environment, home / "api-server.log") as process:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while not _answers(client):
                if process.poll() is not None:
                    raise RuntimeError(f"the API server has ended: {(home / 'api-server.log').read_text()[-2000:]}")
                time.sleep(0.5)
            tokens = [
                client.post("/auth/token", json={"username": name, "password": "password"}).json()["access_token"]
                for name in names
            ]
            # The first request to a part of Airflow imports it, and the first one to a view compiles its template.
            for path, status in (("/adjust/", 200), ("/adjust/?last_day=x", 422)):
                answer = client.get(path, headers={"Authorization": f"Bearer {tokens[0]}"})
                if answer.status_code != status:
                    raise RuntimeError(f"{path} answers {answer.status_code}: {answer.text[-1000:]}")
            for path in PROBES.values():
                client.get(path).raise_for_status()
        yield url, tokens


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/v2/version").is_success
    except httpx.TransportError:
        return False


def _add_dags(database: Path) -> None:
    """Airflow checks permissions only for DAGs that it knows."""
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        known = sa.MetaData()
        known.reflect(connection, only=["dag", "dag_bundle"])
        _insert(connection, known.tables["dag_bundle"], {"name": "made"})
        for number in range(DAGS):
            _insert(connection, known.tables["dag"], {"dag_id": f"shop_{number}", "bundle_name": "made"})
    engine.dispose()


def _insert(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> None:
    """Insert a row; what else must not be null is 0, which every kind of column takes in SQLite."""
    needed = {column.name: 0 for column in table.c if not column.nullable and column.server_default is None}
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(needed | values)}) "  # noqa: S608 - names out of the schema
        f"VALUES ({', '.join('?' for _ in needed | values)})",
        tuple((needed | values).values()),
    )


def _line(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    median, late, longest = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100], ordered[-1]
    return f"{name:16} {median:7.3f} {late:7.3f} {longest:7.3f} s (median, 95 %, longest of {len(ordered)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--at-once", type=int, default=60, help="requests at once")
    parser.add_argument("--users", type=int, default=20, help="users who send them")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--events", type=int, default=200_000, help="events in the ledger")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.attack:
        attack(chosen.attack[0], json.loads(chosen.attack[1]), chosen.at_once, chosen.seconds)
        return
    stop_on_signals()
    with ExitStack() as parts:
        home = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="page-under-load-")))
        if chosen.database == "postgres":
            database = parts.enter_context(own_postgres()).get_uri()
            url, ledger = sa.make_url(database).set(drivername="postgresql+psycopg2"), connection_to(database)
        else:
            url = sa.make_url(f"sqlite:///{home / 'ledger.db'}")
            ledger = {"conn_type": "sqlite", "host": str(home / "ledger.db")}
        engine = sa.create_engine(url)
        fill(engine, chosen.events)
        engine.dispose()
        address, tokens = parts.enter_context(api_server(home, ledger, chosen.users))
        until = time.monotonic() + 5
        quiet = probe(address, lambda: time.monotonic() > until)
        words = [sys.executable, __file__, "--at-once", str(chosen.at_once), "--seconds", str(chosen.seconds)]
        client = subprocess.Popen(  # noqa: S603 - this script
            [*words, "--attack", address, json.dumps(tokens)], stdout=subprocess.PIPE, text=True
        )
        busy = probe(address, lambda: client.poll() is not None)
        answers = json.loads(client.communicate()[0])
        print(f"{chosen.at_once} requests at once of {chosen.users} users, {chosen.database}: {answers}")
        for title, found in (("before", quiet), ("meanwhile", busy)):
            print(title)
            for name, seconds in found.items():
                print(" ", _line(name, seconds))


if __name__ == "__main__":
    main()
