"""Export files for tests, in a folder or in memory, and what is compared with them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from ledger_rows import DESTINATION, write_deliveries

from airflow_provider_adjust.reconcile.exports.names import ExportFile, read_name
from airflow_provider_adjust.reconcile.exports.prove import Question, prove_by_ledger
from airflow_provider_adjust.reconcile.exports.result import Proof
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

APP, TOKEN = "4w565xzmb54d", "f0ob4r"
DAY = datetime(2026, 5, 1, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)
WINDOW = Window(DAY, DAY + timedelta(days=1))
HEAD = "{app_token},{environment},{activity_kind},{event},[event_id],{created_at},{revenue_float},{currency}"


def line(event_id: str, **changes: Any) -> str:
    """A line of an export with ``HEAD``."""
    cells = {
        "app": APP,
        "environment": "production",
        "kind": "event",
        "event": TOKEN,
        "id": event_id,
        "at": int(NOON.timestamp()),
        "revenue": "9.9",
        "currency": "EUR",
    } | changes
    return ",".join(str(cell) for cell in cells.values())


def export(
    lines: Iterable[str],
    *,
    head: str = HEAD,
    hour: datetime = NOON,
    app: str = APP,
    definition: str = "d1",
    part: str = "p1",
    cut: int = 0,
    packed: bool = True,
    before: bytes = b"",
) -> ExportFile:
    """A file of one hour.

    :param cut: bytes that are missing at its end.
    :param before: bytes in front of the text, such as a BOM.
    """
    path = f"exports/{app}_{hour:%Y-%m-%dT%H%M%S}_{definition}_{part}.csv{'.gz' if packed else ''}"
    content = before + "\n".join([head, *lines, ""]).encode()
    stored = gzip.compress(content, mtime=0) if packed else content
    stored = stored[: len(stored) - cut]
    name = read_name(path)
    assert name is not None
    return ExportFile(path, name, lambda: io.BytesIO(stored))


def every_hour(*files: ExportFile, of: Window = WINDOW, more: int = 12) -> list[ExportFile]:
    """The files, and an empty one for each other hour of a window and some after it."""
    taken = {each.name.hour for each in files}
    hours = Window(of.start, of.end + timedelta(hours=more)).hours()
    return [*files, *(export([], hour=hour, part="empty") for hour in hours if hour not in taken)]


def delivery(event_id: str, status: str = "delivered", **changes: Any) -> dict[str, Any]:
    """A row of the view ``adjust_delivery``."""
    return {
        "destination": DESTINATION,
        "app_token": APP,
        "endpoint": "event",
        "event_token": TOKEN,
        "environment": "production",
        "event_id": event_id,
        "status": status,
        "occurred_at": NOON.replace(tzinfo=None),
        "revenue": Decimal("9.90"),
        "currency": "EUR",
        "updated_at": (NOON + timedelta(hours=1)).replace(tzinfo=None),
        **changes,
    }


def fill(engine: sa.Engine, rows: Iterable[Mapping[str, Any]]) -> None:
    """Make a ledger with these deliveries."""
    prepare(engine)
    with engine.begin() as connection:
        write_deliveries(connection, rows)


def prove(engine: sa.Engine, files: Iterable[ExportFile], **changes: Any) -> Proof:
    """The proof of the window's events; ``differences``, ``destination`` and the question's fields may be given."""
    differences = changes.pop("differences", None)
    destination = changes.pop("destination", DESTINATION)
    asked = {"window": WINDOW, "app_token": APP, "environment": "production", **changes}
    return prove_by_ledger(
        Question(**asked),
        files,
        engine,
        destination=destination,
        task=TaskInstanceId("prove_dag", "run", "prove"),
        differences=differences,
    )


def counts(proof: Proof) -> dict[str, int]:
    """Events by verdict, without zeros."""
    return {verdict: count for verdict, count in sorted(proof.counts.items()) if count}
