"""Join sent events with exported lines in a temporary database file, so that memory use is constant.

The database sorts and merges both sides. Python then reads only the events that differ or are in doubt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from enum import IntEnum, StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from airflow_provider_adjust.reconcile.exports.reader import Line

_BATCH = 10_000
#: The size of the database's cache, in KiB.
_CACHE = 65_536


class Status(IntEnum):
    """The status of a sent event. The first five have the numbers of the ledger's statuses."""

    SENDING = 0
    DELIVERED = 1
    DUPLICATE = 2
    REJECTED = 3
    IN_DOUBT = 4
    #: A running task is sending it now.
    UNDER_WAY = 5


class Verdict(StrEnum):
    """The result of comparing a sent event with Adjust's lines."""

    BOOKED = "booked"
    BOOKED_MORE = "booked_more"
    MISSING = "missing"
    OTHER_AMOUNT = "other_amount"
    OTHER_TIME = "other_time"
    UNKNOWN = "unknown"
    REFUSED_YET_BOOKED = "refused_yet_booked"
    IN_DOUBT = "in_doubt"
    TOO_RECENT = "too_recent"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    UNDER_WAY = "under_way"


#: The verdicts that report a problem, worst first.
DIFFERENCES = (
    Verdict.BOOKED_MORE,
    Verdict.MISSING,
    Verdict.OTHER_AMOUNT,
    Verdict.OTHER_TIME,
    Verdict.REFUSED_YET_BOOKED,
    Verdict.UNKNOWN,
)


class Sent(NamedTuple):
    """An event that was sent, between ``sent_from`` and ``settled_at`` in Unix seconds.

    ``micros`` is None if the amount is not known any more. The last two fields are numbers of the ledger.
    """

    scope: int
    event_id: str
    seconds: int
    micros: int | None
    currency: str | None
    status: int
    sent_from: int
    settled_at: int
    try_id: int = 0
    scope_id: int = 0


class Compared(NamedTuple):
    """An event with its verdict: what was sent, and what the exports have. ``lines`` is the number of its lines.

    ``may_be_another_line``: the event is in doubt, and a line without a known id has its time and amount.
    """

    verdict: str
    scope: int
    event_id: str
    seconds: int | None
    micros: int | None
    currency: str | None
    status: int | None
    sent_from: int | None
    settled_at: int | None
    try_id: int | None
    scope_id: int | None
    lines: int
    booked_seconds: int | None
    booked_micros: int | None
    booked_currency: str | None
    first_place: int | None
    last_place: int | None
    may_be_another_line: int = 0


class Sum(NamedTuple):
    """The events of a scope, UTC day, currency and verdict: how many were sent, how many booked, and their amounts."""

    scope: int
    day: str
    currency: str | None
    verdict: str
    events: int
    booked_events: int
    units: int
    millionths: int
    booked_units: int
    booked_millionths: int


