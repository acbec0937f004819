"""The ledger's database, behind the connection that a task or a command names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from airflow_provider_adjust.sql_rows import sql_hook


@contextmanager
def ledger_engine(ledger_conn_id: str) -> Iterator[sa.Engine]:
    """The engine; its connections are closed when the context ends.

    :raises AdjustConfigurationError: the connection is not one to a database that Airflow can query.
    """
    engine = sql_hook(ledger_conn_id, None).get_sqlalchemy_engine()
    try:
        yield engine
    finally:
        engine.dispose()
