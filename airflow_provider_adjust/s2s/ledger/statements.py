"""The statements that read and write the ledger's events and scopes, for any of its databases.

Postgres receives arrays: a batch has one parameter per column instead of one per row and column, at a quarter of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, wait_random_exponential

from airflow_provider_adjust.s2s.endpoints.allowed_hosts import is_this_machine
from airflow_provider_adjust.s2s.ledger.arrays import array, lists, unnested
from airflow_provider_adjust.s2s.ledger.schema import SENDING, STATUS_NUMBERS, STATUSES, events, reasons, scopes

_LONGEST_NAME = 250
#: Columns that differ between events; the others are the same for a batch.
_EVENT_COLUMNS = ("event_id", "content", "occurred_at", "sent_at", "revenue", "currency", "position")
_columns = events.c
#: The weight of each status when records with the same id compete.
_BY_WEIGHT = ("rejected", "in_doubt", "sending", "duplicate", "delivered")


class Scope(NamedTuple):
    """The scope in which an event id is unique: one order may be a purchase and a first purchase.

    ``destination`` is the host that the events are sent to, ``event_key`` the value of the endpoint's key, such as the event
    token.
    """

    destination: str
    app_token: str
    endpoint: str
    event_key: str
    environment: str


class ScopeNames(NamedTuple):
    """Names of scopes for people: event names by key, and connections by app; the key None is for all other apps."""

    events: Mapping[str, str]
    connections: Mapping[str | None, str]

    def of(self, scope: Scope) -> dict[str, str]:
        """The known name columns of the scope."""
        names = {
            "event_name": self.events.get(scope.event_key, ""),
            "conn_id": self.connections.get(scope.app_token, self.connections.get(None, "")),
        }
        return {column: name[:_LONGEST_NAME] for column, name in names.items() if name}


class Numbers:
    """The numbers of scopes and reasons, which are assigned on first use and never change."""

    def __init__(self) -> None:
        self.names = ScopeNames({}, {})
        self._scopes: dict[Scope, int] = {}
        self._reasons: dict[str, int] = {}
        self._codes: dict[int, str] = {}

    def scope(self, scope: Scope) -> int:
        """The number of a scope that ``learn`` has read."""
        return self._scopes[scope]

    def reason(self, code: str) -> int:
        """The number of a reason that ``learn`` has read."""
        return self._reasons[code]

    def code(self, connection: sa.Connection, number: int) -> str:
        """The reason with this number."""
        if number not in self._codes:
            self._codes = dict(connection.execute(sa.select(reasons.c.id, reasons.c.code)).all())
        return self._codes.get(number, "")

    def learn(self, engine: sa.Engine, wanted_scopes: Collection[Scope], wanted_reasons: Collection[str]) -> None:
        """Read the numbers, and assign missing ones, in a separate transaction, so that none is rolled back."""
        new_scopes = [each for each in sorted(wanted_scopes) if each not in self._scopes]
        new_reasons = [each for each in sorted(wanted_reasons) if each not in self._reasons]
        if not new_scopes and not new_reasons:
            return

        def work() -> tuple[dict[Scope, int], dict[str, int]]:
            with engine.begin() as connection:
                return (
                    {scope: _scope_number(connection, scope, self.names.of(scope)) for scope in new_scopes},
                    {code: reason_number(connection, code) for code in new_reasons},
                )

        found_scopes, found_reasons = retry_on_conflict(work)
        self._scopes.update(found_scopes)
        self._reasons.update(found_reasons)


def _scope_number(connection: sa.Connection, scope: Scope, names: Mapping[str, str]) -> int:
    found = connection.scalar(sa.select(scopes.c.id).where(*_is_scope(scope)))
    if found is None and not is_this_machine(scope.destination):
        # An older ledger did not keep the host: the first task that sends to a real one takes over what it knew.
        unknown = sa.select(scopes.c.id).where(*_is_scope(scope._replace(destination="")))
        found = connection.scalar(unknown.with_for_update())
        if found is not None:
            connection.execute(sa.update(scopes).where(scopes.c.id == found).values(destination=scope.destination))
    if found is None:
        new = scopes.insert().values({**scope._asdict(), **names})
        found = connection.execute(new).inserted_primary_key[0]  # type: ignore[index]
    elif names:
        differs = sa.or_(*(scopes.c[column] != name for column, name in names.items()))
        connection.execute(sa.update(scopes).where(scopes.c.id == found, differs).values(names))
    return int(found)


def _is_scope(scope: Scope) -> list[sa.ColumnElement[bool]]:
    return [scopes.c[name] == value for name, value in scope._asdict().items()]


def siblings(connection: sa.Connection, scope: Scope, *, lock: bool) -> dict[int, str]:
    """The other scopes of the same app, by number: their event keys.

    :param lock: prevent other tasks from claiming events of the app until the commit.
    """
    same = [scopes.c[name] == value for name, value in scope._asdict().items() if name != "event_key"]
    query = sa.select(scopes.c.id, scopes.c.event_key).where(*same).order_by(scopes.c.id)
    found = connection.execute(query.with_for_update() if lock else query).all()
    return {number: key for number, key in found if key != scope.event_key}


def reason_number(connection: sa.Connection, code: str) -> int:
    """The number of a reason; a missing one is assigned."""
    found = connection.scalar(sa.select(reasons.c.id).where(reasons.c.code == code))
    if found is None:
        found = connection.execute(reasons.insert().values(code=code)).inserted_primary_key[0]  # type: ignore[index]
    return int(found)


def claim_columns(try_id: int, no_reason: int) -> dict[str, Any]:
    """The columns with the same value for all events of a claim."""
    return {
        "try_id": try_id,
        "status": STATUS_NUMBERS[SENDING],
        "reason": no_reason,
        "http_status": None,
        "lost_answers": 0,
    }


def insert_new(
    connection: sa.Connection, scope_id: int, records: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> dict[str, Any]:
    """Insert the events that the table lacks; return the locked records of the others, by event id."""
    ids = [record["event_id"] for record in records]
    whole = {"scope_id": scope_id, **common}
    if connection.dialect.name == "postgresql":
        new = set(connection.scalars(_INSERT_ARRAYS, {**whole, **lists(records)})) if records else set()
        return {} if len(new) == len(ids) else locked(connection, scope_id, [key for key in ids if key not in new])
    known = locked(connection, scope_id, ids)
    fresh = [{**whole, **record} for record in records if record["event_id"] not in known]
    if fresh:
        connection.execute(events.insert(), fresh)
    return known


_COMMON_COLUMNS = ("scope_id", "try_id", "status", "reason", "http_status", "lost_answers")


def _insert_arrays() -> Any:
    """Insert rows that no other task has inserted; on a conflict, wait for the end of the other transaction."""
    each = unnested(_columns[name] for name in _EVENT_COLUMNS)
    constants = [sa.bindparam(name, type_=_columns[name].type).label(name) for name in _COMMON_COLUMNS]
    rows = sa.select(*constants, *(each.c[name] for name in _EVENT_COLUMNS))
    insert = postgresql.insert(events).from_select([*_COMMON_COLUMNS, *_EVENT_COLUMNS], rows)
    return insert.on_conflict_do_nothing().returning(_columns.event_id)


#: Built once, since building it costs as much as running it.
_INSERT_ARRAYS = _insert_arrays()


def locked(connection: sa.Connection, scope_id: int, ids: list[str]) -> dict[str, Any]:
    """The records of the events in the table, by event id, locked until the commit."""
    query = sa.select(events).where(*_are(connection, scope_id, ids)).order_by(_columns.event_id)
    return {record.event_id: record for record in connection.execute(query.with_for_update())}


def known_in(connection: sa.Connection, scope_ids: Collection[int], ids: Sequence[str]) -> Sequence[Any]:
    """The records of the events that one of the scopes has."""
    is_one: sa.ColumnElement[bool] = _columns.scope_id.in_(scope_ids)
    if connection.dialect.name == "postgresql":
        is_one = _columns.scope_id == sa.any_(postgresql.array([_hidden(sa.literal(each)) for each in scope_ids]))
    return connection.execute(sa.select(events).where(is_one, _id_in(connection, ids))).all()


def by_weight(records: Iterable[Any]) -> list[Any]:
    """The records in ascending weight: delivered ones last, before them those that may be delivered."""
    return sorted(records, key=lambda record: _BY_WEIGHT.index(STATUSES[record.status]))


def update(connection: sa.Connection, scope_id: int, ids: list[str], values: Mapping[str, Any]) -> None:
    """Write the same values to all these events."""
    connection.execute(sa.update(events).where(*_are(connection, scope_id, ids)).values(values))


def settle_events(connection: sa.Connection, scope_id: int, ids: list[str], try_id: int, end: Mapping[str, Any]) -> int:
    """Write the same end to those of the events that belong to the try; return how many they were.

    :param end: ``status``, ``reason``, ``http_status`` and ``lost_answers``.
    """
    bound = {"of_scope": scope_id, "of_try": try_id, **{f"new_{name}": value for name, value in end.items()}}
    is_postgres = connection.dialect.name == "postgresql"
    return connection.execute(_SETTLE_ARRAY if is_postgres else _SETTLE, {**bound, "ids": ids}).rowcount


def is_of_try(try_id: Any) -> sa.ColumnElement[bool]:
    """Whether an event that is found by its id belongs to the try. The addition keeps databases from finding it by its try.

    They do not know how many events a try has that has just begun, and would read all of them for each batch.
    """
    is_it: sa.ColumnElement[bool] = _columns.try_id + 0 == try_id
    return is_it


def _hidden(scope_id: sa.ColumnElement[int]) -> sa.ScalarSelect[int]:
    """A scope's number that Postgres reads only while it executes the statement, so that it plans for a scope of usual size.

    Statistics do not know a scope that has just begun. If Postgres saw its number, it would expect no events there, and for
    each batch read all of them instead of searching for the ids.
    """
    return sa.select(scope_id).scalar_subquery()


def _settle(is_one_of_them: sa.ColumnElement[bool], is_in_scope: sa.ColumnElement[bool]) -> Any:
    end: dict[str, Any] = {
        name: sa.bindparam(f"new_{name}") for name in ("status", "reason", "http_status", "lost_answers")
    }
    where = (is_in_scope, is_one_of_them, is_of_try(sa.bindparam("of_try")))
    return sa.update(events).where(*where).values(end)


#: Built once, since each batch needs it.
_OF_SCOPE = sa.bindparam("of_scope", type_=_columns.scope_id.type)
_SETTLE = _settle(_columns.event_id.in_(sa.bindparam("ids", expanding=True)), _columns.scope_id == _OF_SCOPE)
_SETTLE_ARRAY = _settle(
    _columns.event_id == sa.any_(array("ids", _columns.event_id)), _columns.scope_id == _hidden(_OF_SCOPE)
)


class Moved(NamedTuple):
    """A settled event that moves to another try, with the position of its row there and the digest of its content."""

    event_id: str
    position: int
    content: int | None


def move(connection: sa.Connection, scope_id: int, moved: Sequence[Moved], try_id: int) -> None:
    """Move settled events to another try."""
    if not moved:
        return
    common = {"of_scope": scope_id, "mine": try_id}
    if connection.dialect.name == "postgresql":
        connection.execute(_MOVE_ARRAYS, {**common, **lists([each._asdict() for each in moved])})
    else:
        rows = [{**common, "id": each.event_id, "place": each.position, "digest": each.content} for each in moved]
        connection.execute(_MOVE, rows)


_MOVE = (
    sa.update(events)
    .where(_columns.scope_id == _OF_SCOPE, _columns.event_id == sa.bindparam("id"))
    .values(try_id=sa.bindparam("mine"), position=sa.bindparam("place"), content=sa.bindparam("digest"))
)


def _move_arrays() -> Any:
    each = unnested(_columns[name] for name in Moved._fields)
    return (
        sa.update(events)
        .where(_columns.scope_id == _hidden(_OF_SCOPE), _columns.event_id == each.c.event_id)
        .values(try_id=sa.bindparam("mine"), position=each.c.position, content=each.c.content)
    )


_MOVE_ARRAYS = _move_arrays()


def delete(connection: sa.Connection, scope_id: int, ids: list[str], *conditions: sa.ColumnElement[bool]) -> int:
    """Delete the events that meet the conditions; return how many they were."""
    return connection.execute(sa.delete(events).where(*_are(connection, scope_id, ids), *conditions)).rowcount


def _are(connection: sa.Connection, scope_id: int, ids: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    is_in_scope = _columns.scope_id == scope_id
    if connection.dialect.name == "postgresql":
        is_in_scope = _columns.scope_id == _hidden(sa.literal(scope_id))
    return is_in_scope, _id_in(connection, ids)


def _id_in(connection: sa.Connection, ids: Sequence[str]) -> sa.ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return _columns.event_id == sa.any_(array("event_ids", _columns.event_id, ids))
    return _columns.event_id.in_(ids)


#: Attempts. Each lost race lets another task continue, so this must exceed the number of tasks that send the same events.
_ATTEMPTS = 20
#: SQLSTATEs of a serialization failure and a deadlock, and MySQL's numbers of a deadlock and a lock timeout.
_RACE_CODES = {"40001", "40P01", 1213, 1205}
#: SQLSTATEs of a read-only database, a statement timeout and a shutdown.
_TRANSIENT_CODES = {"25006", "57014", "57P01", "57P02", "57P03", "53300"}
_T = TypeVar("_T")


def retry_on_conflict(work: Callable[[], _T]) -> _T:
    """Retry a transaction that lost a race (unique violation, deadlock, serialization failure)."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except DBAPIError as error:
            if not _is_lost_race(error):
                raise
    return work()


