"""Writes rows as the view ``adjust_delivery`` shows them into the ledger's tables, for tests that begin with a full ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, reasons, scopes, totals, tries

DESTINATION = "s2s.adjust.com"
_SCOPE = ("destination", "app_token", "endpoint", "event_key", "environment")
_TASK = ("dag_id", "run_id", "task_id", "map_index")


def write_deliveries(connection: sa.Connection, rows: Iterable[Mapping[str, Any]], *, with_totals: bool = True) -> None:
    """Write one event for each row, and the totals of their tries. A row without a task is of the task ``dag.send``.

    A try is ended, unless it has events that are being sent: then its lease runs out 90 s after the row's ``updated_at``.
    """
    numbers = _Numbers(connection)
    records: list[dict[str, Any]] = []
    counted: Counter[tuple[Any, ...]] = Counter()
    money: dict[tuple[Any, ...], Decimal] = {}
    for position, row in enumerate(rows, start=1):
        scope_id, try_id = numbers.scope(row), numbers.try_of(row)
        reason, currency = row.get("reason", ""), row.get("currency")
        records.append(
            {
                "scope_id": scope_id,
                "event_id": row["event_id"],
                "status": STATUS_NUMBERS[row["status"]],
                "reason": numbers.reason(reason),
                "http_status": row.get("http_status"),
                "content": row.get("content", 0),
                "occurred_at": row["occurred_at"],
                "sent_at": row.get("sent_at"),
                "revenue": row.get("revenue"),
                "currency": currency,
                "try_id": try_id,
                "position": position,
                "lost_answers": 0,
            }
        )
        if row["status"] != "sending":
            day = (row.get("sent_at") or row["occurred_at"]).date()
            key = (try_id, scope_id, day, row["status"], reason, currency)
            counted[key] += 1
            if row.get("revenue") is not None:
                money[key] = money.get(key, Decimal(0)) + row["revenue"]
    if records:
        connection.execute(events.insert(), records)
    if with_totals:
        write_totals(
            connection,
            (
                dict(zip(("try_id", "scope_id", "day", "outcome", "reason", "currency"), key, strict=True))
                | {"events": count, "revenue": money.get(key)}
                for key, count in counted.items()
            ),
        )


def write_totals(connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write totals; a row names its try and scope by number, or by the columns of the view."""
    numbers = _Numbers(connection)
    first = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(totals.c.number), -1))) or 0
    records = [
        {
            "try_id": row["try_id"] if "try_id" in row else numbers.try_of(row),
            "scope_id": row["scope_id"] if "scope_id" in row else numbers.scope(row),
            "number": number,
            "day": row["day"],
            "outcome": row["outcome"],
            "reason": row.get("reason", ""),
            "currency": row.get("currency"),
            "events": row["events"],
            "revenue": row.get("revenue"),
        }
        for number, row in enumerate(rows, start=first + 1)
    ]
    if records:
        connection.execute(totals.insert(), records)


class _Numbers:
    """The numbers of scopes, reasons and tries, which are made as they are met."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[Any, ...], int] = {}

    def scope(self, row: Mapping[str, Any]) -> int:
        values = {
            "destination": row.get("destination", DESTINATION),
            "app_token": row["app_token"],
            "endpoint": row.get("endpoint", "event"),
            "event_key": row["event_token"],
            "environment": row["environment"],
        }
        return self._number(scopes, values)

    def reason(self, code: str) -> int:
        return self._number(reasons, {"code": code})

    def try_of(self, row: Mapping[str, Any]) -> int:
        task = {"dag_id": "dag", "run_id": "run", "task_id": "send", "map_index": -1}
        task |= {name: row[name] for name in _TASK if name in row}
        written: datetime = row.get("updated_at") or row.get("occurred_at") or datetime(2026, 5, 6)
        is_open = row.get("status") == "sending"
        more = {
            "try_number": 1,
            "state": "running" if is_open else "success",
            "is_latest": True,
            "started_at": written,
            "heartbeat_at": written,
            "lease_until": written + timedelta(seconds=90),
            "ended_at": None if is_open else written,
            "read": 0,
            "error": "",
            "rejected_path": "",
        }
        return self._number(tries, task, more)

    def _number(self, table: sa.Table, values: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> int:
        key = (table.name, *values.values())
        if key not in self._known:
            same = [table.c[name] == value for name, value in values.items()]
            found = self._connection.scalar(sa.select(table.c.id).where(*same))
            if found is None:
                made = self._connection.execute(table.insert().values(**values, **(more or {})))
                found = made.inserted_primary_key[0]  # type: ignore[index]
            self._known[key] = int(found)
        return self._known[key]


def forget_everything(engine: sa.Engine) -> None:
    """Empty the ledger's tables, and keep them."""
    with engine.begin() as connection:
        for table in (events, totals, tries, scopes, reasons):
            connection.execute(table.delete())


def end_leases(engine: sa.Engine) -> None:
    """As time would: the tries that were killed are dead now."""
    with engine.begin() as connection:
        connection.execute(tries.update().values(lease_until=datetime(2020, 1, 1)))


def fill_with(connection: sa.Connection, text: str) -> None:
    """Put a text into every column of text that the page may show."""
    for table in (events, totals, reasons, scopes, tries):
        names = [column.name for column in table.c if isinstance(column.type, sa.String)]
        connection.execute(table.update().values(dict.fromkeys(names, text)))
