"""The keys of a ledger's digests, so that an event is recognised after a change of its key.

A try records the ids of its keys. If an event's id is a digest, it is searched under its current id, and under the ids by
older keys that any try of the ledger has used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKey, DigestKeys, key_ids
from airflow_provider_adjust.s2s.ledger.schema import database_now, events, scopes, tries
from airflow_provider_adjust.s2s.ledger.statements import by_weight, locked, retry_on_conflict
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId, note_setup

_NO_KEYS = DigestKeys()


class TryKeys:
    """The keys of one try, by route, and those older ones that may have made ids in the ledger."""

    def __init__(self, task: TaskInstanceId) -> None:
        self._task = task
        self._by_route: dict[str | None, DigestKeys] = {}
        self._in_use: dict[tuple[int, str | None], tuple[DigestKey, ...]] = {}

    def attach(self, by_route: Mapping[str | None, DigestKeys]) -> None:
        """Set the keys of each route's connection."""
        self._by_route = dict(by_route)

    def of(self, route: str | None) -> DigestKeys:
        """The keys of the route's connection."""
        return self._by_route.get(route, _NO_KEYS)

    def as_text(self) -> str:
        """The ids of the keys that make digests, for the try's record."""
        return ",".join(sorted({keys.newest.id for keys in self._by_route.values()}))

    def note(self, engine: sa.Engine, try_id: int, **setup: Any) -> None:
        """Record the keys with which the try makes digests, and the other arguments of ``note_setup``."""

        def work() -> None:
            with engine.begin() as connection:
                note_setup(connection, try_id, self.as_text(), **setup)

        retry_on_conflict(work)

    def older_ids(self, connection: sa.Connection, scope_id: int, jobs: Mapping[str, Job]) -> dict[str, str]:
        """The ids that the events may have in the ledger under older keys, each mapped to the current id.

        :raises AdjustConfigurationError: earlier tries made ids with a key that this try lacks.
        """
        older: dict[str, str] = {}
        for key, job in jobs.items():
            unkeyed_id = job.event.unkeyed_id
            if unkeyed_id is not None:
                for digest_key in self._older_in_use(connection, scope_id, job):
                    older[digest_key.event_id(unkeyed_id)] = key
        return older

    def _older_in_use(self, connection: sa.Connection, scope_id: int, job: Job) -> tuple[DigestKey, ...]:
        place = scope_id, job.route
        if place not in self._in_use:
            keys = self.of(job.route)
            self._refuse_unknown(connection, scope_id, keys, job.event)
            made = connection.scalars(sa.select(tries.c.digest_keys).where(tries.c.ids_are_digests).distinct())
            used = frozenset[str]().union(*map(key_ids, made))
            self._in_use[place] = tuple(key for key in keys.all[1:] if key.id in used)
        return self._in_use[place]

    def _refuse_unknown(self, connection: sa.Connection, scope_id: int, keys: DigestKeys, event: Event) -> None:
        """Refuse missing keys: under another key, an event would have another id, and be sent a second time.

        It does not matter which task made the ids: a backfill, or the command line, sends the same events. A try of several
        connections records the keys of all of them together. So this task must know all keys of its own earlier tries, and one
        key of another task's try, which may have more connections.
        """
        is_own = sa.and_(tries.c.dag_id == self._task.dag_id, tries.c.task_id == self._task.task_id)
        made_with = tries.c.digest_keys, is_own.label("is_own")
        query = sa.select(*made_with).where(tries.c.ids_are_digests).distinct()
        if (max_age := event.endpoint.max_age) is not None:
            # Events that Adjust would no longer accept cannot be sent twice.
            query = query.where(tries.c.started_at >= database_now(connection) - max_age)
        known = {key.id for each in (keys, *self._by_route.values()) for key in each.all}
        unknown = {
            made
            for made, is_own in connection.execute(query)
            if not keys.may_have_made(made) or (is_own and not key_ids(made) <= known)
        }
        has_event = sa.exists().where(events.c.try_id == tries.c.id, events.c.scope_id == scope_id)
        found = connection.scalars(query.where(tries.c.digest_keys.in_(sorted(unknown)), has_event)).first()
        if found is not None:
            raise AdjustConfigurationError(
                f"earlier tries made event ids with the digest key {found}, which the connection does not have, so every "
                "event would be sent again: put the earlier digest_key, or S2S token, last in the connection's digest_key"
            )


def found_under_older_ids(connection: sa.Connection, scope_id: int, older: Mapping[str, str]) -> dict[str, Any]:
    """The locked records of events that the table has under an older id, keyed by their current id.

    If it has both, for example after keys were changed back and forth, the one with the most weight counts.
    """
    # Two tasks with their keys in different orders would each insert an id that the other does not see yet.
    connection.execute(sa.select(scopes.c.id).where(scopes.c.id == scope_id).with_for_update())
    found = locked(connection, scope_id, [*older, *set(older.values())])
    under_older = {older[event_id] for event_id in found if event_id in older}
    present = by_present_id(found.values(), older)
    return {key: present[key] for key in under_older}


def by_present_id(records: Iterable[Any], older: Mapping[str, str]) -> dict[str, Any]:
    """The records by their events' current ids; of several, the one with the most weight."""
    return {older.get(record.event_id, record.event_id): record for record in by_weight(records)}
