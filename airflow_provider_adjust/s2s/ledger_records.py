"""An event as the ledger keeps it: under which key, and what of it. No device id, no address and no secret is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from airflow_provider_adjust.s2s.events import Event
from airflow_provider_adjust.s2s.ledger_table import Scope
from airflow_provider_adjust.s2s.schedule import Job

_LONGEST_ID = 255


def record_of(event: Event) -> dict[str, Any]:
    """What the table keeps of the event itself."""
    return {
        "event_id": key_of(event.event_id),
        "content": content_digest(event),
        "occurred_at": event.occurred_at.replace(tzinfo=None),
        "revenue": event.revenue,
        "currency": event.params.get("currency"),
    }


def content_digest(event: Event) -> str:
    """Tell a mended event from the one that was refused, without revealing what it holds."""
    return blake2b(repr(sorted(event.params.items())).encode(), digest_size=16).hexdigest()


def key_of(event_id: str) -> str:
    """The event's id as the table holds it; one that is too long for a key, or that not every database takes (it has a
    NUL or no UTF-8), becomes a digest."""
    if len(event_id) <= _LONGEST_ID and event_id.isprintable():
        return event_id
    return blake2b(event_id.encode("utf-8", "backslashreplace"), digest_size=32).hexdigest()


def place_of(event: Event) -> tuple[Scope, str]:
    """Where the event stands in the table."""
    params: Mapping[str, str] = event.params
    return Scope(params["app_token"], params["event_token"], params["environment"]), key_of(event.event_id)


def by_scope(jobs: Iterable[Job]) -> dict[Scope, list[Job]]:
    groups: dict[Scope, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[place_of(job.event)[0]].append(job)
    return groups
