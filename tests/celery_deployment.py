"""An Airflow of several processes: API server, scheduler, DAG processor, Redis, and Celery workers with names."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from standalone import Command, command_line, free_port, knows_dag, own_environment, running, wait_for

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server on the path: apt-get install redis-server"
)
needs_celery = pytest.mark.skipif(
    find_spec("airflow.providers.celery") is None, reason="no Celery provider: make test-celery installs it"
)


def name_of_worker() -> str:
    """What Airflow writes down as the host of a task: all workers are on one machine, so they need names of their own."""
    return os.environ.get("NAME_OF_WORKER", socket.gethostname())


@contextmanager
def celery_deployment(
    folder: Path, dags: Path, dag_id: str, *, database: str, workers: Sequence[str], slots: int, **environment: str
) -> Iterator[Command]:
    """Start it all, wait until every worker answers and the DAG is known, and yield Airflow's command line.

    :param database: SQLAlchemy URL of an empty database for Airflow's metadata.
    :param slots: how many tasks each worker runs at once.
    """
    port = free_port()
    redis = f"redis://127.0.0.1:{port}/0"
    own = own_environment(
        folder,
        dags,
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW__CORE__HOSTNAME_CALLABLE=f"{__name__}.{name_of_worker.__name__}",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=database,
        AIRFLOW__CELERY__BROKER_URL=redis,
        AIRFLOW__CELERY__WORKER_CONCURRENCY=str(slots),
        PYTHONPATH=str(Path(__file__).parent),
        **environment,
    )
    command = command_line(own)
    command("db", "migrate")
    with ExitStack() as stack:

        def start(name: str, *words: str, **more: str) -> None:
            stack.enter_context(running(name, list(words), folder, own | more))

        store_nothing = ("--save", "", "--appendonly", "no")
        start("redis", "redis-server", "--port", str(port), "--bind", "127.0.0.1", *store_nothing)
        airflow = (sys.executable, "-m", "airflow")
        for part in ("api-server", "scheduler", "dag-processor"):
            start(part, *airflow, part)
        for worker in workers:
            words = ("celery", "worker", "--celery-hostname", worker, "--skip-serve-logs")
            start(worker, *airflow, *words, NAME_OF_WORKER=worker)
        wait_for("an answer of each worker", lambda: len(answers(redis)) == len(workers))
        wait_for("the DAG", lambda: knows_dag(command, dag_id))
        yield command


def answers(redis: str) -> list[object]:
    from celery import Celery
    from kombu.exceptions import OperationalError

    try:
        with Celery(broker=redis) as app:
            return list(app.control.ping(timeout=1))
    except OperationalError:  # Redis is not up yet
        return []
