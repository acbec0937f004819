"""Measure the pipeline's own cost of an event, without a network: parse, validate, lanes, encode, classify, receipt.

python scripts/pipeline_cost.py                # microseconds an event, the best of several rounds
python scripts/pipeline_cost.py --profile      # the functions that take the time
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.s2s import Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.transports import Completion, Target


class NoNetwork:
    """Answers every request immediately, like Adjust's success."""

    def __init__(self) -> None:
        self._done: list[Completion] = []

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._done.append(Completion(key, 200, b'{"status": "OK"}'))

    def poll(self, timeout: float | None) -> list[Completion]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        pass


class NoStore:
    """A checkpoint's store that keeps nothing."""

    def load(self) -> None:
        return None

    def save(self, state: dict[str, Any]) -> None:
        pass


def rows(events: int) -> Iterator[dict[str, Any]]:
    """Rows as a warehouse's driver gives them, two for each device."""
    start = datetime.now(UTC) - timedelta(days=2)
    for number in range(events):
        yield {
            "order_id": f"order-{number}",
            "created_at": start + timedelta(milliseconds=number),
            "revenue": Decimal(number % 9999 + 1) / 100,
            "currency": "USD",
            "gps_adid": str(uuid.UUID(int=number * 7919 % (events // 2 or 1) + 1)),
        }


def send(events: list[dict[str, Any]]) -> DeliverySummary:
    parser = EventParser(
        RowOptions(
            app_token="4w565xzmb54d",
            event_token="f0ob4r",
            environment="sandbox",
            id_field="order_id",
            event_id_param="event_id",
        )
    )
    route = Route(parser, Target("http://127.0.0.1/event", "token"))
    sender = Sender({None: route}, NoNetwork(), SendOptions(max_in_flight=64), checkpoint=Checkpoint(NoStore()))
    for _ in sender.rounds(iter(events)):
        pass
    summary = sender.sink.summary
    summary.read = sender.read
    summary.check()
    return summary


def main() -> None:
    arguments_parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments_parser.add_argument("--events", type=int, default=20_000)
    arguments_parser.add_argument("--rounds", type=int, default=5)
    arguments_parser.add_argument("--profile", action="store_true")
    arguments = arguments_parser.parse_args()
    events = list(rows(arguments.events))
    if arguments.profile:
        profile = cProfile.Profile()
        profile.runcall(send, events)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    best = float("inf")
    for _ in range(arguments.rounds):
        started = time.process_time()
        send(events)
        best = min(best, time.process_time() - started)
    print(f"{best / arguments.events * 1e6:.1f} us an event")


if __name__ == "__main__":
    main()
