"""The file of a ledger on SQLite, accessible to its owner only: SQLite itself would make it readable for everyone."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: Names for which SQLite creates no file.
_MAKES_NONE: Final = frozenset({"ro", "rw", "memory"})


def make_file(engine: sa.Engine) -> None:
    """Create the file of a SQLite database before SQLite does, if it is missing. SQLite gives its other files the same mode.

    :raises AdjustConfigurationError: a link is in its place, through which SQLite would create or change another file.
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
    # An existing file stays unchanged; if the file cannot be created, SQLite reports that itself.
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def is_missing(engine: sa.Engine) -> bool:
    """Whether the file of a SQLite database is missing but could be created: a mere reader would make SQLite create it."""
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
    """Whether SQLAlchemy passes the name to SQLite as a URI, with the options of its query."""
    return "uri" in engine.url.query and str(engine.url.database).startswith("file:")
