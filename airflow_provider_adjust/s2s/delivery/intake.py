"""Rows in, jobs out: parsed, numbered, and in the order in which they are to be sent.

A list is sorted by time here. A stream is not, since that would take all of it: it must come in time order, and the first
row that does not ends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain
from typing import Any

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.seconds import mark_shared_seconds
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.redaction import escape, quote, row_repr, stable_repr

Now = Callable[[], datetime]
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_LONGEST_SHOWN_ID = 80
#: If so many rows at a stream's start lack a token, the rest is taken to lack it, too.
_ENOUGH_ROWS = 1000


def utc_now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Turns rows into jobs, and rows that are not valid events into receipts.

    :param parsers: the parser of each route; a single route is named None.
    :param route_by: the column that names a row's route.
    :param mark_seconds: mark the events that share a second with another of their lane. A stream then hands on a row when
        the first one of a later second has been read.
    """

    def __init__(
        self,
        parsers: Mapping[str | None, EventParser],
        *,
        route_by: str | None = None,
        mark_seconds: bool = False,
        now: Now = utc_now,
    ) -> None:
        self._parsers = parsers
        self._route_by = route_by
        self._mark_seconds = mark_seconds
        self._now = now
        self._missing_defaults = {f"missing_{name}" for each in parsers.values() for name in each.endpoint.defaults}
        self._lacks_id_column = next(iter(parsers.values())).lacks_id_column
        #: Rows that were handed on; each of them gets a receipt.
        self.read = 0

    def sorted(self, rows: Sequence[Row]) -> Iterator[Job | Receipt]:
        """Everything by time, what has none first; equal times keep the order of their rows.

        An event that is refused for its age keeps its place, so that the order does not depend on when it is checked.

        :raises AdjustConfigurationError: no row has what an option or the connection should have named.
        """
        count_equal = _EqualEvents(bounded=False)
        timed = [self._take(row, position, count_equal) for position, row in enumerate(rows, start=1)]
        timed.sort(key=lambda each: each[0])
        items = self._unless_all_lack_it(item for _, item in timed)
        yield from self._counted(mark_shared_seconds(items, None) if self._mark_seconds else items)

    def stream(self, rows: Iterable[Row]) -> Iterator[Job | Receipt]:
        """Jobs as the rows come.

        :raises AdjustConfigurationError: none of the first rows has what an option or the connection should have named.
        :raises StreamOutOfOrder: a row is older than one before it; it was not passed on.
        """
        items = self._unless_all_lack_it(self._in_order(rows), enough=_ENOUGH_ROWS)
        return self._counted(mark_shared_seconds(items) if self._mark_seconds else items)

    def _counted(self, items: Iterator[Job | Receipt]) -> Iterator[Job | Receipt]:
        for item in items:
            self.read += 1
            yield item

    def _in_order(self, rows: Iterable[Row]) -> Iterator[Job | Receipt]:
        count_equal = _EqualEvents(bounded=True)
        latest: Job | None = None
        for position, row in enumerate(rows, start=1):
            _, item = self._take(row, position, count_equal)
            if isinstance(item, Job):
                if latest is not None and item.event.occurred_at < latest.event.occurred_at:
                    raise StreamOutOfOrder(_out_of_order(item, latest))
                latest = item
            yield item

    def _unless_all_lack_it(
        self, items: Iterable[Job | Receipt], *, enough: int | None = None
    ) -> Iterator[Job | Receipt]:
        """The items, unless all of them, or the first so many, lack what an option or the connection should have named.

        Then it is not the mistake of a row: nothing has been sent yet, and nothing should be.
        """
        items = iter(items)
        first: list[Job | Receipt] = []
        for item in items:
            first.append(item)
            if not self._lacks_what_rows_share(item):
                break
            if len(first) == enough:
                raise _nothing_has_it(first)
        else:
            if first:
                raise _nothing_has_it(first)
        yield from chain(first, items)

    def _lacks_what_rows_share(self, item: Job | Receipt) -> bool:
        """Tell a row without a token, without an environment or without the column of its id."""
        return isinstance(item, Receipt) and (
            item.reason in self._missing_defaults
            or (item.reason == "missing_event_id" and self._lacks_id_column(item.row))
        )

    def _take(self, row: Row, position: int, count_equal: _EqualEvents) -> tuple[datetime, Job | Receipt]:
        """The row's time, and the job or the refusal that it becomes."""
        route = None
        try:
            route = self._route_of(row)
            event = self._parsers[route].parse(row, now=self._now(), count_equal=count_equal)
            count_equal.check(event, position)
        except InvalidEvent as error:
            outcome = Outcome.EXPIRED if error.reason == "expired" else Outcome.INVALID
            event_id = error.event_id or row_digest(row)
            refusal = Receipt(outcome, error.reason, event_id, position, detail=error.detail, row=row, route=route)
            return error.occurred_at or _NO_TIME, refusal
        return event.occurred_at, Job(event, position, row, route)

    def _route_of(self, row: Any) -> str | None:
        if self._route_by is None:
            return None
        route = row.get(self._route_by) if isinstance(row, Mapping) else None
        if not isinstance(route, str) or route not in self._parsers:
            known = ", ".join(sorted(str(name) for name in self._parsers))
            raise InvalidEvent("unknown_route", f"{self._route_by} is {quote(route)}; adjust_conn_id has {known}")
        return route


