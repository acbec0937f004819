"""The page of benchmarks is made of figures: it says what they say, and a run renews only what it measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from benchmark import aims, page, part, results, scale
from benchmark.results import Run

DOCS = Path(__file__).resolve().parent.parent / "docs"
HAND_WRITTEN = "A sentence by hand."


def run_of(part: str, *figures: results.Figure, **settings: object) -> Run:
    return Run(part, "2026-01-02", "a machine, 8 cores", "3.13.1", dict(settings), list(figures))


def sent(sender: str, rate: int, delay_ms: int = 0, in_flight: int = 64) -> results.Figure:
    return {
        "delay_ms": delay_ms,
        "in_flight": in_flight,
        "sender": sender,
        "rate": rate,
        "cpu_us": 12,
        "peak_mb": 34,
    }


RUNS = {
    "senders": run_of(
        "senders",
        *(
            sent(sender, rate // (1 + delay), delay, in_flight)
            for delay, in_flight in ((0, 64), (0, 256), (50, 256), (50, 1024))
            for sender, rate in (
                ("requests, thread pool", 1_000_000),
                ("provider, requests", 2_000_000),
                ("provider, libcurl", 30_000_000),
                ("provider, libcurl, ledger", 15_000_000),
                ("bare libcurl, the limit", 40_000_000),
            )
        ),
        rounds=2,
        share=1.0,
        server_limit=99_000,
    ),
    "refusals": run_of(
        "refusals",
        {"refusals": "none", "rate": 1_000},
        {"refusals": "1 % of 503", "rate": 790},
        {"limit": 100, "taken": [0] * 20 + [96, 98], "refused": [5] * 20 + [0, 1]},
    ),
    "earlier": run_of("earlier", {"provider": "old", "cpu_us": 40.0}, {"provider": "now", "cpu_us": 30.0}, rounds=3),
    "ledger": run_of(
        "ledger",
        {"in_flight": 32, "batch": 64, "cpu_us": [41, 39], "bytes_written": [300], "bytes_packed": [200]},
        {"database": "sqlite", "parts_us": [100, 90, 111]},
        events=5,
    ),
    "scale": run_of(
        "scale",
        {"events": 100_000, "devices": "two", "seconds": 10.0, "cpu_us": 60, "peak_mb": 100},
        {"events": 1_000_000, "devices": "two", "seconds": 100.0, "cpu_us": 63, "peak_mb": 111},
        in_flight=64,
        server="answering",
    ),
    "startup": run_of(
        "startup",
        {"step": "Airflow", "ms": 900.0, "cpu_ms": 800.0},
        {"step": "import", "ms": 20.0, "cpu_ms": 10.0},
        {"step": "query", "ms": 30.0, "cpu_ms": 5.0},
        rounds=2,
    ),
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A page with the marks of every section, and without figures."""
    for folder in ("explanations", "images"):
        (tmp_path / folder).mkdir()
    marks = (
        f"<!-- generated: {name} -->\nold {name}\n<!-- end of generated: {name} -->"
        for name in [*results.PARTS, "aims"]
    )
    (tmp_path / page.PAGE).write_text(f"\n{HAND_WRITTEN}\n".join(marks), encoding="utf-8")
    return tmp_path


def test_every_part_has_a_section_and_these_figures_cover_all() -> None:
    assert set(page.SECTIONS) == set(results.PARTS) == set(RUNS)


def test_the_figures_are_kept_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "figures.jsonl"
    assert results.load(file) == {}
    results.save(file, dict(reversed(RUNS.items())))
    assert results.load(file) == RUNS
    assert list(results.load(file)) == list(results.PARTS)


def test_the_sections_say_what_the_figures_say() -> None:
    expected = {
        "senders": [
            "The run of 2026-01-02, a machine, 8 cores, Python 3.13.1, the median of 2 rounds.",
            "99,000 answers a second",
            "### Answers after 50 ms, 1024 in flight",
            "| provider, libcurl | 30,000,000 | 12 | 34 | 30.00 | 75% |",
            "../images/bench-latency-light.svg",
            "../images/bench-in-flight-light.svg",
        ],
        "refusals": [
            "| 1 % of 503 | 790 | 79% |",
            "The server takes 100 a second. After 20 s it took 96 to 98 in a second, 97.0 on average.",
            "It refused 101 requests in all, 1 of them after 20 s.",
            "../images/bench-refusals-light.svg",
        ],
        "earlier": ["| old | 40.0 | 100% |", "| now | 30.0 | 75% |"],
        "ledger": ["| 32 | 64 | 39 to 41 | 300 | 200 |", "5 events, 2 rounds", "| SQLite | 100 | 90 | 111 |"],
        "scale": [
            "| 100,000 | two events each | 10,000 | 60 | 100 | 100 |",
            "64 in flight, to the answering server",
            "../images/bench-memory-light.svg",
        ],
        "startup": ["| Airflow | 900 | 800 |", "the first request** | 50 | 15 |", "the best of 2 processes"],
    }
    for name, texts in expected.items():
        section = page.section(RUNS[name])
        assert [text for text in texts if text not in section] == [], name


