"""Turn rows into jobs: parse, number and order them.

A list is sorted by time. A stream cannot be sorted without reading all of it, so it must be in time order; the first row out
of order ends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from typing import Any, cast

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.seconds import mark_shared_seconds
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKey
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.redaction import VALUE_ERRORS, escape, quote, row_repr, stable_repr

Now = Callable[[], datetime]
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)
_LONGEST_SHOWN_ID = 80
#: If this many rows at the start of a stream lack a token, all its rows are assumed to lack it.
_ENOUGH_ROWS = 1000


def utc_now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Turns rows into jobs, and rows that are not valid events into receipts.

    :param parsers: the parser of each route; a single route is named None.
    :param route_by: the column that names a row's route.
    :param mark_seconds: mark events that share a second with another event of their lane. A stream then passes a row on after
        the first row of a later second.
    :param ids_are_claimed: each id is claimed before its event is sent, so that the claim refuses the second of two rows with it.
    """

    def __init__(
        self,
        parsers: Mapping[str | None, EventParser],
        *,
        route_by: str | None = None,
        mark_seconds: bool = False,
        ids_are_claimed: bool = False,
        now: Now = utc_now,
    ) -> None:
        self._parsers = parsers
        self._route_by = route_by
        self._mark_seconds = mark_seconds
        self._ids_are_claimed = ids_are_claimed
        self._now = now
        self._missing_defaults = {f"missing_{name}" for each in parsers.values() for name in each.endpoint.defaults}
        self._parser = next(iter(parsers.values()))
        self._began: datetime | None = None
        #: The number of rows that were passed on; each gets a receipt.
        self.read = 0

    def sorted(self, rows: Sequence[Row]) -> Iterator[Job | Receipt]:
        """All items sorted by time, those without a time first; equal times keep the order of their rows.

        An event that is refused for its age keeps its place, so that the order does not depend on the time of the check.

        :raises AdjustConfigurationError: every row lacks a value that an option or the connection should give.
        """
        count_equal = _EqualEvents(bounded=False)
        timed = [self._take(row, position, count_equal) for position, row in enumerate(rows, start=1)]
        timed.sort(key=lambda each: each[0])
        items = self._unless_all_lack_it(item for _, item in timed)
        yield from self._counted(mark_shared_seconds(items, None) if self._mark_seconds else items)

    def stream(self, rows: Iterable[Row]) -> Iterator[Job | Receipt]:
        """Jobs in the order of the rows.

        :raises AdjustConfigurationError: all of the first rows lack a value that an option or the connection should give.
        :raises StreamOutOfOrder: a row is older than an earlier one, and the order matters; it was not passed on.
        """
        items = self._unless_all_lack_it(self._in_order(rows), enough=_ENOUGH_ROWS)
        return self._counted(mark_shared_seconds(items) if self._mark_seconds else items)

    def _counted(self, items: Iterator[Job | Receipt]) -> Iterator[Job | Receipt]:
        for item in items:
            self.read += 1
            yield item

    def _in_order(self, rows: Iterable[Row]) -> Iterator[Job | Receipt]:
        is_in_order = all(each.endpoint.ordered or each.ids_are_digests for each in self._parsers.values())
        count_equal = _EqualEvents(bounded=is_in_order or self._ids_are_claimed)
        latest: Job | None = None
        # No row is a local variable here, since a traceback could show it.
        taken = (self._take(row, position, count_equal) for position, row in enumerate(rows, start=1))
        for _, item in taken:
            if isinstance(item, Job) and _needs_order(item.event):
                if latest is not None and item.event.occurred_at < latest.event.occurred_at:
                    raise StreamOutOfOrder(_out_of_order(item, latest))
                latest = item
            yield item

    def _unless_all_lack_it(
        self, items: Iterable[Job | Receipt], *, enough: int | None = None
    ) -> Iterator[Job | Receipt]:
        """The items, unless all of them, or enough at the start, lack a value that an option or the connection should give.

        Then the cause is not a row, and nothing is sent.
        """
        items = iter(items)
        first: list[Job | Receipt] = []
        for item in items:
            first.append(item)
            if not self._lacks_what_rows_share(item):
                break
            if len(first) == enough:
                raise self._nothing_has_it(first)
        else:
            if first:
                raise self._nothing_has_it(first)
        yield from chain(first, items)

    def _lacks_what_rows_share(self, item: Job | Receipt) -> bool:
        """Whether the row lacks a token, an environment or the column of its id or route, or has an unknown column."""
        if not isinstance(item, Receipt):
            return False
        if item.reason == "unknown_route":
            return isinstance(item.row, Mapping) and self._route_by not in item.row
        if item.reason == "missing_event_id":
            return self._parser.lacks_id_column(item.row)
        return item.reason == "unknown_parameter" or item.reason in self._missing_defaults

    def _nothing_has_it(self, items: Sequence[Job | Receipt]) -> AdjustConfigurationError:
        """The error for rows that all lack a value, or have an unknown column, with the detail of the first row."""
        first = cast("Receipt", items[0])
        read = f"(rows read, all of them the same: {len(items):,})"
        try:
            check_columns(
                list(first.row),
                "the first row",
                self._parser.options,
                route_by=self._route_by,
                endpoint=self._parser.endpoint,
                all_columns=False,
            )
        except AdjustConfigurationError as error:
            return AdjustConfigurationError(f"{error}\n  {read}")
        return AdjustConfigurationError(f"{first.detail} {read}")

    @property
    def left_out_columns(self) -> list[str]:
        """The columns that ``ignore_columns`` has left out so far."""
        return list(dict.fromkeys(name for parser in self._parsers.values() for name in parser.left_out_columns))

    def _take(self, row: Row, position: int, count_equal: _EqualEvents) -> tuple[datetime, Job | Receipt]:
        """The row's time, and its job or its refusal."""
        route = None
        try:
            if self._route_by is not None:
                route = self._route_of(row)
            parser = self._parsers[route]
            event = parser.parse(row, now=self._time_of(parser), count_equal=count_equal)
            count_equal.check(event, position)
        except InvalidEvent as error:
            outcome = Outcome.EXPIRED if error.reason == "expired" else Outcome.INVALID
            # A row without a route uses the key of the first route.
            digest_key = self._parsers.get(route, self._parser).digest_keys.newest
            event_id = error.event_id or row_digest(row, digest_key)
            refusal = Receipt(outcome, error.reason, event_id, position, detail=error.detail, row=row, route=route)
            return error.occurred_at or _NO_TIME, refusal
        return event.occurred_at, Job(event, position, row, route)

    def _time_of(self, parser: EventParser) -> datetime:
        """The current time; constant if rows have no time, since a clock that is set back must not change their order."""
        if parser.endpoint.time != "none":
            return self._now()
        self._began = self._began or self._now()
        return self._began

    def _route_of(self, row: Any) -> str:
        route = row.get(self._route_by) if isinstance(row, Mapping) else None
        if not isinstance(route, str) or route not in self._parsers:
            known = ", ".join(sorted(str(name) for name in self._parsers))
            raise InvalidEvent("unknown_route", f"{self._route_by} is {quote(route)}; adjust_conn_id has {known}")
        return route


