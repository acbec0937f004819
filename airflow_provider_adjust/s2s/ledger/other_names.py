"""Records of a device under another of its ids: a choice under one id applies to the others, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import ERASED
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.events.parser import unkeyed_digest
from airflow_provider_adjust.s2s.ledger.statements import Numbers, Scope, delete, locked


def told_by_another_name(
    connection: sa.Connection,
    numbers: Numbers,
    jobs: Sequence[Job],
    scopes: Sequence[Scope],
    keys_of: Callable[[str | None], DigestKeys],
) -> set[int]:
    """The identities of jobs with records under other ids of their device than the first one, which names the record.

    For these jobs, their own record is not the last choice that Adjust received. The other records are deleted, since the new
    choice overrides them.
    """
    names: dict[Scope, dict[str, Job]] = defaultdict(dict)
    for job, scope in zip(jobs, scopes, strict=True):
        if job.event.endpoint.state is not None:
            names[scope].update((name, job) for name in _other_names(job.event, keys_of(job.route)))
    told: set[int] = set()
    for scope, jobs_by_name in sorted(names.items(), key=lambda each: each[0]):
        found = locked(connection, numbers.scope(scope), sorted(jobs_by_name))
        others = [name for name, record in found.items() if numbers.code(connection, record.reason) != ERASED]
        delete(connection, numbers.scope(scope), others)
        told |= {id(jobs_by_name[name]) for name in others}
    return told


def _other_names(event: Event, keys: DigestKeys) -> Iterator[str]:
    """The event ids of the device for each id but the first, under every key."""
    for name in event.endpoint.device_ids & event.params.keys():
        unkeyed_id = unkeyed_digest({name: event.params[name]})
        if unkeyed_id != event.unkeyed_id:
            yield from (key.event_id(unkeyed_id) for key in keys.all)
