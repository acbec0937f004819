"""Two tasks at one row of the ledger: the one that comes second looks again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

#: A race is lost to another task that went on, so there must be more of these than tasks that send the same events.
_ATTEMPTS = 20
#: SQLSTATE of a serialization failure and of a deadlock, and MySQL's number for the latter.
_RACE_CODES = {"40001", "40P01", 1213}
_T = TypeVar("_T")


def again_after_a_lost_race(work: Callable[[], _T]) -> _T:
    """Do it again when another task was faster with one of the events; the next look sees what it wrote."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except DBAPIError as error:
            if not _is_lost_race(error):
                raise
    return work()


def _is_lost_race(error: DBAPIError) -> bool:
    """Tell a row that came in between, or a transaction that the database gave up for another, from a real failure."""
    cause: Any = error.orig
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *getattr(cause, "args", ())[:1]}
    return isinstance(error, IntegrityError) or not _RACE_CODES.isdisjoint(codes)
