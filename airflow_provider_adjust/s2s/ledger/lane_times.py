"""The last time sent in each lane, so that a late event is recognised before it is sent.

Adjust refuses an event that is older than the last one of its device and event token. Within one delivery the order of the
rows prevents that; this module covers other deliveries. A lane is a digest of the device's id, keyed by a secret of the
connection: under another key it is another lane, without a last time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKey, DigestKeys
from airflow_provider_adjust.s2s.events.late import LatePolicy, at_lane_time, how_late, whole_seconds
from airflow_provider_adjust.s2s.ledger.arrays import array, lists, unnested
from airflow_provider_adjust.s2s.ledger.decisions import KnownLanes
from airflow_provider_adjust.s2s.ledger.records import EventPlace
from airflow_provider_adjust.s2s.ledger.schema import lanes
from airflow_provider_adjust.s2s.ledger.statements import Numbers

#: Older events are refused for their age, so no time is remembered for longer.
KEPT_FOR = EVENT.max_age or timedelta(days=58)
#: Outcomes of events that Adjust has, or may have.
_MAY_BE_THERE = frozenset({Outcome.DELIVERED, Outcome.IN_DOUBT})
_columns = lanes.c
KeysOf = Callable[[str | None], DigestKeys]


class LaneTimes:
    """The lanes' times for one try: those that it reads, and those that it adds.

    :param policy: how to treat late events; None if lanes are not remembered.
    :param keys: the keys of every connection. Without a secret, device ids could be found by trial.
    :raises AdjustConfigurationError: a connection has no secret.
    """

    def __init__(self, policy: LatePolicy | None = None, keys: Iterable[DigestKeys] = ()) -> None:
        self._policy = policy
        if policy is not None and not all(each.secret for each in keys):
            raise AdjustConfigurationError(
                "remember_lanes keeps digests of device ids, and the connection has no secret to make them with: give it "
                "a digest_key, or the S2S token"
            )

    def placed(self, place: EventPlace, job: Job, keys_of: KeysOf) -> EventPlace:
        """The place of an event's record, with its lanes if they are remembered."""
        if self._policy is None:
            return place
        return place._replace(lanes=_lanes_of(job.event, keys_of(job.route).newest))

    def known(
        self,
        connection: sa.Connection,
        numbers: Numbers,
        jobs: Sequence[Job],
        places: Sequence[EventPlace],
        keys_of: KeysOf,
    ) -> KnownLanes:
        """The effect on late events, and on events that share a second with another.

        :param keys_of: the keys that may have made the digests of a route's lanes.
        """
        if self._policy is None:
            return KnownLanes({}, {})
        wanted = [[lane for key in keys_of(job.route).secret for lane in _lanes_of(job.event, key)] for job in jobs]
        known = _last_times(connection, {lane for each in wanted for lane in each})
        late: dict[int, Event | Receipt] = {}
        shared: dict[int, datetime] = {}
        for job, place, its_lanes in zip(jobs, places, wanted, strict=True):
            scope_id = numbers.scope(place.scope)
            times = [known[scope_id, lane] for lane in its_lanes if (scope_id, lane) in known]
            if times and (late_by := how_late(job.event, max(times))) is not None:
                late[id(job)] = self._instead(self._policy, job, max(times), late_by)
            elif (second := whole_seconds(job.event.occurred_at)) in times:
                shared[id(job)] = second
        return KnownLanes(late, shared)

    @staticmethod
    def _instead(policy: LatePolicy, job: Job, last_at: datetime, late_by: timedelta) -> Event | Receipt:
        if policy.at_lane_time:
            try:
                return at_lane_time(job.event, last_at, policy.late_param)
            except InvalidEvent as error:
                return receipt_for(job, Outcome.INVALID, error.reason, error.detail)
        detail = (
            f"it is {late_by} older than the last event that was sent of its device and event token, so Adjust would refuse "
            "it; late='send_at_lane_time' sends it with the time of that one"
        )
        return receipt_for(job, Outcome.INVALID, "late_in_lane", detail)

    def write(
        self, connection: sa.Connection, numbers: Numbers, claimed: Mapping[int, EventPlace], settled: Iterable[Receipt]
    ) -> None:
        """Record the times of this try's events that Adjust has, or may have.

        :param claimed: the places of the claimed events' records, by the positions of their rows.
        """
        last: dict[tuple[int, int], datetime] = {}
        for receipt in settled:
            place, event = claimed.get(receipt.position), receipt.event
            if place is None or event is None or not place.lanes or receipt.outcome not in _MAY_BE_THERE:
                continue
            at = whole_seconds(receipt.sent_at or event.occurred_at).replace(tzinfo=None)
            scope_id = numbers.scope(place.scope)
            for lane in place.lanes:
                last[lane, scope_id] = max(at, last.get((lane, scope_id), at))
        if last:
            # Every task writes lanes in the same order, to avoid deadlocks.
            rows = [
                {"lane": lane, "scope_id": scope_id, "last_at": at} for (lane, scope_id), at in sorted(last.items())
            ]
            _advance(connection, rows)


