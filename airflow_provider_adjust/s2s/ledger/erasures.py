"""The ledger's record of erasures: who requested each, when, and Adjust's answer; and the pace that all tasks share.

Adjust accepts ten requests a minute. So each request is assigned a time, in sequence for all tasks of a ledger, on the clock
of its database. A device is recorded before its request, so that a killed task loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.device_id import DeviceId
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.ledger.schema import database_now, erasures, versions
from airflow_provider_adjust.s2s.ledger.statements import retry_on_conflict
from airflow_provider_adjust.s2s.ledger.suppression import ASKED_TO_ERASE, Place, keyed, suppress

#: Seconds between two requests: slightly more than ten a minute need, so that a delayed request is not refused.
PACE = 6.1
#: The longest time in which another task may still request a device, or wait for the answer.
_UNDER_WAY = timedelta(minutes=2)
_LONGEST_ASKED_BY = 250
_columns = erasures.c
_T = TypeVar("_T")


class ErasureStatus(Enum):
    """The state of a device's erasure. The values are those of ``adjust_erasure.status``."""

    #: It has its turn, and was not requested yet.
    WAITING = "waiting"
    #: It was requested, and the answer is not known.
    ASKED = "asked"
    ERASED = "erased"
    #: Adjust answered 451: the device opted out, or was erased before.
    OPTED_OUT = "opted_out"
    REFUSED = "refused"
    #: Not in the table: another task is erasing it.
    ELSEWHERE = "elsewhere"
    #: Not in the table: its turn would be too late.
    LEFT = "left"


#: States that need no further request.
DONE = frozenset({ErasureStatus.ERASED, ErasureStatus.OPTED_OUT})


@dataclass(frozen=True, slots=True)
class Order:
    """The common values of a task's erasures.

    ``host`` receives the requests. ``asked_by`` says for whom, such as the number of a ticket.
    """

    host: str
    app_token: str
    environment: str
    asked_by: str = ""
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""

    @property
    def place(self) -> Place:
        """The place in which the devices are suppressed."""
        return Place.at(self.host, self.app_token, self.environment)

    @property
    def conditions(self) -> tuple[sa.ColumnElement[bool], ...]:
        """The conditions for the records of its app."""
        return (
            _columns.destination == self.host,
            _columns.app_token == self.app_token,
            _columns.environment == self.environment,
        )


