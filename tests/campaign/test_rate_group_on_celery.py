"""Mapped tasks on two Celery workers share one limit of events a second, while they come and go."""

from __future__ import annotations

import bisect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery_deployment import celery_deployment, needs_celery, needs_redis
from standalone import wait_for

from airflow_provider_adjust.s2s.ledger.rate_group import KNOWN_FOR
from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.airflow, needs_celery, needs_redis]

DAG = "rate_group"
DAGS = Path(__file__).parents[1] / "celery_dags"
sys.path.insert(0, str(DAGS))
from rate_group_numbers import EVENTS, EVENTS_PER_SECOND  # noqa: E402

TOKENS = {"tokens": ["the-s2s-token"], "app_tokens": ["4w565xzmb54d"], "event_tokens": ["f0ob4r"]}
WORKERS = ("worker-a", "worker-b")
#: Six of the eight tasks run at once.
SLOTS = 3
MINUTE = 60.0


@pytest.fixture
def engines(postgres_url: str) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """Airflow's database, and one that is warehouse and ledger."""
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    made = []
    with server.connect() as connection:
        for name in ("rate_airflow", "rate_ledger"):
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
            made.append(sa.create_engine(sa.make_url(postgres_url).set(database=name)))
    server.dispose()
    yield made[0], made[1]
    for engine in made:
        engine.dispose()


def tell(tasks: list[Any], received: list[float], lowest: float, highest: float) -> None:
    """The figures that docs/guides/scaling.md has; pytest shows them with -s."""
    start = received[0]
    print(f"\n{len(received):,} events in {received[-1] - start:.1f} s; in a minute {lowest:,.0f} to {highest:,.0f}")
    for second in range(0, int(received[-1] - start) + 1, 5):
        count = sum(start + second <= at < start + second + 5 for at in received)
        print(f"from {second} s: {count / 5:.1f} a second")
    for task in tasks:
        times = [(moment.timestamp() - start) for moment in (task.start_date, task.end_date)]
        print(
            f"task {task.map_index} ({EVENTS[task.map_index]} events): {task.hostname}, {times[0]:.1f} to {times[1]:.1f} s"
        )


def test_eight_tasks_on_two_workers_keep_one_limit(
    engines: tuple[sa.Engine, sa.Engine], tmp_path: Path, adjust_sandbox: SandboxServer
) -> None:
    airflow, warehouse = engines
    adjust_sandbox.configure(**TOKENS, latency=0.05)
    url = warehouse.url
    postgres = {"conn_type": "postgres", "host": url.query["host"], "login": url.username, "schema": url.database}
    extra = {"app_token": "4w565xzmb54d", "environment": "sandbox"}
    adjust = {"conn_type": "adjust", "host": adjust_sandbox.url, "password": "the-s2s-token", "extra": extra}
    connections = {
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(postgres),
        "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps(postgres),
        "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
        "AIRFLOW__ADJUST__FILES_FOLDER": str(tmp_path),
    }

    def state() -> str | None:
        query = "SELECT state FROM dag_run WHERE dag_id = :dag AND state IN ('success', 'failed')"
        with airflow.connect() as connection:
            ended: str | None = connection.scalar(sa.text(query), {"dag": DAG})
            return ended

    with celery_deployment(
        tmp_path, DAGS, DAG, database=airflow, workers=WORKERS, slots=SLOTS, **connections
    ) as command:
        command("dags", "unpause", "-y", DAG)
        command("dags", "trigger", DAG)
        assert wait_for("the run", state, 400) == "success"
        with airflow.connect() as connection:
            query = "SELECT map_index, hostname, start_date, end_date FROM task_instance ORDER BY map_index"
            tasks = list(connection.execute(sa.text(query)))

    received = sorted(float(each["received_at"]) for each in adjust_sandbox.events())
    # Each minute of the run, from one event to the next; the last task's own end is none of its.
    starts = [at for at in received if at + MINUTE <= received[-1] - KNOWN_FOR]
    counts = [bisect.bisect_left(received, at + MINUTE) - place for place, at in enumerate(starts)]
    tell(tasks, received, min(counts), max(counts))
    assert len(received) == sum(EVENTS)
    assert {task.hostname for task in tasks} == set(WORKERS)
    assert max(counts) <= 1.05 * MINUTE * EVENTS_PER_SECOND
    assert min(counts) >= 0.95 * MINUTE * EVENTS_PER_SECOND
