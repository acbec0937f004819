"""What refusals cost, and how the rate that a server takes is found: `make bench BENCH=refusals`.

    python -m benchmark.refusals                      # both, some minutes; a short run shows the last wait most
    python -m benchmark.refusals --limit 500 --seconds 60 --curve docs/images/found-rate.svg

The events go through everything but a warehouse: rows, checks, lanes, libcurl over HTTP to the answering server, receipts.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline_cost import rows

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.s2s.transports.choice import open_transport
from benchmark import stage

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


def by_chance(events: int, rounds: int) -> None:
    """The throughput with some refusals, as a share of that without."""
    print(f"| {events:,} events, {IN_FLIGHT} in flight | events a second | of that without |")
    print("|---|---:|---:|")
    kinds = {"no refusals": (), "1 % of 503": ("503",), "1 % of 429": ("429",)}
    best: dict[str, float] = dict.fromkeys(kinds, 0.0)
    for _ in range(rounds):
        for name, status in kinds.items():
            refusing = ("--status", *status, "--share", "0.01", "--retry-after", "1") if status else ()
            with stage.server("benchmark.answering_server", *refusing) as url:
                _, seconds = send(url, rows(events))
            best[name] = max(best[name], events / seconds)
    for name, rate in best.items():
        print(f"| {name} | {rate:,.0f} | {rate / best['no refusals']:.0%} |", flush=True)


def rows_for(seconds: float) -> Iterator[dict[str, Any]]:
    until = time.monotonic() + seconds
    for row in islice(rows(10_000_000), 10_000_000):
        if time.monotonic() >= until:
            return
        yield row


def curve(limit: int, seconds: int, picture: Path | None) -> None:
    """How many a second are taken of a server that refuses above a limit."""
    refusing = ("--status", "429", "--limit", str(limit), "--retry-after", "1")
    with stage.server("benchmark.answering_server", *refusing) as url:
        seen, _ = send(url, rows_for(seconds))
    taken = [seen[second, 200] for second in range(1, seconds)]
    refused = [seen[second, 429] for second in range(1, seconds)]
    late = taken[20:]
    print(f"A server that takes {limit:,} a second, of {sum(taken) + sum(refused):,} requests in {seconds} s:")
    print(f"after 20 s {min(late):,} to {max(late):,} taken in a second, {sum(late) / len(late):,.1f} on average;")
    print(f"{sum(refused):,} refused in all, {sum(refused[20:]):,} of them after 20 s")
    if picture:
        picture.write_text(drawn(taken, refused, limit), encoding="utf-8")


def drawn(taken: list[int], refused: list[int], limit: int) -> str:
    """The curve as a picture."""
    width, height, left, bottom = 720, 260, 60, 40
    top = 1.25 * max(limit, *taken)
    across, up = (width - left - 20) / len(taken), (height - bottom - 20) / top

    def line(values: list[int], colour: str) -> str:
        points = " ".join(
            f"{left + number * across:.1f},{height - bottom - value * up:.1f}" for number, value in enumerate(values)
        )
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def text(x: float, y: float, words: str, colour: str = "#555", anchor: str = "start") -> str:
        return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{words}</text>'

    at_limit = height - bottom - limit * up
    seconds = range(0, len(taken) + 1, 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="M{left} 10V{height - bottom}H{width - 10}" fill="none" stroke="#999"/>',
        f'<path d="M{left} {at_limit:.1f}H{width - 10}" stroke="#999" stroke-dasharray="4 4"/>',
        text(left - 6, at_limit + 4, f"{limit:,}", anchor="end"),
        text(left - 6, height - bottom + 4, "0", anchor="end"),
        *(text(left + second * across, height - bottom + 16, str(second), anchor="middle") for second in seconds),
        text(width / 2, height - 6, "seconds since the start", anchor="middle"),
        line(refused, "#c0392b"),
        line(taken, "#1f6fb2"),
        text(left + 12, 22, "taken a second", "#1f6fb2"),
        text(left + 132, 22, "refused with 429", "#c0392b"),
        text(left + 252, 22, "- - what the server takes"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only the curve of a server that takes so many a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--curve", type=Path, help="where to draw it")
    arguments = parser.parse_args()
    if not arguments.limit:
        by_chance(arguments.events, arguments.rounds)
    curve(arguments.limit or 500, arguments.seconds, arguments.curve)


if __name__ == "__main__":
    main()
