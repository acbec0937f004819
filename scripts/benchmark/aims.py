"""Which of the aims the figures meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.results import Run, span


@dataclass(frozen=True)
class Aim:
    """A bound, and what was seen, once the part that measures it has run."""

    text: str
    seen: str
    is_met: bool


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


DATABASES = {"postgres": "Postgres", "sqlite": "SQLite"}
_POOL, _BARE = "requests, thread pool", "bare libcurl, the limit"
_REQUESTS, _CURL, _LEDGER = "provider, requests", "provider, libcurl", "provider, libcurl, ledger"
_SQLITE = "provider, libcurl, SQLite ledger"


def of_senders(run: Run) -> Iterator[Aim]:
    rates = {(each["delay_ms"], each["in_flight"], each["sender"]): each["rate"] for each in run.figures}

    def ratio(delay: float, in_flight: int, sender: str, other: str) -> float | None:
        pair = [rates.get((delay, in_flight, name)) for name in (sender, other)]
        return pair[0] / pair[1] if pair[0] and pair[1] else None

    at_once, later, many = (0, 64), (50, 256), (50, 1024)
    if times := ratio(*at_once, _CURL, _POOL):
        yield Aim("libcurl, answers at once, 64 in flight: 25 times a thread pool", f"{times:.1f} times", times >= 25)
    for cell, sender, what, least in (
        (at_once, _CURL, "libcurl, answers at once, 64 in flight", 0.32),
        (later, _CURL, "libcurl, 50 ms, 256 in flight", 0.95),
        (many, _CURL, "libcurl, 50 ms, 1,024 in flight", 0.90),
        (later, _LEDGER, "libcurl with a ledger on Postgres, 50 ms, 256 in flight", 0.90),
    ):
        if share := ratio(*cell, sender, _BARE):
            yield Aim(f"{what}: {percent(least)} of bare libcurl", percent(share), share >= least)
    plain = [
        found
        for delay, in_flight in sorted({(delay, in_flight) for delay, in_flight, _ in rates})
        if (found := ratio(delay, in_flight, _REQUESTS, _POOL))
    ]
    if plain:
        seen = f"{span(plain, '.2f')} times"
        yield Aim("requests: 1.3 times a thread pool in each table", seen, min(plain) >= 1.3)
    for sender, what, most in ((_LEDGER, "Postgres", 0.30), (_SQLITE, "SQLite", 0.40)):
        if share := ratio(*at_once, sender, _CURL):
            aim = f"A ledger on {what}, answers at once, 64 in flight: at most {percent(most)} slower"
            yield Aim(aim, f"{percent(1 - share)} slower", 1 - share <= most)


def of_refusals(run: Run) -> Iterator[Aim]:
    rates = {each["refusals"]: each["rate"] for each in run.figures if "refusals" in each}
    if rates:
        share = rates["1 % of 503"] / rates["none"]
        yield Aim("1 % of 503 with `Retry-After: 1`: 80 % of the throughput without", percent(share), share >= 0.8)
    for curve in (each for each in run.figures if "limit" in each):
        late, limit = curve["taken"][20:], curve["limit"]
        if late:
            average = sum(late) / len(late)
            text = f"429 above {limit:,} a second: within 10 % of that after 20 s, on average"
            yield Aim(text, f"{average:,.1f}", abs(average - limit) <= limit / 10)


def of_earlier(run: Run) -> Iterator[Aim]:
    now = run.figures[-1]["cpu_us"]
    yield Aim(
        "The pipeline alone, default installation: at most 30 us of the processor an event", f"{now:.1f} us", now <= 30
    )


def of_ledger(run: Run) -> Iterator[Aim]:
    for figure in (each for each in run.figures if "batch" in each):
        of_batch = f"The ledger alone, batches of {figure['batch']}"
        for key, most, what in (
            ("cpu_us", 40, "us of the processor an event"),
            ("bytes_packed", 200, "bytes an event, packed"),
            ("bytes_written", 350, "bytes an event, as written"),
        ):
            found = max(figure[key])
            yield Aim(f"{of_batch}: at most {most} {what}", f"{found:,.0f}", found <= most)
    for figure in (each for each in run.figures if "database" in each):
        name = DATABASES[figure["database"]]
        growth = figure["parts_us"][-1] / figure["parts_us"][0]
        text = f"A large task's ledger on {name}: at most 1.1 times the time an event at its end"
        yield Aim(text, f"{growth:.2f} times", growth <= 1.1)


def of_scale(run: Run) -> Iterator[Aim]:
    of_spread: dict[str, list[dict[str, Any]]] = {}
    for figure in run.figures:
        of_spread.setdefault(figure["devices"], []).append(figure)
    for figures in of_spread.values():
        base = next((each for each in figures if each["events"] == 100_000), None)
        largest = max(figures, key=lambda each: int(each["events"]))
        if base is None or base is largest:
            continue
        for key, what, most in (("peak_mb", "memory", 1.1), ("cpu_us", "processor time an event", 1.05)):
            found = largest[key] / base[key]
            text = f"{largest['events']:,} events: at most {most} times the {what} of 100,000"
            yield Aim(text, f"{found:.2f} times", found <= most)


_OF_PART: dict[str, Callable[[Run], Iterator[Aim]]] = {
    "earlier": of_earlier,
    "senders": of_senders,
    "ledger": of_ledger,
    "refusals": of_refusals,
    "scale": of_scale,
}


def aims_table(runs: dict[str, Run]) -> str:
    """The aims of the parts that have figures."""
    lines = ["| Aim | Seen | Result |", "|---|---|---|"]
    for part, aims in _OF_PART.items():
        if part in runs:
            lines += [
                f"| {aim.text} | {aim.seen} | {'met' if aim.is_met else '**not met**'} |" for aim in aims(runs[part])
            ]
    return "\n".join(lines)