def test_a_target_is_met_up_to_its_bound_and_no_further() -> None:
    seen = {line.split(" | ")[0].lstrip("| "): line.split(" | ")[1:] for line in aims.aims_table(RUNS).splitlines()[2:]}
    assert seen == {
        "The pipeline alone, default installation: at most 30 us of the processor an event": ["30.0 us", "met |"],
        "libcurl, answers at once, 64 in flight: 25 times a thread pool": ["30.0 times", "met |"],
        "libcurl, answers at once, 64 in flight: 32 % of bare libcurl": ["75 %", "met |"],
        "libcurl, 50 ms, 256 in flight: 95 % of bare libcurl": ["75 %", "**not met** |"],
        "libcurl, 50 ms, 1,024 in flight: 90 % of bare libcurl": ["75 %", "**not met** |"],
        "libcurl with a ledger on Postgres, 50 ms, 256 in flight: 90 % of bare libcurl": ["37 %", "**not met** |"],
        "requests: 1.3 times a thread pool in each table": ["2.00 times", "met |"],
        "A ledger on Postgres, answers at once, 64 in flight: at most 30 % slower": ["50 % slower", "**not met** |"],
        "The ledger alone, batches of 64: at most 40 us of the processor an event": ["41", "**not met** |"],
        "The ledger alone, batches of 64: at most 200 bytes an event, packed": ["200", "met |"],
        "The ledger alone, batches of 64: at most 350 bytes an event, as written": ["300", "met |"],
        "A large task's ledger on SQLite: at most 1.1 times the time an event at its end": [
            "1.11 times",
            "**not met** |",
        ],
        "1 % of 503 with `Retry-After: 1`: 80 % of the throughput without": ["79 %", "**not met** |"],
        "429 above 100 a second: within 10 % of that after 20 s, on average": ["97.0", "met |"],
        "1,000,000 events: at most 1.1 times the memory of 100,000": ["1.11 times", "**not met** |"],
        "1,000,000 events: at most 1.05 times the processor time an event of 100,000": ["1.05 times", "met |"],
    }


def test_what_was_not_measured_is_not_an_aim_that_is_missed() -> None:
    only_pool = run_of("senders", sent("requests, thread pool", 1), rounds=1, share=1.0, server_limit=1)
    short = run_of("refusals", {"limit": 100, "taken": [1], "refused": [0]})
    one_size = dataclasses.replace(RUNS["scale"], figures=RUNS["scale"].figures[:1])
    assert aims.aims_table({"senders": only_pool, "refusals": short, "scale": one_size}).count("\n") == 1


def test_a_run_renews_its_own_section_and_leaves_the_others_alone(docs: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmark import writer

    writer.write(RUNS["scale"], docs)
    text = (docs / page.PAGE).read_text(encoding="utf-8")
    assert page.section(RUNS["scale"]) in text
    assert "1,000,000 events: at most" in text
    assert [name for name in [*results.PARTS, "aims"] if f"old {name}\n" not in text] == ["scale", "aims"]
    assert text.count(HAND_WRITTEN) == len(results.PARTS)
    assert {path.name for path in (docs / "images").iterdir()} == {"bench-memory-light.svg", "bench-memory-dark.svg"}

    writer.write(RUNS["ledger"], docs)
    text = (docs / page.PAGE).read_text(encoding="utf-8")
    assert page.section(RUNS["scale"]) in text
    assert page.section(RUNS["ledger"]) in text
    assert set(results.load(docs / page.RESULTS)) == {"scale", "ledger"}


def test_a_run_with_options_of_its_own_writes_only_when_told() -> None:
    """Its figures are not those of the page."""
    parser = scale.parser()
    for options, is_written in (
        ("", True),
        ("--write", True),
        ("--quick", False),
        ("--quick --write", True),
        ("--events 5", False),
        ("--events 5 --write", True),
    ):
        assert part.is_for_the_page(parser, parser.parse_args(options.split())) is is_written, options


def test_what_is_written_twice_is_the_same(docs: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmark import writer

    results.save(docs / page.RESULTS, RUNS)
    writer.write(None, docs)
    first = {path: path.read_bytes() for path in docs.rglob("*.*")}
    assert len(first) == 2 + 2 * 4
    writer.write(RUNS["senders"], docs)
    assert {path: path.read_bytes() for path in docs.rglob("*.*")} == first


def test_a_picture_names_its_axes_with_units_and_has_no_date(docs: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmark import pictures

    pictures.draw(RUNS, docs / "images")
    expected = {
        "latency": ["time to an answer, ms (256 in flight)", "events a second", "provider, libcurl, ledger"],
        "in-flight": ["requests in flight (answers after 50 ms)", "events a second", "1,024"],
        "memory": ["peak memory of the sender, MB", "events", "1,000,000"],
        "refusals": ["seconds since the start", "requests a second", "refused with 429"],
    }
    for name, texts in expected.items():
        for theme in ("light", "dark"):
            drawn = (docs / "images" / f"bench-{name}-{theme}.svg").read_text(encoding="utf-8")
            assert [text for text in [*texts, pictures.THEMES[theme].background] if text not in drawn] == []
            assert "<dc:date>" not in drawn


def test_the_pages_pictures_are_drawn_of_the_figures_that_are_kept(tmp_path: Path) -> None:
    """tests/test_docs.py says the same of its tables."""
    pytest.importorskip("matplotlib")
    from benchmark import pictures

    pictures.draw(results.load(DOCS / page.RESULTS), tmp_path)
    kept = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "images").glob("bench-*.svg")}
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")} == kept, (
        "run PYTHONPATH=scripts python -m benchmark.writer"
    )
