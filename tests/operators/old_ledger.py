"""A ledger with events of any age, behind the connection `adjust_ledger`; and a way to step in while it is pruned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import write_deliveries

from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import deliveries


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """An empty ledger in an SQLite file, which the connection `adjust_ledger` leads to."""
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    engine = sa.create_engine(f"sqlite:///{path}")
    prepare(engine)
    return engine


def remember(ledger: sa.Engine, *events: tuple[str, timedelta]) -> None:
    """One row for each status and age; the event's id is made of both."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows: list[dict[str, Any]] = [
        {
            "app_token": "4w565xzmb54d",
            "event_token": "f0ob4r",
            "environment": "production",
            "event_id": f"{status}, {age.days} days" + (f", {age.seconds} s" if age.seconds else ""),
            "status": status,
            "reason": "",
            "occurred_at": now - age,
            "dag_id": "sync",
            "run_id": "run",
            "task_id": "send",
            "map_index": -1,
            # Written just now: what counts is when the event happened.
            "updated_at": now,
        }
        for status, age in events
    ]
    with ledger.begin() as connection:
        write_deliveries(connection, rows)


def remembered(ledger: sa.Engine) -> set[str]:
    with ledger.connect() as connection:
        return set(connection.scalars(sa.select(deliveries.c.event_id)))


@contextmanager
def at_the_first_batch(do: Callable[[], object]) -> Iterator[None]:
    """Do something in the middle of the first transaction that deletes events."""
    once = iter([do])

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM adjust_event"):
            next(once, lambda: None)()

    sa.event.listen(sa.Engine, "before_cursor_execute", look)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", look)
