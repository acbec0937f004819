"""Prove a story's ledger by raw data exports, and check the result against the stand-in's records."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.export_files import export_files
from airflow_provider_adjust.reconcile.exports.prove import Question, prove_by_ledger
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.sandbox import SandboxServer
from campaign.ledgers import engine_of
from campaign.rows import Key

_HOUR = timedelta(hours=1)


def broken_proofs(
    connection: Mapping[str, Any], sandbox: SandboxServer, folder: Path, recorded: Counter[Key], story: str
) -> list[str]:
    """Prove the ledger by the exports; return the errors of the proof.

    Every event that was recorded twice has to be named, every event in doubt has to be resolved as the stand-in's records
    say, and nothing else may change.

    :param recorded: how often the stand-in recorded each event.
    :param story: the prefix of its events' ids; several stories may share a ledger.
    """
    engine = engine_of(dict(connection))
    before = _statuses(engine, story)
    if not before:
        return []  # killed before the ledger was made
    now = datetime.now(UTC)
    # Adjust uploads a file for each hour, and what was sent in the last minutes of one may be in the next.
    sandbox.write_exports(folder, parts=3, empty_hours=[f"{now + _HOUR:%Y-%m-%dT%H}"])
    scope = _scope(engine, story)
    listed = io.StringIO()
    prove_by_ledger(
        Question(
            window=Window(now - timedelta(days=60), now + timedelta(days=1)),
            app_token=scope.app_token,
            environment=scope.environment,
            settle_for=timedelta(0),
            every_hour_has_files=False,
        ),
        export_files(str(folder)),
        engine,
        destination=scope.destination,
        task=TaskInstanceId(),
        differences=listed,
    )
    named = {
        (row["event_token"], row["event_id"])
        for row in csv.DictReader(listed.getvalue().splitlines())
        if row["verdict"] == "booked_more"
    }
    twice = {key for key, times in recorded.items() if times > 1 and key in before}
    after = _statuses(engine, story)
    expected = {key: _resolved(status, recorded[key]) for key, status in before.items()}
    problems = {
        "recorded twice, and not named by the exports": len(twice - named),
        "named as booked twice, and recorded once": len(named & before.keys() - twice),
        "not as the exports prove them": sum(after.get(key) != status for key, status in expected.items()),
    }
    return [f"{count} {problem}" for problem, count in problems.items() if count]


def _resolved(status: str, times: int) -> str | None:
    """The required status of an event after the proof; None for one that the ledger has released."""
    if status not in {"in_doubt", "sending"}:
        return status
    return "delivered" if times else None


def _statuses(engine: sa.Engine, story: str) -> dict[Key, str]:
    query = sa.text("SELECT event_token, event_id, status FROM adjust_delivery WHERE event_id LIKE :given")
    with engine.connect() as database:
        if not sa.inspect(database).has_table("adjust_event"):
            return {}
        return {
            (token, event_id): status for token, event_id, status in database.execute(query, {"given": f"{story}-%"})
        }


def _scope(engine: sa.Engine, story: str) -> Any:
    query = sa.text("SELECT destination, app_token, environment FROM adjust_delivery WHERE event_id LIKE :given")
    with engine.connect() as database:
        return database.execute(query, {"given": f"{story}-%"}).first()