class _EqualEvents:
    """Numbers equal purchases of one second, and finds rows that a join has doubled.

    Equal events have equal times, so only one second of a stream in time order is remembered. For a stream without an order,
    the digest of every id is.
    """

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._second = self._next_second = _NO_TIME
        self._digests: Counter[str] = Counter()
        self._positions: dict[object, int] = {}

    def __call__(self, digest: str, occurred_at: datetime) -> int:
        self._turn_to(occurred_at)
        before = self._digests[digest]
        self._digests[digest] += 1
        return before

    def check(self, event: Event, position: int) -> None:
        """Refuse an event with the identity of another row of the same second, which would count twice.

        Events of different event tokens, apps or environments are different, even with the same id.
        """
        if event.endpoint.state is not None:
            return  # two rows of a device are two successive choices
        self._turn_to(event.occurred_at)
        identity = event.identity
        key = identity if self._bounded else blake2b("\x1f".join(identity).encode(), digest_size=16).digest()
        first = self._positions.setdefault(key, position)
        if first != position:
            raise InvalidEvent(
                "repeated_event_id",
                f"row {first} has the same event id; remove the duplicate from the query (a join may have doubled it), or "
                "name the columns of id_field that tell the two apart",
                event_id=event.event_id,
            )

    def _turn_to(self, occurred_at: datetime) -> None:
        if self._bounded and not self._second <= occurred_at < self._next_second:
            self._second = occurred_at.replace(microsecond=0)
            self._next_second = self._second + _ONE_SECOND
            self._digests.clear()
            self._positions.clear()


def row_digest(row: Any, key: DigestKey = UNKEYED) -> str:
    """A digest that names a row by its content, without revealing it."""
    try:
        content = stable_repr(sorted(row.items(), key=lambda item: str(item[0])) if isinstance(row, Mapping) else row)
    except VALUE_ERRORS:  # a value without a repr
        content = row_repr(row)
    return key.row(content)


def _needs_order(event: Event) -> bool:
    """Whether the order matters: Adjust requires it, or equal rows are numbered within one second."""
    return event.endpoint.ordered or event.unkeyed_id is not None


def _out_of_order(job: Job, latest: Job) -> str:
    why, instead = (
        ("Adjust refuses an event older than the device's last one", "")
        if job.event.endpoint.ordered
        else ("equal rows without an id are numbered within one second", ", or name id_field")
    )
    event_id, latest_id = (escape(each.event.event_id, _LONGEST_SHOWN_ID) for each in (job, latest))
    return (
        f"row {job.position} (event {event_id}) happened at {job.event.occurred_at.isoformat()}, before row "
        f"{latest.position} (event {latest_id}) at {latest.event.occurred_at.isoformat()}; a stream must come "
        f"in time order, since {why}: add ORDER BY on the column that is sent as created_at{instead}. The row and all after "
        "it were not sent"
    )
