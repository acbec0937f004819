"""An Airflow of several processes: API server, scheduler, DAG processor, Redis, and Celery workers with names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa
from standalone import free_port, own_environment, wait_for

AIRFLOW = (sys.executable, "-m", "airflow")

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server on the path: apt-get install redis-server"
)
needs_celery = pytest.mark.skipif(
    find_spec("airflow.providers.celery") is None, reason="no Celery provider: make test-slow SUITE=celery installs it"
)


def name_of_worker() -> str:
    """What Airflow writes down as the host of a task: all workers are on one machine, so they need names of their own."""
    return os.environ.get("NAME_OF_WORKER", socket.gethostname())


@contextmanager
def celery_deployment(
    folder: Path, dags: Path, dag_id: str, *, database: sa.Engine, workers: Sequence[str], slots: int, **settings: str
) -> Iterator[Callable[..., str]]:
    """Start it all, wait until every worker answers and the DAG is known, and yield Airflow's command line.

    :param database: an empty database for Airflow's metadata.
    :param slots: how many tasks each worker runs at once.
    """
    port, tests = free_port(), Path(__file__).parent
    redis = f"redis://127.0.0.1:{port}/0"
    environment = own_environment(
        folder,
        dags,
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW__CORE__HOSTNAME_CALLABLE=f"{__name__}.{name_of_worker.__name__}",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=database.url.render_as_string(hide_password=False),
        AIRFLOW__CELERY__BROKER_URL=redis,
        AIRFLOW__CELERY__WORKER_CONCURRENCY=str(slots),
        PYTHONPATH=os.pathsep.join(map(str, (tests, tests.parent / "scripts"))),
        **settings,
    )

    def command(*words: str) -> str:
        done = subprocess.run([*AIRFLOW, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    command("db", "migrate")
    with ExitStack() as stack:

        def start(name: str, *words: str, **more: str) -> None:
            stack.enter_context(running(words, environment | more, folder / f"{name}.log"))

        start("redis", "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        for part in ("api-server", "scheduler", "dag-processor"):
            start(part, *AIRFLOW, part)
        for worker in workers:
            words = (*AIRFLOW, "celery", "worker", "--celery-hostname", worker, "--skip-serve-logs")
            start(worker, *words, NAME_OF_WORKER=worker)
        wait_for("an answer of each worker", lambda: len(answers(redis)) == len(workers))
        wait_for("the DAG", lambda: knows(database, dag_id))
        yield command


@contextmanager
def running(words: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        # A session of its own, so that all that it starts can be ended with it.
        process = subprocess.Popen(
            words, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(redis: str) -> list[object]:
    """What the workers answer to a ping."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    try:
        with Celery(broker=redis) as app:
            return list(app.control.ping(timeout=1))
    except OperationalError:  # Redis is not up yet
        return []


def knows(database: sa.Engine, dag_id: str) -> bool:
    with database.connect() as connection:
        query = sa.text("SELECT count(*) FROM serialized_dag WHERE dag_id = :dag")
        return bool(connection.scalar(query, {"dag": dag_id}))