_TABLES = """
CREATE TABLE line (scope INTEGER, id TEXT, seconds INTEGER, micros INTEGER, slack INTEGER, currency TEXT, place INTEGER);
CREATE TABLE given (
  scope INTEGER, id TEXT, seconds INTEGER, micros INTEGER, currency TEXT, status INTEGER,
  sent_from INTEGER, settled_at INTEGER, try_id INTEGER, scope_id INTEGER
);
CREATE TABLE stranger (scope INTEGER, seconds INTEGER, micros INTEGER, slack INTEGER);
CREATE TABLE booked (
  scope INTEGER, id TEXT, lines INTEGER, seconds INTEGER, last_seconds INTEGER, micros INTEGER, most_micros INTEGER,
  all_units INTEGER, all_millionths INTEGER, slack INTEGER, currency TEXT, last_currency TEXT, place INTEGER,
  last_place INTEGER, PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE TABLE sent (
  scope INTEGER, id TEXT, seconds INTEGER, micros INTEGER, currency TEXT, status INTEGER,
  sent_from INTEGER, settled_at INTEGER, try_id INTEGER, scope_id INTEGER,
  PRIMARY KEY (scope, id)
) WITHOUT ROWID;
"""
#: Sorted first, so that each table is written sequentially.
_SORT_LINES = """
INSERT INTO booked
SELECT scope, id, count(*), min(seconds), max(seconds), min(micros), max(micros), sum(micros / 1000000),
  sum(micros % 1000000), max(slack), min(currency), max(currency), min(place), max(place)
FROM line WHERE id <> '' GROUP BY scope, id ORDER BY scope, id;
INSERT INTO stranger SELECT DISTINCT scope, seconds, micros, slack FROM line WHERE id = ''
"""
_SORT_GIVEN = "INSERT OR IGNORE INTO sent SELECT * FROM given ORDER BY scope, id"
_IS_OTHER_AMOUNT = """
  sent.micros IS NOT NULL AND booked.micros IS NOT NULL AND (
    max(abs(booked.micros - sent.micros), abs(booked.most_micros - sent.micros)) > :amount + booked.slack
    OR (sent.micros <> 0 AND sent.currency IS NOT NULL AND booked.currency IS NOT NULL
      AND (booked.currency <> sent.currency OR booked.last_currency <> sent.currency)))
"""
_IS_OTHER_TIME = """
  booked.seconds IS NOT NULL
  AND max(abs(booked.seconds - sent.seconds), abs(booked.last_seconds - sent.seconds)) > :time
"""
_VERDICT = f"""
CREATE TABLE compared AS
SELECT
  CASE
    WHEN sent.status = 5 THEN 'under_way'
    WHEN booked.id IS NULL AND sent.status IN (0, 4) THEN 'in_doubt'
    WHEN booked.id IS NULL AND sent.status = 2 THEN 'duplicate'
    WHEN booked.id IS NULL AND sent.status = 3 THEN 'refused'
    WHEN booked.id IS NULL AND sent.settled_at > :settled THEN 'too_recent'
    WHEN booked.id IS NULL THEN 'missing'
    WHEN booked.lines > 1 THEN 'booked_more'
    WHEN sent.status = 3 THEN 'refused_yet_booked'
    WHEN {_IS_OTHER_AMOUNT} THEN 'other_amount'
    WHEN {_IS_OTHER_TIME} THEN 'other_time'
    ELSE 'booked'
  END AS verdict,
  sent.scope, sent.id, sent.seconds, sent.micros, sent.currency, sent.status, sent.sent_from, sent.settled_at,
  sent.try_id, sent.scope_id,
  coalesce(booked.lines, 0) AS lines, booked.seconds AS booked_seconds, booked.micros AS booked_micros,
  booked.currency AS booked_currency, booked.place, booked.last_place,
  coalesce(booked.all_units, 0) AS booked_units, coalesce(booked.all_millionths, 0) AS booked_millionths
FROM sent LEFT JOIN booked USING (scope, id)
"""  # noqa: S608 - constants only
_UNMATCHED = """
SELECT scope, id FROM booked
WHERE (seconds IS NULL OR seconds BETWEEN ? AND ?)
  AND NOT EXISTS (SELECT 1 FROM sent WHERE sent.scope = booked.scope AND sent.id = booked.id)
"""
_ADD_UNKNOWN = """
INSERT INTO compared
SELECT 'unknown', scope, id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, lines, seconds, micros, currency, place, last_place,
  coalesce(all_units, 0), coalesce(all_millionths, 0)
FROM booked WHERE scope = ? AND id = ?
"""
_KEEP_UNKNOWN = """
INSERT INTO stranger
SELECT scope, booked.seconds, booked.micros, booked.slack FROM booked JOIN compared USING (scope, id)
WHERE compared.verdict = 'unknown';
CREATE INDEX strangers ON stranger (scope, seconds)
"""
#: Two conditions, since an index cannot serve both at once.
_MAY_BE_ANOTHER_LINE = " OR ".join(
    f"""EXISTS (
      SELECT 1 FROM stranger AS other WHERE other.scope = compared.scope AND {is_then} AND (
        other.micros IS NULL OR compared.micros IS NULL
        OR abs(other.micros - compared.micros) <= :amount + other.slack))"""  # noqa: S608 - constants only
    for is_then in (
        "other.seconds BETWEEN compared.seconds - :time AND compared.seconds + :time",
        "other.seconds IS NULL",
    )
)
_COLUMNS = """
verdict, scope, id, seconds, micros, currency, status, sent_from, settled_at, try_id, scope_id, lines,
booked_seconds, booked_micros, booked_currency, place, last_place
"""
_SUMS = """
SELECT scope, date(coalesce(seconds, booked_seconds), 'unixepoch') AS day, coalesce(currency, booked_currency) AS money,
  verdict, sum(seconds IS NOT NULL), sum(lines), coalesce(sum(micros / 1000000), 0), coalesce(sum(micros % 1000000), 0),
  sum(booked_units), sum(booked_millionths)
FROM compared GROUP BY scope, day, money, verdict ORDER BY scope, day, money, verdict
"""


