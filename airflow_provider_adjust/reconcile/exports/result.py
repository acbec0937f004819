"""The result of a comparison of exports: counts and money by verdict, the table, and the file of differences."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TextIO

from airflow_provider_adjust.reconcile.exports.join import DIFFERENCES, Compared, Status, Sum, Verdict
from airflow_provider_adjust.reconcile.exports.reader import Reading
from airflow_provider_adjust.reconcile.exports.values import amount_of
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.account.tables import money, plain_table
from airflow_provider_adjust.s2s.ledger import verdicts as ledger_verdicts
from airflow_provider_adjust.s2s.ledger.statements import Scope
from airflow_provider_adjust.s2s.ledger.verdicts import ComparedDay

#: The meaning of each verdict.
MEANINGS: Mapping[str, str] = {
    Verdict.BOOKED: "booked once, as sent",
    Verdict.BOOKED_MORE: "booked twice or more",
    Verdict.MISSING: "sent, not in the exports",
    Verdict.OTHER_AMOUNT: "booked with another amount or currency",
    Verdict.OTHER_TIME: "booked with another time",
    Verdict.UNKNOWN: "booked, but not known as sent",
    Verdict.REFUSED_YET_BOOKED: "refused by Adjust, and yet booked",
    Verdict.IN_DOUBT: "in doubt, not in the exports",
    Verdict.TOO_RECENT: "sent too recently to be in the exports",
    Verdict.DUPLICATE: "a duplicate: Adjust already had it from another sender",
    Verdict.REFUSED: "refused by Adjust, and not booked",
    Verdict.UNDER_WAY: "being sent right now",
}
#: Verdicts that do not count as sent on that day.
_NOT_SENT = frozenset({Verdict.UNKNOWN, Verdict.REFUSED, Verdict.UNDER_WAY})
#: The page's verdict on a day with such an event; the first match counts.
_DAY_VERDICTS = (
    (Verdict.MISSING, ledger_verdicts.Verdict.NOT_BOOKED),
    (Verdict.BOOKED_MORE, ledger_verdicts.Verdict.DIFFERENT),
    (Verdict.OTHER_AMOUNT, ledger_verdicts.Verdict.DIFFERENT),
    (Verdict.OTHER_TIME, ledger_verdicts.Verdict.DIFFERENT),
    (Verdict.REFUSED_YET_BOOKED, ledger_verdicts.Verdict.DIFFERENT),
    (Verdict.UNKNOWN, ledger_verdicts.Verdict.NOT_OURS),
    (Verdict.IN_DOUBT, ledger_verdicts.Verdict.IN_DOUBT),
)
#: The columns of the file of differences.
DIFFERENCE_COLUMNS = (
    "verdict",
    "event_token",
    "event_id",
    "status",
    "sent_at",
    "booked_at",
    "amount",
    "currency",
    "booked_amount",
    "booked_currency",
    "lines",
    "first_line",
    "last_line",
)
#: The most hours and problems that a message names.
_MOST_NAMED = 5


@dataclass(slots=True)
class DoubtCounts:
    """The outcomes of events in doubt: settled as delivered, released to be sent again, or left, by reason."""

    settled: int = 0
    released: int = 0
    left: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Proof:
    """The complete comparison."""

    window: Window
    reading: Reading
    event_tokens: Mapping[int, str]
    sums: Sequence[Sum] = ()
    doubt: DoubtCounts = field(default_factory=DoubtCounts)
    hours_without_file: Sequence[datetime] = ()
    repeated_ids: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Events by verdict."""
        counts: Counter[str] = Counter()
        for each in self.sums:
            counts[each.verdict] += each.events if each.verdict != Verdict.UNKNOWN else each.booked_events
        return counts

    @property
    def sent(self) -> int:
        """How many sent events were compared."""
        return sum(count for verdict, count in self.counts.items() if verdict not in _NOT_SENT)

    def differing(self, tolerated: Collection[str] = ()) -> int:
        """How many events differ in a way that is not tolerated."""
        counts = self.counts
        return sum(counts[verdict] for verdict in DIFFERENCES if verdict not in tolerated)

    def table(self) -> str:
        """Events and amounts by verdict, and notes about the files."""
        rows = []
        for verdict, meaning in MEANINGS.items():
            if count := self.counts[verdict]:
                sums = [each for each in self.sums if each.verdict == verdict]
                sent = {} if verdict == Verdict.UNKNOWN else _amounts(sums, booked=False)
                rows.append((meaning, f"{count:,}", money(sent), money(_amounts(sums, booked=True))))
        table = plain_table(("events of the window", "count", "sent", "booked"), rows, right=("count",))
        reading = self.reading
        notes = [
            f"{len(reading.paths):,} files, {reading.lines:,} lines, {reading.taken:,} of them compared",
            *(f"{count:,} lines {what}" for what, count in reading.left_out.most_common()),
        ]
        doubt = self.doubt
        if doubt.settled or doubt.released or doubt.left:
            notes.append(f"in doubt: {doubt.settled:,} settled as delivered, {doubt.released:,} may be sent again")
            notes += [f"{count:,} left in doubt: {why}" for why, count in doubt.left.most_common()]
        if self.repeated_ids:
            notes.append(f"{self.repeated_ids:,} rows repeat an event id, and were left out")
        if hours := self.hours_without_file:
            notes.append(f"{len(hours):,} hours between them have no file: {named_hours(hours)}")
        notes += reading.problems[:_MOST_NAMED]
        if len(reading.problems) > _MOST_NAMED:
            notes.append(f"and {len(reading.problems) - _MOST_NAMED:,} more files with problems")
        return "\n".join([table, *notes])

    def days(self, scopes: Mapping[int, Scope]) -> list[ComparedDay]:
        """One verdict for each scope, UTC day and currency, for the page.

        An incomplete day has none, since it would override the verdict on the complete day.

        :param scopes: by their numbers.
        """
        groups: dict[tuple[int, str, str], list[Sum]] = {}
        for each in self.sums:
            if each.day and self._is_whole(date.fromisoformat(each.day)):
                groups.setdefault((each.scope, each.day, (each.currency or "")[:3]), []).append(each)
        found = []
        for (scope, day, currency), sums in groups.items():
            sent = [each for each in sums if each.verdict not in _NOT_SENT]
            said = {each.verdict for each in sums}
            found.append(
                ComparedDay(
                    scopes[scope],
                    date.fromisoformat(day),
                    next((word for verdict, word in _DAY_VERDICTS if verdict in said), ledger_verdicts.Verdict.EQUAL),
                    sum(each.events for each in sent),
                    sum(each.booked_events for each in sums),
                    sum((_amount(each, booked=False) for each in sent), Decimal(0)),
                    sum((_amount(each, booked=True) for each in sums), Decimal(0)),
                    currency,
                )
            )
        return found

    def _is_whole(self, day: date) -> bool:
        begins_at = datetime.combine(day, time(), UTC)
        return self.window.start <= begins_at and begins_at + timedelta(days=1) <= self.window.end

    def as_json(self) -> dict[str, Any]:
        """The task's result, in JSON types."""
        counts = self.counts
        sent = [each for each in self.sums if each.verdict not in _NOT_SENT]
        return {
            "window": [self.window.start.isoformat(), self.window.end.isoformat()],
            "files": len(self.reading.paths),
            "lines": self.reading.lines,
            "events": {"sent": self.sent, **{verdict.value: counts[verdict] for verdict in Verdict}},
            "revenue": {
                "sent": _texts(_amounts(sent, booked=False)),
                "booked": _texts(_amounts(self.sums, booked=True)),
            },
            "doubt": {
                "settled": self.doubt.settled,
                "released": self.doubt.released,
                "left": self.doubt.left.total(),
            },
            "without_event_id": self.reading.left_out["without an event id"],
            "hours_without_file": len(self.hours_without_file),
            "problems": len(self.reading.problems),
        }


