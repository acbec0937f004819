"""The sections of docs/explanations/benchmarks.md that are made of figures: tables, pictures, and which aims are met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from generated_sections import with_section

from benchmark.aims import DATABASES, aims_table
from benchmark.results import Run, span

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = "explanations/benchmarks.md"
RESULTS = "explanations/benchmarks.jsonl"
#: How the page calls the spreads of events over devices.
SPREADS = {"two": "two events each", "one-device": "one device for all", "one-each": "one event each"}


def table(heads: str, rows: list[list[Any]]) -> str:
    """A Markdown table. Heads are separated by bars; a colon before a head aligns its column to the right."""
    names = [head.strip() for head in heads.split("|")]
    rule = "|".join("---:" if name.startswith(":") else "---" for name in names)
    lines = [" | ".join(name.lstrip(":") for name in names), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def picture(name: str, description: str) -> str:
    return f"![{description}](../images/bench-{name}-light.svg)"


def cells(run: Run) -> Iterator[tuple[float, int, dict[str, dict[str, Any]]]]:
    """The senders' figures by sender, for each answer time and number in flight."""
    for delay, in_flight in sorted({(each["delay_ms"], each["in_flight"]) for each in run.figures}):
        yield (
            delay,
            in_flight,
            {
                each["sender"]: each
                for each in run.figures
                if (each["delay_ms"], each["in_flight"]) == (delay, in_flight)
            },
        )


def senders(run: Run) -> str:
    rounds = run.settings["rounds"]
    share = "" if run.settings["share"] == 1 else f", {run.settings['share']:.0%} of the usual number of events"
    parts = [
        f"The run of {run.where}, {'one round' if rounds == 1 else f'the median of {rounds} rounds'}{share}.\n"
        f"The answering server's own limit: {run.settings['server_limit']:,.0f} answers a second.",
        picture(
            "latency",
            "Events a second against the time to an answer, 256 in flight; the figures are in the tables",
        ),
        picture(
            "in-flight",
            "Events a second against requests in flight, answers after 50 ms; the figures are in the tables",
        ),
    ]
    for delay, in_flight, found in cells(run):
        pool, bare = (found[name]["rate"] for name in ("requests, thread pool", "bare libcurl, the limit"))
        rows = [
            [
                name,
                f"{each['rate']:,.0f}",
                f"{each['cpu_us']:,.0f}",
                f"{each['peak_mb']:,.0f}",
                f"{each['rate'] / pool:.2f}",
                f"{each['rate'] / bare:.0%}",
            ]
            for name, each in found.items()
        ]
        heads = "sender |:events a second |:CPU, us an event |:peak MB |:of the thread pool |:of bare libcurl"
        parts += [f"### Answers after {delay:.0f} ms, {in_flight} in flight", table(heads, rows)]
    return "\n\n".join(parts)


def refusals(run: Run) -> str:
    parts = [f"The run of {run.where}."]
    by_chance = {each["refusals"]: each["rate"] for each in run.figures if "refusals" in each}
    if by_chance:
        rows = [[name, f"{rate:,.0f}", f"{rate / by_chance['none']:.0%}"] for name, rate in by_chance.items()]
        parts.append(table("refusals |:events a second |:of that without", rows))
    for curve in (each for each in run.figures if "limit" in each):
        limit, late, refused = curve["limit"], curve["taken"][20:], curve["refused"]
        parts.append(
            picture(
                "refusals", f"Requests that a server of {limit:,} events a second takes and refuses, second by second"
            )
        )
        if late:
            average = f"{sum(late) / len(late):,.1f} on average"
            parts.append(
                f"The server takes {limit:,} a second. After 20 s it took {span(late)} in a second, {average}."
            )
            parts[-1] += f"\nIt refused {sum(refused):,} requests in all, {sum(refused[20:]):,} of them after 20 s."
    return "\n\n".join(parts)


def earlier(run: Run) -> str:
    first = run.figures[0]["cpu_us"]
    rows = [[each["provider"], f"{each['cpu_us']:.1f}", f"{each['cpu_us'] / first:.0%}"] for each in run.figures]
    heads = "provider |:CPU, us an event |:of the first"
    return f"The run of {run.where}, the best of {run.settings['rounds']}.\n\n{table(heads, rows)}"


def ledger(run: Run) -> str:
    batches = [each for each in run.figures if "batch" in each]
    names = ("cpu_us", "bytes_written", "bytes_packed")
    rows = [[each["in_flight"], each["batch"], *(span(each[name]) for name in names)] for each in batches]
    heads = ":`max_in_flight` |:events in a batch |:us CPU an event |:bytes an event as written |:packed"
    rounds = len(batches[0]["cpu_us"])
    times = f"{run.settings['events']:,} events" + (f", {rounds} rounds" if rounds > 1 else "")
    large = [each for each in run.figures if "database" in each]
    parts = [f"The run of {run.where}, {times}.", table(heads, rows)]
    if large:
        count = len(large[0]["parts_us"])
        parts += [
            f"One task of {run.settings['events']:,} events after ten small ones, microseconds an event in each of its "
            f"{count} parts, with what the database takes:",
            table(
                "database |" + " |".join(f":part {number}" for number in range(1, count + 1)),
                [[DATABASES[each["database"]], *each["parts_us"]] for each in large],
            ),
        ]
    return "\n\n".join(parts)


def scale(run: Run) -> str:
    rows = [
        [
            f"{each['events']:,}",
            SPREADS[each["devices"]],
            f"{each['events'] / each['seconds']:,.0f}",
            f"{each['cpu_us']:,.0f}",
            f"{each['seconds'] / each['events'] * 1e6:,.0f}",
            f"{each['peak_mb']:,.0f}",
        ]
        for each in run.figures
    ]
    to = "the answering server" if run.settings["server"] == "answering" else "the stand-in for Adjust"
    parts = [
        f"The run of {run.where}, {run.settings['in_flight']} in flight, to {to}.",
        picture(
            "memory",
            "Peak memory of the sending process against the number of events; the figures are in the table",
        ),
        table(":events | devices |:events a second |:us CPU an event |:us an event |:peak MB", rows),
    ]
    return "\n\n".join(parts)


def startup(run: Run) -> str:
    """The steps of the start, and their sum without Airflow's own imports."""
    rows = [[each["step"], f"{each['ms']:,.0f}", f"{each['cpu_ms']:,.0f}"] for each in run.figures]
    ours = run.figures[1:]
    rows.append(
        [
            "**from Airflow's own imports to the first request**",
            *(f"{sum(each[key] for each in ours):,.0f}" for key in ("ms", "cpu_ms")),
        ]
    )
    return f"The run of {run.where}, the best of {run.settings['rounds']} processes.\n\n" + table(
        "step |:ms |:ms of the processor", rows
    )


SECTIONS: dict[str, Callable[[Run], str]] = {
    "senders": senders,
    "refusals": refusals,
    "earlier": earlier,
    "ledger": ledger,
    "scale": scale,
    "startup": startup,
}


def section(run: Run) -> str:
    """The part's section, as it stands between its marks."""
    return SECTIONS[run.part](run)


def sections(runs: dict[str, Run]) -> dict[str, str]:
    """The text of every section that these runs have figures for."""
    return {**{part: section(run) for part, run in runs.items()}, "aims": aims_table(runs)}


def brought_up_to_date(text: str, runs: dict[str, Run]) -> str:
    """The page with the sections of these runs; the others stay as they are."""
    for name, found in sections(runs).items():
        text = with_section(text, name, found)
    return text
