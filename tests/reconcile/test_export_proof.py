"""Exports against a ledger: each event has its verdict, and what was in doubt is settled only by what an export proves."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from reconcile.export_case import (
    APP,
    DAY,
    NOON,
    TOKEN,
    WINDOW,
    counts,
    delivery,
    every_hour,
    export,
    fill,
    line,
    prove,
)

from airflow_provider_adjust.reconcile.exports.doubt import CHANGED, MAY_BE_IT, NO_FILE, NO_LINES, NOT_ASKED, TOO_RECENT
from airflow_provider_adjust.reconcile.exports.join import Sent, Status
from airflow_provider_adjust.reconcile.exports.prove import Question, prove_by_rows
from airflow_provider_adjust.reconcile.exports.reader import Reading
from airflow_provider_adjust.reconcile.exports.result import Proof
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.ledger.schema import deliveries, totals, tries, verdicts

LATER = {"at": int((NOON + timedelta(minutes=5)).timestamp())}


def statuses(engine: sa.Engine) -> dict[str, tuple[str, str]]:
    query = sa.select(deliveries.c.event_id, deliveries.c.status, deliveries.c.reason)
    with engine.connect() as connection:
        return {event_id: (status, reason) for event_id, status, reason in connection.execute(query)}


def totalled(engine: sa.Engine) -> dict[tuple[str, str], tuple[int, Decimal]]:
    keys = totals.c.outcome, totals.c.reason
    query = sa.select(*keys, sa.func.sum(totals.c.events), sa.func.sum(totals.c.revenue)).group_by(*keys)
    with engine.connect() as connection:
        return {tuple(row[:2]): (int(row[2]), round(Decimal(row[3]), 2)) for row in connection.execute(query) if row[2]}


@pytest.fixture
def sqlite_ledger(tmp_path: Any) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")


def test_every_event_has_its_verdict(ledger_engine: sa.Engine) -> None:
    fill(
        ledger_engine,
        [
            delivery("once"),
            delivery("twice"),
            delivery("lost"),
            delivery("dear"),
            delivery("yen"),
            delivery("late"),
            delivery("free", revenue=None, currency=None),
            delivery("dup-elsewhere", "duplicate"),
            delivery("dup-here", "duplicate"),
            delivery("refused", "rejected"),
            delivery("refused-yet", "rejected"),
            delivery("other-day", occurred_at=(DAY - timedelta(days=3)).replace(tzinfo=None)),
            delivery("of-sandbox", environment="sandbox"),
            delivery("of-rehearsal", destination="127.0.0.1"),
        ],
    )
    differences = io.StringIO()
    first = export(
        [
            line("once"),
            line("twice"),
            line("dear", revenue="99"),
            line("yen", currency="JPY"),
            line("late", **LATER),
            line("free", revenue="", currency=""),
            line("dup-here"),
            line("refused-yet"),
            line("stranger"),
            line("other-day"),
            line("tomorrow", at=int(WINDOW.end.timestamp())),
            line("of-rehearsal"),
        ]
    )
    proof = prove(ledger_engine, every_hour(first, export([line("twice")], part="p2")), differences=differences)
    assert counts(proof) == {
        "booked": 3,
        "booked_more": 1,
        "duplicate": 1,
        "missing": 1,
        "other_amount": 2,
        "other_time": 2,
        "refused": 1,
        "refused_yet_booked": 1,
        "unknown": 2,
    }
    assert (proof.sent, proof.differing(), proof.differing(["unknown", "missing"])) == (11, 9, 6)
    listed = {row["event_id"]: row for row in csv.DictReader(differences.getvalue().splitlines())}
    assert {event_id: row["verdict"] for event_id, row in listed.items()} == {
        "twice": "booked_more",
        "lost": "missing",
        "dear": "other_amount",
        "yen": "other_amount",
        "late": "other_time",
        "other-day": "other_time",
        "refused-yet": "refused_yet_booked",
        "stranger": "unknown",
        "of-rehearsal": "unknown",
    }
    assert listed["twice"]["lines"] == "2"
    assert listed["twice"]["first_line"] == f"{first.path}:3"
    assert (listed["dear"]["amount"], listed["dear"]["booked_amount"]) == ("9.9", "99")
    assert listed["late"]["booked_at"] == "2026-05-01T12:05:00+00:00"
    assert (listed["lost"]["status"], listed["lost"]["sent_at"]) == ("delivered", "2026-05-01T12:00:00+00:00")
    assert "booked twice or more" in proof.table()
    assert statuses(ledger_engine)["lost"] == ("delivered", ""), "only what is in doubt is settled"


def test_exported_events_are_settled_and_missing_ones_may_be_sent_again(ledger_engine: sa.Engine) -> None:
    fill(
        ledger_engine,
        [
            delivery("known"),
            delivery("answer-lost", "in_doubt", reason="no_answer"),
            delivery("answer-lost-2", "in_doubt", reason="no_answer"),
            delivery("killed", "sending", run_id="killed"),
            delivery("never-arrived", "in_doubt", reason="no_answer"),
            delivery("killed-before", "sending", run_id="killed"),
            delivery("erased", "in_doubt", reason="erased"),
            delivery("erased-2", "in_doubt", reason="erased"),
        ],
    )
    differences = io.StringIO()
    files = every_hour(export([line(each) for each in ("known", "answer-lost", "answer-lost-2", "killed", "erased")]))
    proof = prove(ledger_engine, files, differences=differences)
    assert (proof.doubt.settled, proof.doubt.released) == (3, 2)
    assert proof.doubt.left == {CHANGED: 2}, "what was erased is never sent again, and keeps its id only"
    assert statuses(ledger_engine) == {
        "known": ("delivered", ""),
        "answer-lost": ("delivered", "seen_in_export"),
        "answer-lost-2": ("delivered", "seen_in_export"),
        "killed": ("delivered", "seen_in_export"),
        "erased": ("in_doubt", "erased"),
        "erased-2": ("in_doubt", "erased"),
    }
    assert totalled(ledger_engine) == {
        ("delivered", ""): (1, Decimal("9.90")),
        ("in_doubt", "erased"): (2, Decimal("19.80")),
        ("delivered", "seen_in_export"): (3, Decimal("29.70")),
        ("held", "missing_in_export"): (2, Decimal("19.80")),
    }
    listed = {row["event_id"]: row["verdict"] for row in csv.DictReader(differences.getvalue().splitlines())}
    assert listed == {
        "answer-lost": "settled",
        "answer-lost-2": "settled",
        "killed": "settled",
        "never-arrived": "released",
        "killed-before": "released",
    }
    assert counts(prove(ledger_engine, files))["booked"] == 5
    again = prove(ledger_engine, files)
    assert (again.doubt.settled, again.doubt.released) == (0, 0)


def test_what_came_late_is_compared_by_the_time_at_which_it_was_sent(ledger_engine: sa.Engine) -> None:
    late = {"occurred_at": (NOON - timedelta(days=1)).replace(tzinfo=None), "sent_at": NOON.replace(tzinfo=None)}
    doubts = [delivery(name, "in_doubt", reason="no_answer", **late) for name in ("arrived", "never-arrived")]
    fill(ledger_engine, [delivery("known", **late), delivery("lost", **late), *doubts])
    files = every_hour(export([line("known"), line("arrived")]))
    assert counts(prove(ledger_engine, files)) == {"booked": 2, "missing": 1, "in_doubt": 1}
    assert totalled(ledger_engine) == {
        ("delivered", ""): (2, Decimal("19.80")),
        ("delivered", "seen_in_export"): (1, Decimal("9.90")),
        ("held", "missing_in_export"): (1, Decimal("9.90")),
    }
    assert counts(prove(ledger_engine, files, window=Window(DAY - timedelta(days=1), DAY))) == {}


def test_an_absence_proves_nothing_where_the_export_may_be_incomplete(sqlite_ledger: sa.Engine) -> None:
    seen = export([line("known")])
    sent_at = NOON + timedelta(hours=1)
    broken = export([line("x")], hour=sent_at, cut=20)
    for files, changes, why in (
        ([seen], {}, NO_FILE),
        ([each for each in every_hour(seen) if each.name.hour != sent_at], {}, NO_FILE),
        ([*(each for each in every_hour(seen) if each.name.hour != sent_at), broken], {}, NO_FILE),
        (every_hour(export([line("known", event="other1")])), {}, NO_LINES),
        (every_hour(export([line("known", id="")])), {}, NO_LINES),
        (every_hour(seen), {"settle_for": timedelta(days=3650)}, TOO_RECENT),
        (every_hour(seen), {"settle_for": None}, NOT_ASKED),
    ):
        fill(sqlite_ledger, [delivery("a", "in_doubt", reason="no_answer", run_id=repr((why, changes, len(files))))])
        proof = prove(sqlite_ledger, files, **changes)
        assert proof.doubt.left == {why: 1}, (why, changes)
        assert statuses(sqlite_ledger) == {"a": ("in_doubt", "no_answer")}
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text("DELETE FROM adjust_event"))


def test_hours_without_events_may_be_without_files(sqlite_ledger: sa.Engine) -> None:
    fill(sqlite_ledger, [delivery("known"), delivery("a", "in_doubt", reason="no_answer")])
    files = [export([line("known")]), export([], hour=NOON + timedelta(hours=5))]
    assert prove(sqlite_ledger, [], every_hour_has_files=False).doubt.left == {NO_LINES: 1}
    proof = prove(sqlite_ledger, files, every_hour_has_files=False)
    assert (proof.doubt.released, proof.hours_without_file) == (1, [])
    gaps = prove(sqlite_ledger, files)
    assert len(gaps.hours_without_file) == 4
    assert "4 hours between them have no file: 2026-05-01 13:00, " in gaps.table()


def test_an_event_that_was_resent_may_have_arrived_at_any_time_since_it_happened(sqlite_ledger: sa.Engine) -> None:
    late = (NOON + timedelta(hours=9, minutes=30)).replace(tzinfo=None)
    seen = export([line("known", revenue="5")], hour=NOON + timedelta(hours=10))
    files = [each for each in every_hour(seen) if each.name.hour >= NOON + timedelta(hours=9)]
    for lost_answers, left in ((1, {}), (2, {NO_FILE: 1})):
        fill(
            sqlite_ledger,
            [delivery(f"a{lost_answers}", "in_doubt", reason="no_answer", updated_at=late, run_id=str(lost_answers))],
        )
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text(f"UPDATE adjust_event SET lost_answers = {lost_answers}"))
        assert prove(sqlite_ledger, files).doubt.left == left


def test_a_live_try_is_left_alone_and_a_claim_that_changed_hands_is_not_settled(ledger_engine: sa.Engine) -> None:
    fill(ledger_engine, [delivery("known"), delivery("alive", "sending", run_id="alive")])
    with ledger_engine.begin() as connection:
        connection.execute(tries.update().where(tries.c.run_id == "alive").values(lease_until=datetime(2100, 1, 1)))
    proof = prove(ledger_engine, every_hour(export([line("known"), line("alive")])))
    assert counts(proof) == {"booked": 1, "under_way": 1}
    assert statuses(ledger_engine)["alive"] == ("sending", "")
    proof = prove(ledger_engine, every_hour(export([line("known")])))
    assert statuses(ledger_engine)["alive"] == ("sending", "")
    assert proof.differing() == 0


def test_what_was_just_sent_need_not_be_exported_yet(sqlite_ledger: sa.Engine) -> None:
    now = datetime.now(UTC)
    window = Window(now - timedelta(hours=3), now)
    fill(
        sqlite_ledger,
        [
            delivery(
                "new", occurred_at=(now - timedelta(hours=1)).replace(tzinfo=None), updated_at=now.replace(tzinfo=None)
            )
        ],
    )
    proof = prove(sqlite_ledger, [], window=window)
    assert (counts(proof), proof.differing()) == ({"too_recent": 1}, 0)


def test_amounts_and_times_are_compared_within_tolerances(sqlite_ledger: sa.Engine) -> None:
    fill(
        sqlite_ledger,
        [
            delivery("a", revenue=Decimal("9.995")),
            delivery("b", occurred_at=(NOON + timedelta(seconds=0.9)).replace(tzinfo=None)),
        ],
    )
    cents = "{event},[event_id],{revenue},{created_at}"
    at = int(NOON.timestamp())
    rounded = export([f"{TOKEN},a,1000,{at}", f"{TOKEN},b,990,{at}"], head=cents)
    assert counts(prove(sqlite_ledger, [rounded])) == {"booked": 2}
    off = export([line("a", revenue="9.99"), line("b", at=at + 60)])
    assert counts(prove(sqlite_ledger, [off])) == {"booked": 1, "other_time": 1}
    assert counts(prove(sqlite_ledger, [off], amount_tolerance=0)) == {"other_amount": 1, "other_time": 1}
    assert counts(prove(sqlite_ledger, [off], time_tolerance=60)) == {"booked": 2}
    bare = export([f"{TOKEN},a", f"{TOKEN},b"], head="{event},[event_id]")
    assert counts(prove(sqlite_ledger, [bare])) == {"booked": 2}, "what a file does not say is not compared"


def test_files_of_other_hours_are_not_read(sqlite_ledger: sa.Engine) -> None:
    fill(sqlite_ledger, [delivery("a")])
    before, long_after = (
        export([line("a")], hour=hour) for hour in (DAY - timedelta(hours=2), DAY + timedelta(days=9))
    )
    assert len(prove(sqlite_ledger, [before, long_after]).reading.paths) == 1
    assert prove(sqlite_ledger, [before, long_after], read_for=timedelta(days=8)).reading.paths == []


def test_the_page_gets_a_verdict_for_each_whole_day(ledger_engine: sa.Engine) -> None:
    fill(
        ledger_engine,
        [
            delivery("a"),
            delivery("b"),
            delivery("c", currency="USD", revenue=Decimal("1e9")),
            delivery("d", occurred_at=WINDOW.end.replace(tzinfo=None)),
        ],
    )
    window = Window(DAY, WINDOW.end + timedelta(hours=1))
    files = [
        export(
            [line("a"), line("c", currency="USD", revenue="1000000000.01"), line("d", at=int(WINDOW.end.timestamp()))]
        )
    ]
    for _ in range(2):
        prove(ledger_engine, files, window=window)
    with ledger_engine.connect() as connection:
        found = {each.currency: each for each in connection.execute(sa.select(verdicts))}
    assert {(each.day, each.source, each.dag_id, each.task_id) for each in found.values()} == {
        (date(2026, 5, 1), "export", "prove_dag", "prove")
    }
    eur, usd = found["EUR"], found["USD"]
    assert (eur.verdict, eur.sent_events, eur.seen_events, eur.sent_revenue) == ("not_booked", 2, 1, Decimal("19.80"))
    assert (usd.verdict, usd.seen_revenue) == ("different", pytest.approx(Decimal("1000000000.01")))


def test_an_older_ledger_that_has_not_kept_the_host_is_compared(sqlite_ledger: sa.Engine) -> None:
    fill(
        sqlite_ledger,
        [delivery("a"), delivery("b", "in_doubt", destination="", run_id="old"), delivery("c", destination="")],
    )
    proof = prove(sqlite_ledger, every_hour(export([line("a"), line("b"), line("c")])))
    assert (counts(proof), proof.doubt.settled) == ({"booked": 3}, 1)
    assert statuses(sqlite_ledger)["b"] == ("delivered", "seen_in_export")


def test_a_ledger_without_the_app_has_nothing_to_compare(sqlite_ledger: sa.Engine) -> None:
    proof = prove(sqlite_ledger, [export([line("a")])])
    assert (counts(proof), proof.reading.left_out) == ({}, {"of other events": 1})


def test_rows_of_a_warehouse_are_compared_without_a_ledger() -> None:
    at = int(NOON.timestamp())
    rows = [
        (TOKEN, Sent(0, each, at, 9_900_000, "EUR", Status.DELIVERED, at, at))
        for each in ("once", "lost", "once", "twice")
    ]
    differences = io.StringIO()
    proof = prove_by_rows(
        Question(window=WINDOW, app_token=APP, environment="production"),
        [export([line("once"), line("twice"), line("twice"), line("stranger"), line("other", event="other1")])],
        rows,
        [TOKEN],
        now=NOON + timedelta(days=2),
        differences=differences,
    )
    assert counts(proof) == {"booked": 1, "booked_more": 1, "missing": 1, "unknown": 1}
    assert proof.repeated_ids == 1
    assert "1 rows repeat an event id" in proof.table()
    assert len(differences.getvalue().splitlines()) == 4
    assert proof.as_json() == {
        "window": ["2026-05-01T00:00:00+00:00", "2026-05-02T00:00:00+00:00"],
        "files": 1,
        "lines": 5,
        "events": {"sent": 3} | proof.as_json()["events"],
        "revenue": {"sent": {"EUR": "29.7"}, "booked": {"EUR": "39.6"}},
        "doubt": {"settled": 0, "released": 0, "left": 0},
        "without_event_id": 0,
        "hours_without_file": 0,
        "problems": 0,
    }


def test_the_table_names_what_is_wrong_with_the_files() -> None:
    proof = Proof(WINDOW, Reading(problems=[f"file {number}: cut" for number in range(7)]), {})
    assert "file 4: cut\nand 2 more files with problems" in proof.table()


def test_more_doubts_than_a_batch_are_settled(sqlite_ledger: sa.Engine) -> None:
    fill(sqlite_ledger, [delivery(f"e{number:05}", "in_doubt") for number in range(2_500)])
    lines = [line(f"e{number:05}") for number in range(1_500)]
    proof = prove(sqlite_ledger, every_hour(export(lines)))
    assert (proof.doubt.settled, proof.doubt.released) == (1_500, 1_000)
    assert len(statuses(sqlite_ledger)) == 1_500


def test_an_absence_proves_nothing_where_another_line_may_be_the_event(sqlite_ledger: sa.Engine) -> None:
    """Its id may have been sent under another key, under none, or as the digest of another key, or was cut by a tool."""
    at = int(NOON.timestamp())
    for lines, changes, is_it in (
        ([line("", at=at)], {}, True),
        ([line("stranger")], {}, True),
        ([line("", at=at + 1)], {}, True),
        ([line("", at=at + 2)], {}, False),
        ([line("", revenue="9.91")], {}, False),
        ([line("", revenue="x")], {}, True),
        ([line("", at="yesterday")], {}, True),
        ([line("", event="other1")], {}, False),
        ([line("", environment="sandbox")], {}, False),
        ([line("", at=at + 60)], {"time_tolerance": 60}, True),
    ):
        run_id = repr((lines, changes))
        fill(sqlite_ledger, [delivery("known"), delivery("a", "in_doubt", reason="no_answer", run_id=run_id)])
        proof = prove(sqlite_ledger, every_hour(export([line("known"), *lines])), **changes)
        assert (proof.doubt.released, proof.doubt.left) == ((0, {MAY_BE_IT: 1}) if is_it else (1, {})), (lines, changes)
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text("DELETE FROM adjust_event"))


def test_an_hour_with_a_line_that_cannot_be_read_proves_no_absence(sqlite_ledger: sa.Engine) -> None:
    """Such a line may be the event: a quote that is not closed swallows the lines after it."""
    for bad in (line("a") + ",one more", "half", f'"{line("a")}', line("a").replace(TOKEN, f'"{TOKEN}')):
        fill(sqlite_ledger, [delivery("known"), delivery("a", "in_doubt", reason="no_answer", run_id=bad)])
        proof = prove(sqlite_ledger, every_hour(export([line("known"), bad])))
        assert proof.doubt.left == {NO_FILE: 1}, bad
        assert proof.reading.problems == []
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text("DELETE FROM adjust_event"))


def test_a_file_of_another_definition_does_not_stand_for_an_hour(sqlite_ledger: sa.Engine) -> None:
    """An export of installs has a file each hour; that of the events may have lost its own."""
    fill(sqlite_ledger, [delivery("known"), delivery("a", "in_doubt", reason="no_answer")])
    lost = NOON + timedelta(hours=1)
    seen = export([line("known")])
    files = [each for each in every_hour(seen) if each.name.hour != lost]
    files += [export([], hour=each.name.hour, definition="installs") for each in every_hour()]
    assert prove(sqlite_ledger, files).doubt.left == {NO_FILE: 1}
    assert prove(sqlite_ledger, [*files, export([], hour=lost)]).doubt.released == 1


def test_an_event_that_a_later_try_took_over_was_sent_before_it(sqlite_ledger: sa.Engine) -> None:
    """Its one lost answer is the earlier try's, and the later one has sent nothing."""
    late = (NOON + timedelta(hours=9, minutes=30)).replace(tzinfo=None)
    seen = export([line("known")], hour=NOON + timedelta(hours=10))
    files = [each for each in every_hour(seen) if each.name.hour >= NOON + timedelta(hours=9)]
    for reason in ("not_verified", "stopped", "refused_after_resend"):
        fill(sqlite_ledger, [delivery(reason, "in_doubt", reason=reason, updated_at=late, run_id=reason)])
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text("UPDATE adjust_event SET lost_answers = 1"))
        assert prove(sqlite_ledger, files).doubt.left == {NO_FILE: 1}, reason
        with sqlite_ledger.begin() as connection:
            connection.execute(sa.text("DELETE FROM adjust_event"))


