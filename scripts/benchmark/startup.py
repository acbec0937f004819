"""Measure the start of a task, from the first import to the first request: `make bench BENCH=startup`.

Each time is that of a new process, which imports Airflow's SDK, then the operator, and then delivers one event of a
Postgres. Processes that read the same files as one before find them in the system's cache, as on a worker that is in use.
The process that took the least processor time counts.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from benchmark import part, stage
from benchmark.results import Run, run_of


class Steps:
    """What each step took, on the clock and of the processor."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []
        self._before = time.perf_counter(), time.process_time()

    def end(self, step: str) -> None:
        now = time.perf_counter(), time.process_time()
        clock, processor = (round((after - before) * 1000, 1) for after, before in zip(now, self._before, strict=True))
        self.figures.append({"step": step, "ms": clock, "cpu_ms": processor})
        self._before = now


def start() -> None:
    """Start a task in this process, and print its steps."""
    steps = Steps()
    import airflow.sdk  # noqa: F401 - every task has it imported
    from airflow.providers.common.sql.hooks.sql import DbApiHook  # noqa: F401 - a query needs it in any operator

    steps.end("Airflow's own imports")
    from airflow_provider_adjust.s2s.transports import curl
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    steps.end("import of the operator")
    submit = curl.CurlTransport.submit

    def first_submit(transport: curl.CurlTransport, *arguments: Any) -> None:
        steps.end("connections, query and first row, to the first request")
        curl.CurlTransport.submit = submit  # type: ignore[method-assign]
        submit(transport, *arguments)

    curl.CurlTransport.submit = first_submit  # type: ignore[assignment, method-assign]
    operator = SqlToAdjustOperator(
        task_id="send",
        sql_conn_id="warehouse",
        sql="SELECT order_id, created_at, revenue, currency, gps_adid FROM purchases",
        event_token="f0ob4r",
        id_field="order_id",
        transport="curl",
    )
    operator.execute({})
    print(json.dumps(steps.figures))


def measure(arguments: argparse.Namespace) -> Run:
    rounds = 2 if arguments.quick else arguments.rounds
    with stage.place() as postgres, stage.server("benchmark.answering_server") as url:
        stage.load_purchases(postgres, 1)
        connections = {
            "AIRFLOW_CONN_ADJUST_DEFAULT": stage.adjust_connection(url),
            "AIRFLOW_CONN_WAREHOUSE": stage.postgres_connection(postgres),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",  # as in production; Airflow's example plugin takes 130 ms
        }
        found = [stage.run("benchmark.startup", "--start", **connections) for _ in range(rounds)]
    best = min(found, key=lambda steps: sum(step["cpu_ms"] for step in steps))
    return run_of("startup", best, rounds=rounds)


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--rounds", type=int, default=7)
    found.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    if parser().parse_args().start:
        start()
    else:
        part.main(parser(), measure)
