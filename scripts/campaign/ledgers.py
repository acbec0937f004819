"""The ledgers of a campaign's tasks: a SQLite database for each, or the campaign's own Postgres."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa


def ledger_connection(memory: str, folder: Path, postgres: dict[str, str]) -> dict[str, str] | None:
    """The Airflow connection to it; None for a task that has a checkpoint only."""
    if memory == "checkpoint":
        return None
    return postgres if memory == "postgres" else {"conn_type": "sqlite", "host": str(folder / "ledger.db")}


def claimed(connection: dict[str, str], run_id: str) -> list[str]:
    """The events that the run's last try was sending when it ended: it is unknown whether Adjust has them."""
    if connection["conn_type"] == "sqlite":
        url = sa.URL.create("sqlite", database=connection["host"])
    else:
        url = sa.URL.create("postgresql+psycopg2", "postgres", host=connection["host"], database="postgres")
    query = sa.text("SELECT event_id FROM adjust_delivery WHERE run_id = :run_id AND status = 'sending'")
    engine = sa.create_engine(url)
    try:
        with engine.connect() as database:
            return list(database.scalars(query, {"run_id": run_id}))
    except sa.exc.DBAPIError:
        return []  # killed before the table was made
    finally:
        engine.dispose()