def test_what_is_sent_after_the_last_file_that_is_read_is_not_missing(sqlite_ledger: sa.Engine) -> None:
    sent_at = (DAY + timedelta(days=4)).replace(tzinfo=None)
    fill(sqlite_ledger, [delivery("a", updated_at=sent_at)])
    assert counts(prove(sqlite_ledger, every_hour(), read_for=timedelta(days=2))) == {"too_recent": 1}
    assert counts(prove(sqlite_ledger, every_hour(), read_for=timedelta(days=5))) == {"missing": 1}


def test_a_rehearsal_does_not_settle_what_an_older_ledger_sent_to_adjust(sqlite_ledger: sa.Engine) -> None:
    fill(
        sqlite_ledger,
        [
            delivery("rehearsed", destination="127.0.0.1"),
            delivery("a", "in_doubt", destination="", run_id="old", reason="no_answer"),
        ],
    )
    proof = prove(sqlite_ledger, every_hour(export([line("rehearsed")])), destination="127.0.0.1")
    assert (counts(proof), proof.doubt.released) == ({"booked": 1}, 0)


def test_what_is_released_is_on_the_disk_at_once(sqlite_ledger: sa.Engine, tmp_path: Path) -> None:
    """A task that is killed then has forgotten the event in the ledger, and no later try finds it."""
    fill(sqlite_ledger, [delivery("known"), delivery("a", "in_doubt", reason="no_answer")])
    path = tmp_path / "differences.csv"
    with path.open("w") as opened:
        prove(sqlite_ledger, every_hour(export([line("known")])), differences=opened)
        assert "released,f0ob4r,a," in path.read_text()
