"""What refusals cost, and how the rate that a server takes is found: `make bench BENCH=refusals`.

    python -m benchmark.refusals                      # both, some minutes; a short run shows the last wait most
    python -m benchmark.refusals --limit 500 --seconds 60 --only-curve

The events go through everything but a warehouse: rows, checks, lanes, libcurl over HTTP to the answering server, receipts.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from pipeline_cost import rows

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.s2s.transports.choice import open_transport
from benchmark import part, stage
from benchmark.results import Figure, Run, run_of

IN_FLIGHT = 64


class Counting:
    """Counts another transport's answers by status and second."""

    def __init__(self) -> None:
        self._transport = open_transport("auto", max_in_flight=IN_FLIGHT, timeout=(5.0, 30.0))
        self._began = time.monotonic()
        self.seen: Counter[tuple[int, int | None]] = Counter()

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._transport.submit(key, target, body)

    def poll(self, timeout: float | None) -> list[Completion]:
        found = self._transport.poll(timeout)
        second = int(time.monotonic() - self._began)
        self.seen.update((second, completion.status) for completion in found)
        return found

    def close(self) -> None:
        self._transport.close()


def send(url: str, some: Iterable[dict[str, Any]]) -> tuple[Counter[tuple[int, int | None]], float]:
    """Deliver the rows; return the answers, and seconds."""
    options = RowOptions(app_token="4w565xzmb54d", event_token="f0ob4r", environment="sandbox", id_field="order_id")
    transport = Counting()
    route = Route(EventParser(options), Target(f"{url}/event", "token"))
    sender = Sender({None: route}, transport, SendOptions(max_in_flight=IN_FLIGHT))
    began = time.monotonic()
    for receipts in sender.rounds(iter(some)):
        del receipts
    transport.close()
    return transport.seen, time.monotonic() - began


def by_chance(events: int, rounds: int) -> list[Figure]:
    """The best throughput without refusals, and with some."""
    kinds: dict[str, tuple[str, ...]] = {"none": (), "1 % of 503": ("503",), "1 % of 429": ("429",)}
    best = dict.fromkeys(kinds, 0.0)
    for _ in range(rounds):
        for name, status in kinds.items():
            refusing = ("--status", *status, "--share", "0.01", "--retry-after", "1") if status else ()
            with stage.server("benchmark.answering_server", *refusing) as url:
                _, seconds = send(url, rows(events))
            best[name] = max(best[name], events / seconds)
            part.progress(f"refusals: {name}, {events / seconds:,.0f} events a second")
    return [{"refusals": name, "rate": round(rate)} for name, rate in best.items()]


def rows_for(seconds: float) -> Iterator[dict[str, Any]]:
    until = time.monotonic() + seconds
    for row in islice(rows(10_000_000), 10_000_000):
        if time.monotonic() >= until:
            return
        yield row


def curve(limit: int, seconds: int) -> Figure:
    """How many a second are taken of a server that refuses above a limit. The last second is not a whole one."""
    refusing = ("--status", "429", "--limit", str(limit), "--retry-after", "1")
    with stage.server("benchmark.answering_server", *refusing) as url:
        seen, _ = send(url, rows_for(seconds))
    taken, refused = ([seen[second, status] for second in range(1, seconds)] for status in (200, 429))
    return {"limit": limit, "taken": taken, "refused": refused}


def measure(arguments: argparse.Namespace) -> Run:
    events, rounds, seconds = (
        (5_000, 1, 5) if arguments.quick else (arguments.events, arguments.rounds, arguments.seconds)
    )
    figures = [] if arguments.only_curve else by_chance(events, rounds)
    figures.append(curve(arguments.limit, seconds))
    return run_of("refusals", figures, in_flight=IN_FLIGHT, events=events, rounds=rounds, seconds=seconds)


def parser() -> argparse.ArgumentParser:
    found = part.parser(__doc__)
    found.add_argument("--events", type=int, default=300_000)
    found.add_argument("--rounds", type=int, default=2)
    found.add_argument("--limit", type=int, default=200, help="what the server of the curve takes a second")
    found.add_argument("--seconds", type=int, default=60)
    found.add_argument("--only-curve", action="store_true")
    return found


if __name__ == "__main__":
    part.main(parser(), measure)
