"""The complete comparison: read the files, join them with a ledger or the rows of a query, and settle events in doubt."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa

from airflow_provider_adjust.reconcile.exports.doubt import CHANGED, NOT_ASKED, Settling, why_in_doubt
from airflow_provider_adjust.reconcile.exports.join import DIFFERENCES, Compared, Join, Sent, Status
from airflow_provider_adjust.reconcile.exports.names import ExportFile, of_app
from airflow_provider_adjust.reconcile.exports.reader import Reading, Wanted, read_files
from airflow_provider_adjust.reconcile.exports.result import DifferencesFile, DoubtCounts, Proof
from airflow_provider_adjust.reconcile.exports.values import MICROS
from airflow_provider_adjust.reconcile.exports.window import HOUR, Window, hour_of
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.proof import (
    Doubt,
    LedgerEvent,
    event_scopes,
    events_between,
    events_with_ids,
    release_missing,
    settle_seen,
)
from airflow_provider_adjust.s2s.ledger.records import event_key
from airflow_provider_adjust.s2s.ledger.schema import database_now
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.ledger.verdicts import write_verdicts

#: How long an export may take, if ``settle_for`` is not set.
USUAL_DELAY = timedelta(hours=6)
_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared, and with which tolerance.

    ``settle_for``: how long ago an event must have been sent before its absence counts; None settles nothing. ``read_for``:
    how long after the window's end files are read; None reads all later ones. ``every_hour_has_files``: an hour without a file
    is still missing, rather than empty.
    """

    window: Window
    app_token: str
    environment: str
    columns: Mapping[str, str] = field(default_factory=dict)
    amount_tolerance: int = 5_000
    time_tolerance: int = 1
    settle_for: timedelta | None = USUAL_DELAY
    read_for: timedelta | None = None
    every_hour_has_files: bool = True

    def files(self, files: Iterable[ExportFile]) -> list[ExportFile]:
        """The files that may contain events of the window: those of its hours and of later ones."""
        first = hour_of(self.window.start) - HOUR
        last = None if self.read_for is None else self.window.end + self.read_for
        found = of_app(files, self.app_token)
        return [each for each in found if first <= each.name.hour and (last is None or each.name.hour < last)]

    def settled_before(self, now: datetime) -> int:
        """The latest time of sending, in Unix seconds, at which an event must be in the files."""
        latest = now - (USUAL_DELAY if self.settle_for is None else self.settle_for)
        if self.read_for is not None:
            latest = min(latest, self.window.end + self.read_for)
        return int(latest.timestamp())

    def whole_hours(self, files: Sequence[ExportFile], reading: Reading) -> set[tuple[datetime, str]]:
        """The hours with complete files, and the definitions of those."""
        whole = {(each.name.hour, each.name.definition) for each in files}
        if not self.every_hour_has_files:
            latest: dict[str, datetime] = {}
            for hour, definition in whole:
                latest[definition] = max(hour, latest.get(definition, hour))
            first = hour_of(self.window.start) - HOUR
            whole = {(hour, each) for each, last in latest.items() for hour in Window(first, last + HOUR).hours()}
        return {(hour, definition) for hour, definition in whole if hour not in reading.broken_hours}

    def wanted(self, scopes: Mapping[str, int]) -> Wanted:
        """The lines to read, for these event tokens and their numbers."""
        return Wanted(
            self.app_token,
            self.environment,
            scopes,
            self.columns,
            event_key,
            int(self.window.start.timestamp()) - self.time_tolerance,
            int(self.window.end.timestamp()) + self.time_tolerance,
        )


def prove_by_ledger(
    question: Question,
    files: Iterable[ExportFile],
    engine: sa.Engine,
    *,
    destination: str,
    task: TaskInstanceId,
    differences: TextIO | None = None,
) -> Proof:
    """Compare the exports with the ledger; settle its events in doubt.

    :param destination: the host that the events were sent to.
    :param task: the task that the page names with the verdicts.
    :param differences: a file for the events that differ or were in doubt.
    """
    prepare(engine)
    known = event_scopes(
        engine, app_token=question.app_token, environment=question.environment, destination=destination
    )
    tokens = {number: scope.event_key for number, scope in known.items()}
    # Two scopes may have the same token, since older ledgers did not store the host.
    scopes = {token: min(each for each in tokens if tokens[each] == token) for token in tokens.values()}
    window = question.window

    def sent(found: Iterable[LedgerEvent]) -> Iterator[Sent]:
        return (_sent(each, scopes[tokens[each.scope_id]]) for each in found)

    with _exports_read(question, files, scopes) as (join, proof, whole_hours):
        # Read after the files: events sent meanwhile are too recent, and events settled meanwhile are known.
        with engine.connect() as connection:
            now = database_now(connection).replace(tzinfo=UTC)
        join.add_sent(sent(events_between(engine, tokens, window.start, window.end)))
        join.sort_sent()
        # An event booked within the window was not unknown if it was sent with another time.
        elsewhere = (
            (number, event_id) for scope, event_id in _unmatched(join, window) for number in _same(tokens, scope)
        )
        join.add_sent(sent(events_with_ids(engine, tokens, elsewhere)))
        join.sort_sent()
        _compare(join, proof, question, now)
        listed = _listed(join, proof, differences)
        settling = Settling(question.settled_before(now), whole_hours, proof.reading.definitions)
        _settle(join, engine, question, settling, proof.doubt, listed)
        write_verdicts(engine, "export", task, proof.days(known))
        return proof


