"""Compare this provider with hand-written senders: `make bench BENCH=senders`.

    python -m benchmark.senders                        # some fifteen minutes
    python -m benchmark.senders --quick                # a tenth of the events, to see that it works

``benchmark.answering_server`` answers, in a process of its own. Each figure is the median of the rounds. The contestants
take turns, so that other load on the machine affects all of them alike. Read the figures as ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import part, stage
from benchmark.results import Figure, Run, run_of

#: Requests in flight, for each answer time in seconds. 10 and 200 ms only show how a rate falls with the answer time.
CELLS = {0.0: (64, 256), 0.01: (256,), 0.05: (64, 256, 1024), 0.2: (256,)}

#: The purchases in the warehouse.
MOST_EVENTS = 200_000


@dataclass(frozen=True)
class Line:
    """One line of the tables: a contestant, how many events it gets at each delay, and its environment."""

    name: str
    contestant: str
    events: dict[float, int]
    environment: dict[str, str] = field(default_factory=dict)
    ledger: str = ""

    def events_for(self, delay: float, in_flight: int) -> int:
        """As many as take some seconds: no more than the answer time lets through in ten."""
        return min(self.events[delay], int(10 * in_flight / delay)) if delay else self.events[delay]


def lines() -> list[Line]:
    slow = {0.0: 5_000, 0.01: 5_000, 0.05: 12_800, 0.2: 12_800}
    fast, loop = dict.fromkeys(CELLS, 100_000), {0.0: 2_000, 0.05: 60}
    fast[0.05] = MOST_EVENTS
    curl, plain = {"MEASURED_TRANSPORT": "curl"}, {"MEASURED_TRANSPORT": "requests"}
    return [
        Line("requests, one by one", "requests-loop", loop),
        Line("HttpHook.run, one by one", "http-hook", loop),
        Line("requests, thread pool", "requests-threads", slow),
        Line("provider, requests", "provider", slow, plain),
        Line("provider, libcurl", "provider", fast, curl),
        Line("provider, libcurl, ledger", "provider", fast, curl, ledger="postgres"),
        Line("provider, libcurl, SQLite ledger", "provider", {0.0: 100_000}, curl, ledger="sqlite"),
        Line("bare libcurl, the limit", "bare-curl", fast),
    ]


def send(line: Line, delay: float, in_flight: int, share: float, url: str, postgres: str) -> dict[str, Any]:
    events = max(20, int(line.events_for(delay, in_flight) * share))
    more = {
        **line.environment,
        "AIRFLOW_CONN_ADJUST_DEFAULT": stage.adjust_connection(url),
        "AIRFLOW_CONN_WAREHOUSE": stage.postgres_connection(postgres),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if line.ledger == "postgres":
        stage.forget_deliveries(postgres)
        more["AIRFLOW_CONN_LEDGER"] = stage.postgres_connection(postgres)
    if line.ledger == "sqlite":
        file = Path(os.environ["AIRFLOW_HOME"], "measured-ledger.db")
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink()
        more["AIRFLOW_CONN_LEDGER"] = json.dumps({"conn_type": "sqlite", "host": str(file)})
    arguments = ("--url", f"{url}/event", "--events", str(events), "--in-flight", str(in_flight))
    return {"events": events, **stage.run("benchmark.contestants", line.contestant, *arguments, **more)}


def compare(delay: float, in_flight: int, share: float, rounds: int, url: str, postgres: str) -> list[Figure]:
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for line in lines():
            if delay in line.events:
                found.setdefault(line.name, []).append(send(line, delay, in_flight, share, url, postgres))
    figures = []
    for name, some in found.items():
        figure = {
            "delay_ms": round(delay * 1000),
            "in_flight": in_flight,
            "sender": name,
            "rate": round(statistics.median(each["events"] / each["seconds"] for each in some)),
            "cpu_us": round(statistics.median(each["cpu"] / each["events"] * 1e6 for each in some)),
            "peak_mb": round(max(each["peak_mb"] for each in some)),
        }
        part.progress(f"{delay * 1000:.0f} ms, {in_flight} in flight, {name}: {figure['rate']:,} events a second")
        figures.append(figure)
    return figures


def measure(arguments: argparse.Namespace) -> Run:
    share, rounds = (0.1, 1) if arguments.quick else (1.0, arguments.rounds)
    figures: list[Figure] = []
    limit = 0.0
    with stage.place() as postgres:
        stage.load_purchases(postgres, MOST_EVENTS)
        for delay, several in CELLS.items():
            with stage.server("benchmark.answering_server", "--delay", str(delay)) as url:
                limit = limit or stage.run("benchmark.server_limit", "--url", url)["rate"]
                for in_flight in several:
                    figures += compare(delay, in_flight, share, rounds, url, postgres)
    return run_of("senders", figures, rounds=rounds, share=share, server_limit=round(limit))


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--rounds", type=int, default=2)
    return found


if __name__ == "__main__":
    part.main(parser(), measure)
