"""The devices for which nothing is sent any more: Adjust answered that they opted out, or they were erased.

The ledger stores a keyed digest of each id, but never the id. Digests of an older key are recognised while the connection has
that key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import OPTED_OUT, Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt, receipt_for
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import is_this_machine
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKey, DigestKeys
from airflow_provider_adjust.s2s.ledger.arrays import array
from airflow_provider_adjust.s2s.ledger.older_keys import TryKeys
from airflow_provider_adjust.s2s.ledger.schema import database_now, suppressions
from airflow_provider_adjust.s2s.ledger.statements import Scope

#: Why a device is suppressed.
ANSWERED = "opted_out"
ASKED_TO_ERASE = "erased"
#: The most digests in one statement; some databases accept no longer list.
_BATCH = 5000
_columns = suppressions.c


class Place(NamedTuple):
    """The place of a suppression: Adjust knows devices by app and environment.

    ``environment`` is empty for an endpoint without environments: its answers apply to both, and it is looked up like
    production. ``destination`` is empty for Adjust, through any of its hosts or a gateway, and ``loopback`` for a stand-in on
    this machine, which says nothing about Adjust.
    """

    app_token: str
    environment: str
    destination: str

    @classmethod
    def at(cls, host: str, app_token: str, environment: str) -> Place:
        """Where it holds, by the host that is asked."""
        return cls(app_token, environment, "loopback" if is_this_machine(host) else "")

    @property
    def conditions(self) -> list[sa.ColumnElement[bool]]:
        return [
            _columns.app_token == self.app_token,
            _columns.environment.in_((self.environment or "production", "")),
            _columns.destination == self.destination,
        ]


def keyed(keys: DigestKeys) -> tuple[DigestKey, ...]:
    """The keys for digests of devices: only those with a secret, since ids could otherwise be found by trial."""
    return tuple(key for key in keys.all if key is not UNKEYED)


def suppress(connection: sa.Connection, place: Place, digests: Iterable[str], key: DigestKey, reason: str) -> None:
    """Suppress the devices; those that are already suppressed stay unchanged."""
    wanted = sorted(set(digests))
    known = {record.device for record in find(connection, place, wanted)}
    new = {**place._asdict(), "digest_key": key.id, "reason": reason, "since": database_now(connection)}
    if rows := [{**new, "device": device} for device in wanted if device not in known]:
        connection.execute(suppressions.insert(), rows)


def find(connection: sa.Connection, place: Place, digests: Sequence[str]) -> Iterator[Any]:
    """Those of the devices that are suppressed."""
    for start in range(0, len(digests), _BATCH):
        some = list(digests[start : start + _BATCH])
        is_one: sa.ColumnElement[bool] = _columns.device.in_(some)
        if connection.dialect.name == "postgresql":
            is_one = _columns.device == sa.any_(array("devices", _columns.device, some))
        yield from connection.execute(sa.select(suppressions).where(*place.conditions, is_one))


def lift(connection: sa.Connection, place: Place, digests: Collection[str]) -> int:
    """Lift the suppression of the devices; return how many digests were suppressed."""
    return connection.execute(
        sa.delete(suppressions).where(*place.conditions, _columns.device.in_(sorted(digests)))
    ).rowcount


def count(connection: sa.Connection) -> Sequence[Any]:
    """The number of suppressed ids and the time of the latest, by place, reason and key."""
    groups = (_columns.app_token, _columns.environment, _columns.destination, _columns.reason, _columns.digest_key)
    counted = sa.func.count().label("ids"), sa.func.max(_columns.since).label("latest")
    return connection.execute(sa.select(*groups, *counted).group_by(*groups).order_by(*groups)).all()


def under_other_keys(connection: sa.Connection, place: Place, known: Collection[str]) -> int:
    """The number of ids that are suppressed under a key with another id than these."""
    is_other = _columns.digest_key.not_in(sorted(known))
    query = sa.select(sa.func.count()).select_from(suppressions).where(*place.conditions, is_other)
    return connection.scalar(query) or 0


class Suppressions:
    """The suppressed devices, for reading and adding by one try."""

    def __init__(self, keys: TryKeys) -> None:
        self._keys = keys
        #: Ids that are suppressed under a key that the connection does not have, so that they are not recognised.
        self.not_recognised = 0
        self._in_use: dict[tuple[Place, DigestKeys], tuple[DigestKey, ...]] = {}

    def remember(
        self, connection: sa.Connection, settled: Iterable[Receipt], scope_of: Callable[[Receipt, Event], Scope]
    ) -> None:
        """Suppress the devices that, according to Adjust's answers, opted out."""
        found: dict[tuple[Place, DigestKey], set[str]] = defaultdict(set)
        for receipt in settled:
            if receipt.reason != OPTED_OUT or not receipt.attempts or receipt.event is None:
                continue
            newest = self._keys.of(receipt.route).newest
            if newest is not UNKEYED:
                place = place_of(scope_of(receipt, receipt.event))
                found[place, newest] |= _digests(receipt.event, (newest,))
        for (place, key), digests in sorted(found.items(), key=lambda item: item[0][0]):
            suppress(connection, place, digests, key, ANSWERED)

    def refusals(self, connection: sa.Connection, jobs: Sequence[Job], scopes: Sequence[Scope]) -> dict[int, Receipt]:
        """The receipts of those events that name a suppressed device, by the identity of the job."""
        asked: dict[Place, dict[str, list[Job]]] = defaultdict(lambda: defaultdict(list))
        # Most ledgers have none, and needless digests would add a third to the cost of the claim.
        places = {scope: at for scope in set(scopes) if _has_any(connection, at := place_of(scope))}
        for job, scope in zip(jobs, scopes, strict=True) if places else ():
            if scope in places:
                keys = self._keys_in_use(connection, places[scope], self._keys.of(job.route))
                for digest in _digests(job.event, keys):
                    asked[places[scope]][digest].append(job)
        return {
            id(job): _refusal(job, record.reason, record.since)
            for place, by_digest in asked.items()
            for record in find(connection, place, list(by_digest))
            for job in by_digest[record.device]
        }

    def _keys_in_use(self, connection: sa.Connection, place: Place, keys: DigestKeys) -> tuple[DigestKey, ...]:
        """The keys of suppressed ids in this place; counts ids under other keys than the connection's."""
        found = self._in_use.get((place, keys))
        if found is None:
            query = sa.select(_columns.digest_key, sa.func.count()).where(*place.conditions)
            counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(query.group_by(_columns.digest_key))}
            found = tuple(key for key in keyed(keys) if key is keys.newest or key.id in counts)
            self._in_use[place, keys] = found
            self.not_recognised += sum(counts.values()) - sum(counts.get(key.id, 0) for key in found)
        return found


def _has_any(connection: sa.Connection, place: Place) -> bool:
    return connection.scalar(sa.select(sa.literal(1)).where(*place.conditions).limit(1)) is not None


def place_of(scope: Scope) -> Place:
    """The place of a suppression, by the host of the scope."""
    return Place.at(scope.destination, scope.app_token, scope.environment)


def _digests(event: Event, keys: Iterable[DigestKey]) -> set[str]:
    """The digests of each of the event's device ids under each key."""
    ids = event.endpoint.device_ids & event.params.keys()
    return {key.device(name, event.params[name]) for key in keys for name in ids}


def _refusal(job: Job, reason: str, since: datetime) -> Receipt:
    why = "its erasure was asked for" if reason == ASKED_TO_ERASE else "Adjust answered that it opted out"
    detail = f"nothing has been sent for the device since {since:%Y-%m-%d}, when {why}; the ledger remembers it"
    return receipt_for(job, Outcome.REJECTED, OPTED_OUT, detail)