def named_hours(hours: Sequence[datetime]) -> str:
    """The first hours, and the number of further ones."""
    shown = ", ".join(each.strftime("%Y-%m-%d %H:00") for each in hours[:_MOST_NAMED])
    return shown + (f" and {len(hours) - _MOST_NAMED:,} more" if len(hours) > _MOST_NAMED else "")


class DifferencesFile:
    """Writes the events that differ, or were in doubt, as CSV."""

    def __init__(self, opened: TextIO, event_tokens: Mapping[int, str], paths: Sequence[str]) -> None:
        self._opened = opened
        self._writer = csv.writer(opened, lineterminator="\n")
        self._tokens = event_tokens
        self._paths = paths
        self._writer.writerow(DIFFERENCE_COLUMNS)

    def write(self, compared: Iterable[Compared], verdict: str | None = None) -> None:
        """Write events, with their own verdict or the one given."""
        for each in compared:
            self._writer.writerow(
                (
                    verdict or each.verdict,
                    self._tokens.get(each.scope, ""),
                    each.event_id,
                    "" if each.status is None else Status(each.status).name.lower(),
                    _time(each.seconds),
                    _time(each.booked_seconds),
                    _micros(each.micros),
                    each.currency,
                    _micros(each.booked_micros),
                    each.booked_currency,
                    each.lines,
                    self._place(each.first_place),
                    self._place(each.last_place),
                )
            )

    def flush(self) -> None:
        """Write it to disk: the ledger deletes released events, so that only this list names them."""
        self._opened.flush()

    def _place(self, place: int | None) -> str:
        return "" if place is None else f"{self._paths[place >> 40]}:{place & ((1 << 40) - 1)}"


def _time(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _micros(micros: int | None) -> str:
    return "" if micros is None else format(amount_of(0, micros), "f")


def _amount(each: Sum, *, booked: bool) -> Decimal:
    return amount_of(each.booked_units, each.booked_millionths) if booked else amount_of(each.units, each.millionths)


def _amounts(sums: Iterable[Sum], *, booked: bool) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for each in sums:
        if each.currency and (amount := _amount(each, booked=booked)):
            amounts[each.currency] = amounts.get(each.currency, Decimal(0)) + amount
    return amounts


def _texts(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: format(amount, "f") for currency, amount in sorted(amounts.items())}
