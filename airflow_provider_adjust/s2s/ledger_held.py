"""How many events a task instance held: they were not sent, so the ledger has no row for each of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, date
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.events import Event
from airflow_provider_adjust.s2s.ledger_schema import held
from airflow_provider_adjust.s2s.ledger_table import Scope, TaskInstanceId


class HeldCounts:
    """Counts of the present try, by the day on which the events happened. A new try begins with none."""

    def __init__(self, task_instance: TaskInstanceId) -> None:
        self._task_instance = asdict(task_instance)
        self._counts: Counter[tuple[Scope, date]] = Counter()
        #: There are counts that may not be written.
        self.changed = False

    def add(self, scope: Scope, event: Event) -> None:
        self._counts[scope, event.occurred_at.astimezone(UTC).date()] += 1
        self.changed = True

    def forget(self, connection: sa.Connection) -> None:
        """Delete what an earlier try held: it is offered to this one."""
        own = (held.c[name] == value for name, value in self._task_instance.items())
        connection.execute(sa.delete(held).where(*own))

    def write(self, connection: sa.Connection) -> None:
        """Put the present counts into the place of those that were written before."""
        if not self.changed:
            return
        self.forget(connection)
        # A copy, since the delivery counts on while this is written.
        counts = dict(self._counts)
        connection.execute(held.insert(), [self._record(place, counts[place]) for place in sorted(counts)])

    def _record(self, place: tuple[Scope, date], events: int) -> dict[str, Any]:
        scope, day = place
        return self._task_instance | scope._asdict() | {"day": day, "events": events}


def prune_held(connection: sa.Connection, before: date) -> None:
    """Delete the counts of earlier days."""
    connection.execute(sa.delete(held).where(held.c.day < before))