class ErasureLog:
    """The erasures of one task in the ledger.

    :param keys: the keys for digests of the ids.
    :param now: the database's clock.
    :raises AdjustConfigurationError: there is no key, or ``asked_by`` is too long.
    """

    def __init__(
        self,
        engine: sa.Engine,
        order: Order,
        keys: DigestKeys,
        *,
        now: Callable[[sa.Connection], datetime] = database_now,
    ) -> None:
        self._keys = keyed(keys)
        if not self._keys:
            raise AdjustConfigurationError(
                "an erasure is recorded by a keyed digest of the device's id, and the connection has no key: set its "
                "digest_key, or its S2S token"
            )
        if len(order.asked_by) > _LONGEST_ASKED_BY:
            raise AdjustConfigurationError(
                f"asked_by has {len(order.asked_by):,} characters, and {_LONGEST_ASKED_BY} is the most; name a ticket, and "
                "no person"
            )
        self._engine = engine
        self._order = order
        self._now = now

    def time(self) -> datetime:
        """The time of the database's clock."""
        return self._work(self._now)

    def under_other_keys(self) -> int:
        """The number of erased devices that cannot be recognised, since none of these keys made their digests."""
        is_other = _columns.digest_key.not_in([key.id for key in self._keys])
        is_done = _columns.status.in_([status.value for status in DONE])
        query = sa.select(sa.func.count()).select_from(erasures).where(*self._order.conditions, is_done, is_other)
        return self._work(lambda connection: connection.scalar(query) or 0)

    def known(self, devices: Iterable[DeviceId]) -> dict[DeviceId, ErasureStatus]:
        """The states of those devices that are in the table."""
        by_digest = {digest: device for device in devices for digest in self._digests(device)}

        def work(connection: sa.Connection) -> dict[DeviceId, ErasureStatus]:
            now = self._now(connection)
            records = connection.execute(sa.select(erasures).where(*self._are(by_digest)))
            found: dict[DeviceId, ErasureStatus] = {}
            for record in records:
                device = by_digest[record.device]
                if found.get(device) not in DONE:
                    found[device] = self._status(record, now)
            return found

        return self._work(work)

    def reserve(self, device: DeviceId, *, until: datetime | None = None, after: float = 0.0) -> float | ErasureStatus:
        """Give the device the next turn; return the seconds until then, or the state that prevents it.

        From now on, nothing is sent for the device any more.

        :param until: the latest time of a turn.
        :param after: seconds to wait before this turn and all later ones.
        """

        def work(connection: sa.Connection) -> float | ErasureStatus:
            # Serialised, since two tasks could otherwise take the same turn.
            connection.execute(sa.select(versions.c.version).with_for_update())
            now = self._now(connection)
            record = self._record(connection, device)
            status = self._status(record, now) if record is not None else None
            if status in DONE or status is ErasureStatus.ELSEWHERE:
                return status
            last = connection.scalar(
                sa.select(sa.func.max(_columns.asked_at)).where(_columns.destination == self._order.host)
            )
            turn = now + timedelta(seconds=after)
            if last is not None:
                turn = max(turn, last + timedelta(seconds=PACE))
            if until is not None and turn > until:
                return ErasureStatus.LEFT
            self._write_turn(connection, device, record, turn)
            return (turn - now).total_seconds()

        return self._work(work)

    def begin(self, device: DeviceId) -> None:
        """Record that the device is requested now."""
        self._update(device, lambda now: {"status": ErasureStatus.ASKED.value, "asked_at": now})

    def end(self, device: DeviceId, status: ErasureStatus, http_status: int | None) -> None:
        """Record Adjust's answer."""
        ended = {"status": status.value, "http_status": http_status}
        self._update(device, lambda now: {**ended, "answered_at": now})

    def _update(self, device: DeviceId, values: Callable[[datetime], Mapping[str, Any]]) -> None:
        def work(connection: sa.Connection) -> None:
            is_it = self._are([self._keys[0].device(*device)])
            connection.execute(sa.update(erasures).where(*is_it).values(values(self._now(connection))))

        self._work(work)

    def _write_turn(self, connection: sa.Connection, device: DeviceId, record: Any, turn: datetime) -> None:
        order, key = self._order, self._keys[0]
        digest = key.device(*device)
        values = {
            "device": digest,
            "digest_key": key.id,
            "status": ErasureStatus.WAITING.value,
            "http_status": None,
            "asked_at": turn,
            "answered_at": None,
            "asked_by": order.asked_by,
            "dag_id": order.dag_id,
            "run_id": order.run_id,
            "task_id": order.task_id,
        }
        if record is not None:
            connection.execute(sa.update(erasures).where(_columns.id == record.id).values(values))
        else:
            same = {"destination": order.host, "app_token": order.app_token, "environment": order.environment}
            connection.execute(erasures.insert().values(**same, **values, id_type=device.id_name))
        suppress(connection, order.place, [digest], key, ASKED_TO_ERASE)

    def _record(self, connection: sa.Connection, device: DeviceId) -> Any:
        """The device's row, preferably one that is done, then the one of the newest key."""
        found = connection.execute(sa.select(erasures).where(*self._are(self._digests(device)))).all()
        done = {status.value for status in DONE}
        newest = self._keys[0].id
        return min(found, key=lambda each: (each.status not in done, each.digest_key != newest), default=None)

    def _status(self, record: Any, now: datetime) -> ErasureStatus:
        status = ErasureStatus(record.status)
        if status not in {ErasureStatus.WAITING, ErasureStatus.ASKED}:
            return status
        order = self._order
        is_own = (record.dag_id, record.run_id, record.task_id) == (order.dag_id, order.run_id, order.task_id)
        return status if is_own or record.asked_at < now - _UNDER_WAY else ErasureStatus.ELSEWHERE

    def _digests(self, device: DeviceId) -> list[str]:
        return [key.device(*device) for key in self._keys]

    def _are(self, digests: Iterable[str]) -> tuple[sa.ColumnElement[bool], ...]:
        return *self._order.conditions, _columns.device.in_(list(digests))

    def _work(self, work: Callable[[sa.Connection], _T]) -> _T:
        def in_transaction() -> _T:
            with self._engine.begin() as connection:
                return work(connection)

        return retry_on_conflict(in_transaction)


def erasures_of(
    connection: sa.Connection, host: str, app_token: str, environment: str, digests: Sequence[str]
) -> Sequence[Any]:
    """The records of the erasures of a device, by its digests."""
    is_one = *Order(host, app_token, environment).conditions, _columns.device.in_(list(digests))
    return connection.execute(sa.select(erasures).where(*is_one)).all()