class Join:
    """The join in a file of ``folder``: ``add_lines`` and ``add_sent`` fill it, ``compare`` joins both sides."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "join.db", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE}", "temp_store = FILE"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_TABLES)
        self._tolerances = {"amount": 0, "time": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_lines(self, lines: Iterable[Line]) -> None:
        """Write exported lines."""
        self._insert("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?)", lines)

    def add_sent(self, sent: Iterable[Sent]) -> None:
        """Add sent events."""
        self._insert("INSERT INTO given VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sent)

    def _insert(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        iterator = iter(rows)
        while batch := list(islice(iterator, _BATCH)):
            self._database.execute("BEGIN")
            self._database.executemany(statement, batch)
            self._database.execute("COMMIT")

    def sort_lines(self) -> None:
        """Group the lines by event, after all were added."""
        self._database.executescript(_SORT_LINES + "; DROP TABLE line;")

    def sort_sent(self) -> int:
        """Sort the sent events, after all were added; return how many rows repeated an id."""
        self._database.execute(_SORT_GIVEN)
        counts = [self._scalar(f"SELECT count(*) FROM {table}") for table in ("given", "sent")]  # noqa: S608
        self._database.execute("DELETE FROM given")
        return counts[0] - counts[1]

    def unmatched(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """The booked events that were not sent, between two times in Unix seconds, and those without a time."""
        return iter(self._database.cursor().execute(_UNMATCHED, (first, last)))

    def compare(self, *, amount_tolerance: int, time_tolerance: int, settled_before: int) -> None:
        """Give each sent event its verdict.

        :param amount_tolerance: in millionths.
        :param time_tolerance: in seconds.
        :param settled_before: events sent after this time, in Unix seconds, may not be exported yet.
        """
        self._tolerances = {"amount": amount_tolerance, "time": time_tolerance}
        self._database.execute(_VERDICT, {**self._tolerances, "settled": settled_before})

    def add_unknown(self, found: Iterable[tuple[int, str]]) -> None:
        """Add booked events that were not sent from here."""
        self._insert(_ADD_UNKNOWN, found)
        self._database.executescript(_KEEP_UNKNOWN)

    def sums(self) -> list[Sum]:
        """The counts and amounts of all compared events."""
        return [Sum(*row) for row in self._database.execute(_SUMS)]

    def with_verdict(self, *verdicts: str) -> Iterator[Compared]:
        """The events with one of the verdicts, in the verdicts' order."""
        for verdict in verdicts:
            query = f"SELECT {_COLUMNS} FROM compared WHERE verdict = ? ORDER BY scope, id"  # noqa: S608
            for row in self._database.cursor().execute(query, (verdict,)):
                yield Compared(*row)

    def doubts(self, *, is_booked: bool) -> Iterator[Compared]:
        """The events in doubt that the exports have, or do not have."""
        condition, is_another = ("lines > 0", "0") if is_booked else ("lines = 0", _MAY_BE_ANOTHER_LINE)
        query = (
            f"SELECT {_COLUMNS}, {is_another} FROM compared "  # noqa: S608 - constants only
            f"WHERE status IN (0, 4) AND {condition} ORDER BY scope, id"
        )
        for row in self._database.cursor().execute(query, {} if is_booked else self._tolerances):
            yield Compared(*row)

    def _scalar(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])
