"""Show that memory and the cost of an event do not grow with the number of events, for any spread over devices.

    python -m benchmark.scale                                  # 10,000, 100,000 and 1,000,000 from Postgres
    python -m benchmark.scale --events 100000 --devices one-device one-each
    python -m benchmark.scale --events 20000 --max-events-per-second 500

The events go to the provider's own stand-in for Adjust, which keeps lanes and counts events out of order. With
``--answer-only`` they go to the answering server, which is faster and checks nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from contextlib import ExitStack
from typing import Any

from benchmark import stage


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


def measure(arguments: argparse.Namespace, postgres: str) -> dict[str, Any]:
    with ExitStack() as stack:
        if arguments.answer_only:
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
        found = stage.run(
            "benchmark.scale",
            *options,
            AIRFLOW_CONN_ADJUST_DEFAULT=stage.adjust_connection(url),
            AIRFLOW_CONN_WAREHOUSE=stage.postgres_connection(postgres),
            AIRFLOW_CONN_LEDGER=stage.postgres_connection(postgres),
            AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
        )
        return {**found, "sandbox": {} if arguments.answer_only else stage.get_json(f"{url}/_sandbox/stats")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--devices", choices=stage.DEVICES, nargs="+", default=["two"])
    parser.add_argument("--faults", default="503=0.0", help="as the sandbox takes them, such as 503=0.02")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--max-events-per-second", type=float)
    parser.add_argument("--transport", choices=["auto", "curl", "requests"], default="auto")
    parser.add_argument("--ledger", action="store_true")
    parser.add_argument("--answer-only", action="store_true")
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        send(arguments)
        return
    print("| events | devices | events a second | us CPU an event | us an event | peak MB | delivered | out of order |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    with stage.place() as postgres:
        for devices in arguments.devices:
            for events in arguments.events:
                stage.load_purchases(postgres, events, devices)
                print_found(events, devices, measure(arguments, postgres))


def print_found(events: int, devices: str, found: dict[str, Any]) -> None:
    print(
        f"| {events:,} | {devices} | {events / found['seconds']:,.0f} | {found['cpu'] / events * 1e6:,.0f} "
        f"| {found['seconds'] / events * 1e6:,.0f} | {found['peak_mb']:,.0f} | {found['result']['delivered']:,} "
        f"| {found['sandbox'].get('order_violations', '')} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
