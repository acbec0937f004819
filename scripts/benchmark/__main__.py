"""Compare this provider with hand-written senders: one command, one run, one table.

    python -m benchmark                        # all of it, several minutes
    python -m benchmark --quick                # a tenth of the events, to see that it works

``benchmark.answering_server`` answers, in a process of its own. Each figure is the median of several rounds. The
contestants take turns, so that other load on the machine affects all of them alike. Read the figures as ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from dataclasses import dataclass
from datetime import date
from typing import Any

from benchmark import earlier, stage


@dataclass(frozen=True)
class Line:
    """One line of the table: a contestant, how many events it gets at each delay, and its environment."""

    name: str
    contestant: str
    events: dict[float, int]
    environment: dict[str, str]
    needs_ledger: bool = False


def lines() -> list[Line]:
    slow, fast, loop = {0.0: 3_000, 0.05: 6_000}, {0.0: 30_000, 0.05: 30_000}, {0.0: 2_000, 0.05: 60}
    curl, plain = {"MEASURED_TRANSPORT": "curl"}, {"MEASURED_TRANSPORT": "requests"}
    return [
        Line("requests, one by one", "requests-loop", loop, {}),
        Line("HttpHook.run, one by one", "http-hook", loop, {}),
        Line("requests, thread pool", "requests-threads", slow, {}),
        Line("provider, requests", "provider", slow, plain),
        Line("provider, libcurl", "provider", fast, curl),
        Line("provider, libcurl, ledger", "provider", fast, curl, needs_ledger=True),
        Line("bare libcurl, the limit", "bare-curl", fast, {}),
    ]


def measure(line: Line, delay: float, in_flight: int, share: float, url: str, postgres: str) -> dict[str, Any]:
    events = max(20, int(line.events[delay] * share))
    more = {
        **line.environment,
        "AIRFLOW_CONN_ADJUST_DEFAULT": stage.adjust_connection(url),
        "AIRFLOW_CONN_WAREHOUSE": stage.postgres_connection(postgres),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if line.needs_ledger:
        stage.forget_deliveries(postgres)
        more["AIRFLOW_CONN_LEDGER"] = stage.postgres_connection(postgres)
    arguments = ("--url", f"{url}/event", "--events", str(events), "--in-flight", str(in_flight))
    return {"events": events, **stage.run("benchmark.contestants", line.contestant, *arguments, **more)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    share, rounds = (0.1, 1) if arguments.quick else (1.0, arguments.rounds)
    print(f"{date.today().isoformat()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores,", end=" ")
    print(f"Python {platform.python_version()}, median of {rounds} rounds")
    with stage.place() as postgres:
        stage.load_purchases(postgres, 30_000)
        for delay in (0.0, 0.05):
            with stage.server("benchmark.answering_server", "--delay", str(delay)) as url:
                if not delay:
                    limit = stage.run("benchmark.server_limit", "--url", url)["rate"]
                    print(f"The answering server's own limit: {limit:,.0f} answers a second")
                for in_flight in (64, 256, 1024) if delay else (64, 256):
                    compare(delay, in_flight, share, rounds, url, postgres)
    earlier.compare(rounds=1 if arguments.quick else 7)


def compare(delay: float, in_flight: int, share: float, rounds: int, url: str, postgres: str) -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for line in lines():
            found.setdefault(line.name, []).append(measure(line, delay, in_flight, share, url, postgres))
    rates = {name: statistics.median(each["events"] / each["seconds"] for each in some) for name, some in found.items()}
    print(f"\n### Answers after {delay * 1000:.0f} ms, {in_flight} in flight\n")
    print("| sender | events a second | CPU, us an event | peak MB | of the thread pool | of bare libcurl |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, rate in rates.items():
        cpu = statistics.median(each["cpu"] / each["events"] * 1e6 for each in found[name])
        peak = max(each["peak_mb"] for each in found[name])
        print(
            f"| {name} | {rate:,.0f} | {cpu:,.0f} | {peak:,.0f} | {rate / rates['requests, thread pool']:.2f} "
            f"| {rate / rates['bare libcurl, the limit']:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
