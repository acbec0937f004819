"""The example that shards by customer, on two Celery workers with Redis, and everything else in a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery_deployment import celery_deployment, needs_celery, needs_redis
from example_files import EXAMPLES
from load_purchases import load
from standalone import wait_for

from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.airflow, needs_celery, needs_redis]

DAG = "adjust_sharded"
TOKENS = {"tokens": ["the-s2s-token"], "app_tokens": ["4w565xzmb54d"], "event_tokens": ["f0ob4r"]}
WORKERS = ("worker-a", "worker-b")
# The example's own numbers. The pool has more slots than a worker, and fewer than both.
SHARDS, POOL_SLOTS, IN_FLIGHT = 8, 4, 32
WORKER_SLOTS = 3
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass
class Deployment:
    """What the test asks the deployment's databases."""

    airflow: sa.Engine
    warehouse: sa.Engine

    def end_of_run(self, run_type: str) -> str | None:
        query = "SELECT state FROM dag_run WHERE dag_id = :dag AND run_type = :type AND state IN ('success', 'failed')"
        state: str | None = self._one(self.airflow, query, dag=DAG, type=run_type)
        return state

    def shards(self) -> list[Any]:
        """The scheduled run's mapped tasks."""
        with self.airflow.connect() as connection:
            query = """SELECT map_index, try_number, hostname, start_date, end_date FROM task_instance
                WHERE task_id = 'send_purchases' AND run_id LIKE 'scheduled%' ORDER BY map_index"""
            return list(connection.execute(sa.text(query)))

    def delivered(self) -> tuple[int, int]:
        """What the ledger knows to be delivered, and by how many of the shards."""
        query = "SELECT count(*), count(DISTINCT map_index) FROM adjust_delivery WHERE status = 'delivered'"
        with self.warehouse.connect() as connection:
            count, shards = connection.execute(sa.text(query)).one()
        return count, shards

    def purchases(self) -> int:
        """The last night's purchases that Adjust takes; it takes no revenue of nothing."""
        query = "SELECT count(*) FROM purchases WHERE purchased_at >= :start AND purchased_at < :end AND amount > 0"
        start = MIDNIGHT - timedelta(days=1)
        return int(self._one(self.warehouse, query, start=f"{start:%F %T}", end=f"{MIDNIGHT:%F %T}"))

    def _one(self, engine: sa.Engine, query: str, **values: str) -> Any:
        with engine.connect() as connection:
            return connection.scalar(sa.text(query), values)


@pytest.fixture
def deployment(postgres_url: str) -> Iterator[Deployment]:
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    engines = []
    with server.connect() as connection:
        for name in ("celery_airflow", "celery_warehouse"):
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
            engines.append(sa.create_engine(sa.make_url(postgres_url).set(database=name)))
    server.dispose()
    yield Deployment(*engines)
    for engine in engines:
        engine.dispose()


def most_at_once(shards: list[Any]) -> int:
    """How many of them ran at the same time; one that ends as another starts does not count with it."""
    steps = [(shard.start_date, 1) for shard in shards] + [(shard.end_date, -1) for shard in shards]
    return max(accumulate(step for _, step in sorted(steps)))


def tell(stats: dict[str, Any], shards: list[Any]) -> None:
    """The figures that docs/guides/scaling.md has; pytest shows them with -s."""
    start = min(shard.start_date for shard in shards)
    names = ("recorded", "order_violations", "repeated_event_ids", "max_concurrent", "max_concurrent_per_lane")
    print("\n" + ", ".join(f"{name} {stats[name]}" for name in names))
    for shard in shards:
        seconds = [(moment - start).total_seconds() for moment in (shard.start_date, shard.end_date)]
        print(f"shard {shard.map_index}: {shard.hostname}, from {seconds[0]:.1f} to {seconds[1]:.1f} s")


@pytest.fixture
def airflow(deployment: Deployment, tmp_path: Path, adjust_sandbox: SandboxServer) -> Iterator[Callable[..., str]]:
    adjust_sandbox.configure(**TOKENS, latency=0.2)
    # The busiest of the seven nights is the first: let it be the last one that has passed.
    url = deployment.warehouse.url
    load(url, MIDNIGHT + timedelta(days=6))

    postgres = {"conn_type": "postgres", "host": url.query["host"], "login": url.username, "schema": url.database}
    extra = {"app_token": "4w565xzmb54d", "environment": "sandbox"}
    adjust = {"conn_type": "adjust", "host": adjust_sandbox.url, "password": "the-s2s-token", "extra": extra}
    with celery_deployment(
        tmp_path,
        EXAMPLES,
        DAG,
        database=deployment.airflow,
        workers=WORKERS,
        slots=WORKER_SLOTS,
        AIRFLOW_CONN_WAREHOUSE=json.dumps(postgres),
        AIRFLOW_CONN_ADJUST_LEDGER=json.dumps(postgres),
        AIRFLOW_CONN_ADJUST_DEFAULT=json.dumps(adjust),
        AIRFLOW__ADJUST__FILES_FOLDER=str(tmp_path),
    ) as command:
        yield command


def test_two_workers_share_a_night_which_is_not_sent_again(
    airflow: Callable[..., str], deployment: Deployment, adjust_sandbox: SandboxServer
) -> None:
    airflow("pools", "set", "adjust", str(POOL_SLOTS), "shards that send at once")
    airflow("dags", "unpause", "-y", DAG)  # the last night is due at once
    assert wait_for("the night", lambda: deployment.end_of_run("scheduled"), 400) == "success"

    stats, shards = adjust_sandbox.stats(), deployment.shards()
    tell(stats, shards)
    assert stats["recorded"] == deployment.purchases() > 2000
    assert (stats["order_violations"], stats["repeated"], stats["repeated_event_ids"]) == (0, 0, 0)
    assert deployment.delivered() == (stats["recorded"], SHARDS)
    # One in flight in each lane, and the pool's slots times the task's limit over all workers.
    assert stats["max_concurrent_per_lane"] == 1
    assert IN_FLIGHT < stats["max_concurrent"] <= POOL_SLOTS * IN_FLIGHT
    # All of the pool's slots were in use, and no more; so neither worker can have done it alone.
    assert most_at_once(shards) == POOL_SLOTS > WORKER_SLOTS
    assert {shard.hostname for shard in shards} == set(WORKERS)

    airflow("tasks", "clear", "-y", DAG)
    assert wait_for("the cleared night", lambda: deployment.end_of_run("scheduled"), 400) == "success"
    assert [shard.try_number for shard in deployment.shards()] == [2] * SHARDS
    assert adjust_sandbox.stats()["requests"] == stats["requests"]

    # Another run, of the same night. Only its refused rows are new to it, more of them than max_rejected's share of new rows.
    airflow("dags", "trigger", DAG, "--logical-date", MIDNIGHT.isoformat())
    assert wait_for("the night once more", lambda: deployment.end_of_run("manual"), 400) == "failed"
    assert adjust_sandbox.stats()["requests"] == stats["requests"]