class _EqualEvents:
    """Tells equal purchases of one second apart, and finds a row that was joined twice.

    Equal events have equal times, so a stream in time order needs to remember one second only.
    """

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._second = -1
        self._digests: Counter[str] = Counter()
        self._positions: dict[tuple[str, ...], int] = {}

    def __call__(self, digest: str, occurred_at: datetime) -> int:
        self._turn_to(occurred_at)
        before = self._digests[digest]
        self._digests[digest] += 1
        return before

    def check(self, event: Event, position: int) -> None:
        """Refuse an event with the identity of another row of the same second: it would count twice.

        Events of two event tokens, apps or environments are two, also under one id.
        """
        self._turn_to(event.occurred_at)
        first = self._positions.setdefault(event.identity, position)
        if first != position:
            raise InvalidEvent(
                "repeated_event_id",
                f"row {first} has the same event id; remove the duplicate from the query (a join may have doubled it), or "
                "name the columns of id_field that tell the two apart",
                event_id=event.event_id,
            )

    def _turn_to(self, occurred_at: datetime) -> None:
        second = int(occurred_at.timestamp())
        if self._bounded and second != self._second:
            self._second = second
            self._digests.clear()
            self._positions.clear()


def row_digest(row: Any) -> str:
    """Name a row by what it holds, without revealing it."""
    try:
        content = stable_repr(sorted(row.items(), key=lambda item: str(item[0])) if isinstance(row, Mapping) else row)
    except Exception:  # a value that has no text
        content = row_repr(row)
    return blake2b(content.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _nothing_has_it(items: Sequence[Job | Receipt]) -> AdjustConfigurationError:
    first = items[0]
    detail = first.detail if isinstance(first, Receipt) else ""
    return AdjustConfigurationError(f"{detail} (rows read, all of them the same: {len(items):,})")


def _out_of_order(job: Job, latest: Job) -> str:
    event_id, latest_id = (escape(each.event.event_id, _LONGEST_SHOWN_ID) for each in (job, latest))
    return (
        f"row {job.position} (event {event_id}) happened at {job.event.occurred_at.isoformat()}, before row "
        f"{latest.position} (event {latest_id}) at {latest.event.occurred_at.isoformat()}; a stream must come "
        "in time order, since Adjust refuses an event older than the device's last one: add ORDER BY on the column that "
        "is sent as created_at. The row and all after it were not sent"
    )