def _lanes_of(event: Event, key: DigestKey) -> tuple[int, ...]:
    """The event's lanes, as stored."""
    return tuple([key.lane(lane.id_name, lane.id_value) for lane in event.lanes])


def _last_times(connection: sa.Connection, wanted: Collection[int]) -> dict[tuple[int, int], datetime]:
    """The last time of each of the lanes, keyed by scope and lane."""
    if not wanted:
        return {}
    is_wanted: sa.ColumnElement[bool] = _columns.lane.in_(wanted)
    if connection.dialect.name == "postgresql":
        is_wanted = _columns.lane == sa.any_(array("lanes", _columns.lane, [*wanted]))
    found = connection.execute(sa.select(_columns.scope_id, _columns.lane, _columns.last_at).where(is_wanted))
    return {(scope_id, lane): last_at.replace(tzinfo=UTC) for scope_id, lane, last_at in found}


def _advance(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the times that are later than the stored ones."""
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(_ADVANCE_ARRAYS, lists(rows))
    elif name == "sqlite":
        insert = sqlite.insert(lanes)
        later: dict[str, Any] = {"last_at": sa.func.max(_columns.last_at, insert.excluded.last_at)}
        connection.execute(insert.on_conflict_do_update(index_elements=["lane", "scope_id"], set_=later), rows)
    else:
        of_mysql = mysql.insert(lanes)
        later = {"last_at": sa.func.greatest(_columns.last_at, of_mysql.inserted.last_at)}
        connection.execute(of_mysql.on_duplicate_key_update(later), rows)


def _advance_arrays() -> Any:
    names = ("lane", "scope_id", "last_at")
    each = unnested(_columns[name] for name in names)
    insert = postgresql.insert(lanes).from_select(names, sa.select(*(each.c[name] for name in names)))
    return insert.on_conflict_do_update(
        index_elements=["lane", "scope_id"],
        set_={"last_at": insert.excluded.last_at},
        where=_columns.last_at < insert.excluded.last_at,
    )


_ADVANCE_ARRAYS = _advance_arrays()


def prune_lanes(connection: sa.Connection, since: datetime, before: datetime, batch_size: int) -> datetime | None:
    """Delete the oldest lanes with a last event before this time; return the time from which to continue, None at the end.

    :param since: where the last batch ended, since a search from the start would read all deleted rows again.
    """
    oldest = (
        sa.select(_columns.scope_id, _columns.lane, _columns.last_at)
        .where(_columns.last_at >= since, _columns.last_at < before)
        .order_by(_columns.last_at)
        .limit(batch_size)
    )
    found = connection.execute(oldest).all()
    by_scope: dict[int, list[int]] = defaultdict(list)
    for scope_id, lane, _ in found:
        by_scope[scope_id].append(lane)
    for scope_id, its_lanes in sorted(by_scope.items()):
        are = (_columns.scope_id == scope_id, _columns.lane.in_(its_lanes), _columns.last_at < before)
        connection.execute(sa.delete(lanes).where(*are))
    return found[-1].last_at if len(found) == batch_size else None