def retry_while_away(work: Callable[[], _T], *, patience: Callable[[], float]) -> _T:
    """Retry with growing pauses while the database is unavailable, restarting or read-only.

    :param patience: the limit in seconds, called after each attempt.
    """
    retrying = Retrying(
        stop=lambda state: (state.seconds_since_start or 0.0) >= patience(),
        wait=wait_random_exponential(multiplier=0.1, max=3.0),
        retry=retry_if_exception(_is_transient),
        reraise=True,
    )
    return retrying(work)


def _is_lost_race(error: DBAPIError) -> bool:
    """Whether the error is a unique violation, a deadlock or a serialization failure."""
    return isinstance(error, IntegrityError) or not _RACE_CODES.isdisjoint(_codes(error))


def _is_transient(error: BaseException) -> bool:
    """Whether the error may be temporary, unlike a missing table."""
    if not isinstance(error, DBAPIError) or _is_lost_race(error):
        return False
    if error.connection_invalidated or not _TRANSIENT_CODES.isdisjoint(_codes(error)):
        return True
    stays = "no such table" in str(error.orig) or "no such column" in str(error.orig)
    return isinstance(error, OperationalError | InterfaceError) and not stays


def _codes(error: DBAPIError) -> set[Any]:
    cause: Any = error.orig
    return {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
