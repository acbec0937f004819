"""Show that memory and the cost of an event do not grow with the number of events, for any spread over devices.

    python -m benchmark.scale                                  # 10,000, 100,000 and 1,000,000 from Postgres
    python -m benchmark.scale --events 100000 --devices one-device one-each
    python -m benchmark.scale --events 20000 --max-events-per-second 500 --server stand-in

The events go to the answering server, which is fast and checks nothing. With ``--server stand-in`` they go to the provider's
own stand-in for Adjust, which keeps lanes and counts events out of order.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from contextlib import ExitStack
from itertools import product
from typing import Any

from benchmark import part, stage
from benchmark.results import Figure, Run, run_of


def send(arguments: argparse.Namespace) -> None:
    """Send in this process, which does nothing else, so that its peak memory is the sender's."""
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    operator = SqlToAdjustOperator(
        task_id="send",
        sql_conn_id="warehouse",
        sql="SELECT order_id, created_at, revenue, currency, gps_adid FROM purchases ORDER BY created_at",
        event_token="f0ob4r",
        id_field="order_id",
        event_id_param="event_id",
        max_in_flight=arguments.in_flight,
        max_events_per_second=arguments.max_events_per_second,
        transport=arguments.transport,
        ledger_conn_id="ledger" if arguments.ledger else None,
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    result = operator.execute({})
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"result": result, "seconds": seconds, "cpu": cpu, "peak_mb": after.ru_maxrss / 1024}))


def deliver(arguments: argparse.Namespace, postgres: str) -> dict[str, Any]:
    with ExitStack() as stack:
        if arguments.server == "answering":
            url = stack.enter_context(stage.server("benchmark.answering_server"))
        else:
            sandbox = ("--port", "0", "--token", "measured-token", "--faults", arguments.faults, "--seed", "1")
            url = stack.enter_context(stage.server("airflow_provider_adjust.sandbox", *sandbox))
        stage.forget_deliveries(postgres)
        options = [
            *("--send", "--in-flight", str(arguments.in_flight), "--transport", arguments.transport),
            *(["--ledger"] if arguments.ledger else []),
        ]
        if arguments.max_events_per_second:
            options += ["--max-events-per-second", str(arguments.max_events_per_second)]
        found: dict[str, Any] = stage.run(
            "benchmark.scale",
            *options,
            AIRFLOW_CONN_ADJUST_DEFAULT=stage.adjust_connection(url),
            AIRFLOW_CONN_WAREHOUSE=stage.postgres_connection(postgres),
            AIRFLOW_CONN_LEDGER=stage.postgres_connection(postgres),
            AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
        )
        if arguments.server == "stand-in":
            out_of_order = stage.get_json(f"{url}/_sandbox/stats")["order_violations"]
            part.progress(f"{out_of_order} events out of order")
        return found


def measure(arguments: argparse.Namespace) -> Run:
    sizes = [1_000, 10_000] if arguments.quick else arguments.events
    figures: list[Figure] = []
    with stage.place() as postgres:
        for devices, events in product(arguments.devices, sizes):
            stage.load_purchases(postgres, events, devices)
            found = deliver(arguments, postgres)
            delivered = found["result"]["delivered"]
            part.progress(f"{events:,} events, {devices}: {delivered:,} delivered in {found['seconds']:,.1f} s")
            figure = {"seconds": round(found["seconds"], 2), "cpu_us": round(found["cpu"] / events * 1e6)}
            figures.append({"events": events, "devices": devices, **figure, "peak_mb": round(found["peak_mb"])})
    return run_of("scale", figures, in_flight=arguments.in_flight, server=arguments.server)


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    found.add_argument("--devices", choices=stage.DEVICES, nargs="+", default=["two"])
    found.add_argument("--server", choices=["answering", "stand-in"], default="answering")
    found.add_argument("--faults", default="503=0.0", help="of the stand-in, such as 503=0.02")
    found.add_argument("--in-flight", type=int, default=64)
    found.add_argument("--max-events-per-second", type=float)
    found.add_argument("--transport", choices=["auto", "curl", "requests"], default="auto")
    found.add_argument("--ledger", action="store_true")
    found.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    if (of_sender := parser().parse_args()).send:
        send(of_sender)
    else:
        part.main(parser(), measure)
