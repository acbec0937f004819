"""The file of a ledger on SQLite: made for its owner alone, since SQLite itself would let everybody read it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: With these SQLite makes no file.
_MAKES_NONE: Final = frozenset({"ro", "rw", "memory"})


def make_file(engine: sa.Engine) -> None:
    """Make the file of a SQLite database before SQLite does, if it is missing. SQLite gives its other files the same mode.

    :raises AdjustConfigurationError: there is a link in its place, by which SQLite would make or change another file.
    """
    path = file_of(engine)
    if path is None:
        return
    if os.path.islink(path):
        raise AdjustConfigurationError(
            f"the ledger's file {path} is a link; name the file itself in the connection of ledger_conn_id"
        )
    if _is_uri(engine) and engine.url.query.get("mode") in _MAKES_NONE:
        return
    # What is there stays as it is, and what cannot be made SQLite reports in its own words.
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def is_missing(engine: sa.Engine) -> bool:
    """Tell a SQLite database whose file could be made but is not there: whoever only reads would have SQLite make it."""
    path = file_of(engine)
    return path is not None and os.path.isdir(os.path.dirname(path) or ".") and not os.path.exists(path)


def file_of(engine: sa.Engine) -> str | None:
    """The path of a SQLite database; None for another database, and for one in memory."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        return None
    if not _is_uri(engine):
        return database
    path = unquote(urlsplit(database).path)
    return None if path == ":memory:" else path


def _is_uri(engine: sa.Engine) -> bool:
    """SQLAlchemy hands a URI to SQLite, with the options of its query, only where it is told that it is one."""
    return "uri" in engine.url.query and str(engine.url.database).startswith("file:")