def prove_by_rows(
    question: Question,
    files: Iterable[ExportFile],
    rows: Iterable[tuple[str, Sent]],
    event_tokens: Sequence[str],
    *,
    now: datetime,
    differences: TextIO | None = None,
) -> Proof:
    """Compare the exports with events of a warehouse, assumed to have been sent when they happened.

    :param rows: event tokens and events; their scopes are set here.
    :param event_tokens: the event tokens to compare.
    """
    scopes = {token: number for number, token in enumerate(dict.fromkeys(event_tokens), start=1)}
    with _exports_read(question, files, scopes) as (join, proof, _):
        join.add_sent(each._replace(scope=scopes[token]) for token, each in rows)
        proof.repeated_ids = join.sort_sent()
        _compare(join, proof, question, now)
        _listed(join, proof, differences)
        return proof


@contextmanager
def _exports_read(
    question: Question, files: Iterable[ExportFile], scopes: Mapping[str, int]
) -> Iterator[tuple[Join, Proof, set[tuple[datetime, str]]]]:
    """The sorted lines of the files, and the hours with complete files."""
    chosen, reading = question.files(files), Reading()
    with tempfile.TemporaryDirectory(prefix="adjust_exports_") as folder, Join(Path(folder)) as join:
        join.add_lines(read_files(chosen, question.wanted(scopes), reading))
        join.sort_lines()
        whole = question.whole_hours(chosen, reading)
        missing = _gaps({each.name.hour for each in chosen}) if question.every_hour_has_files else []
        tokens = {number: token for token, number in scopes.items()}
        yield join, Proof(question.window, reading, tokens, hours_without_file=missing), whole


def _gaps(hours: Collection[datetime]) -> list[datetime]:
    """The hours without a file between the first and the last file: a file was lost, or is late."""
    return [hour for hour in Window(min(hours), max(hours)).hours() if hour not in hours] if hours else []


def _compare(join: Join, proof: Proof, question: Question, now: datetime) -> None:
    join.compare(
        amount_tolerance=question.amount_tolerance,
        time_tolerance=question.time_tolerance,
        settled_before=question.settled_before(now),
    )
    join.add_unknown(_unmatched(join, question.window))
    proof.sums = join.sums()


def _listed(join: Join, proof: Proof, differences: TextIO | None) -> DifferencesFile | None:
    """The file of differences, with those known so far."""
    if differences is None:
        return None
    listed = DifferencesFile(differences, proof.event_tokens, proof.reading.paths)
    listed.write(join.with_verdict(*DIFFERENCES))
    return listed


def _settle(
    join: Join,
    engine: sa.Engine,
    question: Question,
    settling: Settling,
    counts: DoubtCounts,
    listed: DifferencesFile | None,
) -> None:
    """Settle the events in doubt that the exports have, and release those that they certainly lack, to be sent again."""

    def missing() -> Iterator[Compared]:
        for each in join.doubts(is_booked=False):
            why = NOT_ASKED if question.settle_for is None else why_in_doubt(each, settling)
            if not why:
                yield each
                continue
            counts.left[why] += 1
            if listed is not None:
                listed.write([each])

    def resolve(found: Iterable[Compared], settle: Callable[..., Iterator[Doubt]], word: str) -> int:
        count, iterator = 0, iter(found)
        while batch := {_doubt(each): each for each in islice(iterator, _BATCH)}:
            done = list(settle(engine, batch))
            count += len(done)
            if len(done) < len(batch):
                counts.left[CHANGED] += len(batch) - len(done)
            if listed is not None:
                listed.write((batch[each] for each in done), word)
                listed.flush()
        return count

    if question.settle_for is not None:
        counts.settled = resolve(join.doubts(is_booked=True), settle_seen, "settled")
    counts.released = resolve(missing(), release_missing, "released")


def _doubt(each: Compared) -> Doubt:
    scope_id, try_id, status = each.scope_id, each.try_id, each.status
    assert scope_id is not None and try_id is not None and status is not None  # noqa: S101, PT018 - it is the ledger's
    return Doubt(scope_id, each.event_id, try_id, status)


def _sent(each: LedgerEvent, scope: int) -> Sent:
    status = Status.UNDER_WAY if each.is_live and each.status == Status.SENDING else each.status
    micros = None if each.is_erased else 0 if each.revenue is None else round(each.revenue * MICROS)
    booked_at, sent_from, settled_at = map(_unix, (each.booked_at, each.sent_from, each.settled_at))
    return Sent(
        scope,
        each.event_id,
        booked_at,
        micros,
        each.currency,
        status,
        sent_from,
        settled_at,
        each.try_id,
        each.scope_id,
    )


def _unix(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp())


def _unmatched(join: Join, window: Window) -> Iterator[tuple[int, str]]:
    return join.unmatched(int(window.start.timestamp()), int(window.end.timestamp()) - 1)


def _same(tokens: Mapping[int, str], scope: int) -> Iterator[int]:
    """The scopes with the same event token."""
    return (number for number, token in tokens.items() if token == tokens[scope])
