"""The ledger's record of an event, and receipts that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.answers.outcome import DIFFERS, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKey, DigestKeys
from airflow_provider_adjust.s2s.ledger.statements import Scope
from airflow_provider_adjust.s2s.ledger.tries import Holder

_LONGEST_ID = 255
#: The precision of amounts: the ledger has ten decimals, and SQLite stores binary fractions.
_AMOUNT_STEP = Decimal("1e-10")
_AMOUNT_NOISE = Decimal("1e-12")


def repeated(job: Job, first: int) -> Receipt:
    """The refusal of a row with the event id of an earlier one."""
    detail = (
        f"row {first} has the same event id; remove the duplicate from the query, or name the columns of id_field that "
        "tell the two apart"
    )
    return receipt_for(job, Outcome.INVALID, "repeated_event_id", detail)


def is_other_purchase(event: Event, record: Any) -> bool:
    """Whether the delivered event has another time or amount. A parameter that was added since does not count."""
    if record.occurred_at.replace(microsecond=0) != event.occurred_at.replace(microsecond=0, tzinfo=None):
        return True
    then, now = record.revenue, event.revenue
    if (then is None) is not (now is None) or record.currency != event.params.get("currency"):
        return True
    return then is not None and now is not None and abs(then - now) > max(_AMOUNT_STEP, _AMOUNT_NOISE * abs(now))


def differs(job: Job, record: Any, holder: Holder, key: DigestKey) -> Receipt:
    """The receipt of an event that was delivered with another time or amount. The digests of both identify the rows."""
    digests = record.content or 0, content_digest(job.event, key)
    then, now = (f"{digest & 0xFFFFFFFFFFFFFFFF:016x}" for digest in digests)
    detail = (
        f"it was delivered {holder} with another time or amount (digest {then} then, {now} now); Adjust has what was "
        "delivered then and cannot change it"
    )
    return receipt_for(job, Outcome.SKIPPED, DIFFERS, detail)


def to_row(key: str, job: Job | Receipt, digest_key: DigestKey, sent_at: datetime | None) -> dict[str, Any]:
    """The event's columns in the table.

    :param sent_at: the time that is sent, if the event is late or shares its second with another one of its lanes.
    """
    event = job.event
    assert event is not None  # noqa: S101 - only claimed events are stored
    return {
        "event_id": key,
        "content": content_digest(event, digest_key),
        "occurred_at": event.occurred_at.replace(tzinfo=None),
        "sent_at": sent_at and sent_at.replace(tzinfo=None),
        "revenue": event.revenue,
        "currency": event.params.get("currency"),
        "position": job.position,
    }


def content_digest(event: Event, key: DigestKey) -> int:
    """A digest that distinguishes a corrected event from the one that was sent, without revealing its content.

    It excludes the event id, so that ``event_id_param`` may change.
    """
    return _digest_as_sent(event, key) if event.own_params is None else key.content(_text(event.own_params))


def _text(params: Mapping[str, str]) -> str:
    return repr(sorted(params.items()))


def _digest_as_sent(event: Event, key: DigestKey) -> int:
    """The digest of older versions, which included the event id if ``event_id_param`` had it sent along."""
    text = _text(event.params)
    if event.unkeyed_id is not None and event.event_id in text:
        # The id is sent along, and was another one under another key.
        text = text.replace(event.event_id, key.event_id(event.unkeyed_id))
    return key.content(text)


class Content(Enum):
    """How an event compares with the ledger's record under its id. With a key that is no longer known, this is undecidable."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


def compare_content(event: Event, record: Any, holder: Holder, keys: DigestKeys) -> Content:
    """Compare under every key that may have made the record's digest."""
    digests = (digest(event, key) for key in keys.all for digest in (content_digest, _digest_as_sent))
    if record.content is None or record.content in digests:
        return Content.SAME
    return Content.OTHER if keys.may_have_made(holder.digest_keys) else Content.UNKNOWN


class EventPlace(NamedTuple):
    """The place of an event's record. ``lanes`` are those with a remembered last time."""

    scope: Scope
    key: str
    lanes: tuple[int, ...] = ()


def place_of(event: Event, destination: str) -> EventPlace:
    """The place of the record of an event that is sent to the host."""
    *scope, event_id = event.identity
    return EventPlace(Scope(destination, *scope), event_key(event_id))


def event_key(event_id: str) -> str:
    """The event's id as stored in the table.

    It becomes a digest if it is too long for a key, or if not every database can store or distinguish it: it has a NUL, is not
    UTF-8, or ends with a space. The digest has no key, since ids are public."""
    if len(event_id) <= _LONGEST_ID and event_id.isprintable() and not event_id.endswith(" "):
        return event_id
    return blake2b(event_id.encode("utf-8", "backslashreplace"), digest_size=32).hexdigest()
