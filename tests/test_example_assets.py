"""The examples with assets, partitions and backfills, each as it is, on the demo's warehouse and a stand-in for Adjust."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import airflow.sdk
import pytest
from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor
from example_files import EXAMPLES, load_module
from packaging.version import Version
from standalone import Standalone, standalone, wait_for
from table import table
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer

APP_TOKEN = "4w565xzmb54d"
EVENT_TOKEN = "f0ob4r"
S2S_TOKEN = "the-s2s-token-of-the-example"
ADJUST = f"adjust://{APP_TOKEN}/{EVENT_TOKEN}"
FREE = "amount = 0"  # Adjust takes no revenue of nothing, so these are refused

pytestmark = pytest.mark.airflow
has_partitions = pytest.mark.skipif(Version(airflow.__version__) < Version("3.2"), reason="partitions came with 3.2")


@dataclass
class Demo:
    """What the demo has: purchases of seven days in an embedded warehouse, a stand-in for Adjust, and a ledger."""

    folder: Path
    sandbox: SandboxServer
    until: datetime

    @property
    def environment(self) -> dict[str, str]:
        extra = {"app_token": APP_TOKEN, "environment": "sandbox"}
        adjust = {"conn_type": "adjust", "host": self.sandbox.url, "password": S2S_TOKEN, "extra": extra}
        return {
            "AIRFLOW_CONN_ADJUST_DEFAULT": json.dumps(adjust),
            "AIRFLOW_CONN_ADJUST_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(self.folder / "ledger.db")}),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(self.folder / "warehouse.db")}),
            "AIRFLOW__ADJUST__FILES_FOLDER": str(self.folder),
        }

    def day(self, days_ago: int) -> datetime:
        return self.until - timedelta(days=days_ago)

    def purchases(self, days_ago: int) -> int:
        """The day's purchases that Adjust takes."""
        start, end = (f"{self.day(days):%F %T}" for days in (days_ago, days_ago - 1))
        query = f"SELECT COUNT(*) FROM purchases WHERE purchased_at >= ? AND purchased_at < ? AND NOT {FREE}"
        with closing(sqlite3.connect(self.folder / "warehouse.db")) as warehouse:
            [(count,)] = warehouse.execute(query, [start, end])
        return int(count)

    def test(self, dag_id: str, *arguments: str) -> tuple[int, str]:
        """``airflow dags test``: its exit code and its log."""
        done = airflow_command("dags", "test", dag_id, *arguments, env=os.environ | self.environment)
        log = done.stdout + done.stderr
        assert S2S_TOKEN not in log
        return done.returncode, log

    def recorded(self) -> int:
        stats = self.sandbox.stats()
        assert (stats["order_violations"], stats["repeated_event_ids"]) == (0, 0)
        return int(stats["recorded"])


@pytest.fixture
def demo(tmp_path: Path, adjust_sandbox: SandboxServer) -> Demo:
    adjust_sandbox.configure(tokens=[S2S_TOKEN], app_tokens=[APP_TOKEN], event_tokens=[EVENT_TOKEN])
    # An hour back, so that the last night has settled even just after midnight.
    until = (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    load_purchases = load_module(EXAMPLES.parent / "scripts" / "load_purchases.py")
    load_purchases.load(f"sqlite:///{tmp_path / 'warehouse.db'}", until)
    return Demo(tmp_path, adjust_sandbox, until)


def asset_events(database: Path, uri: str) -> list[tuple[str | None, dict[str, Any]]]:
    """The partition key and the extra of each event of an asset, the oldest first."""
    query = """SELECT asset_event.* FROM asset_event JOIN asset ON asset.id = asset_id WHERE uri = ?
        ORDER BY asset_event.id"""
    with closing(sqlite3.connect(database)) as airflow_db:
        airflow_db.row_factory = sqlite3.Row
        rows = [dict(row) for row in airflow_db.execute(query, [uri])]
    return [(row.get("partition_key"), json.loads(row["extra"])) for row in rows]


# --- Scheduled on the warehouse's asset -------------------------------------------------------------------------------


def task_function(dag_id: str, task_id: str) -> Callable[..., Any]:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    function: Callable[..., Any] = DagBag(str(EXAMPLES)).dags[dag_id].get_task(task_id).python_callable
    return function


def triggering(*extras: dict[str, Any]) -> TriggeringAssetEventsAccessor:
    """The events of the warehouse's asset as a run finds them."""
    return TriggeringAssetEventsAccessor.build(
        AssetEventDagRunReferenceResult.from_asset_event_dag_run_reference(
            AssetEventDagRunReference.model_validate(
                {
                    "asset": {"name": "warehouse_purchases", "uri": "warehouse_purchases", "extra": {}},
                    "extra": extra,
                    "source_aliases": [],
                    "source_dag_id": "adjust_load_purchases",
                    "source_task_id": "load",
                    "source_run_id": "run",
                    "source_map_index": -1,
                    "timestamp": datetime.now(UTC),
                }
            )
        )
        for extra in extras
    )


LOADS = [
    {"start": "2026-11-02T00:00:00+00:00", "end": "2026-11-03T00:00:00+00:00"},
    {"start": "2026-11-01T01:00:00+01:00", "end": "2026-11-02T01:00:00+01:00"},
]


@table(
    ("loads", "params", "start", "end"),
    [
        (LOADS[:1], {}, "2026-11-02 00:00:00", "2026-11-03 00:00:00"),
        (LOADS, {}, "2026-11-01 00:00:00", "2026-11-03 00:00:00"),
        (LOADS, LOADS[0], "2026-11-01 00:00:00", "2026-11-03 00:00:00"),
        ([], LOADS[1], "2026-11-01 00:00:00", "2026-11-02 00:00:00"),
    ],
)
def test_the_window_spans_all_the_loads_since_the_last_run(
    loads: list[dict[str, str]], params: dict[str, str], start: str, end: str
) -> None:
    found = task_function("adjust_asset_scheduled", "window")(triggering_asset_events=triggering(*loads), params=params)
    assert found == {"start": start, "end": end}


@table("loads", [[], [{}], [LOADS[0], {"from_rest_api": True}]])
def test_a_run_that_does_not_know_what_was_loaded_fails(loads: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="does not say what was loaded"):
        task_function("adjust_asset_scheduled", "window")(
            triggering_asset_events=triggering(*loads), params={"start": None, "end": None}
        )


def test_a_run_by_hand_sends_the_window_that_it_is_given(demo: Demo, airflow_db: Path) -> None:
    conf = json.dumps({"start": demo.day(1).isoformat(), "end": demo.until.isoformat()})
    code, log = demo.test("adjust_asset_scheduled", "--conf", conf)
    assert code == 0, log[-5000:]
    assert demo.recorded() == demo.purchases(1) > 100
    [*_, (_, extra)] = asset_events(airflow_db / "airflow.db", ADJUST)
    assert extra["delivered"] == demo.purchases(1)
    assert Decimal(extra["revenue"]["USD"]) == Decimal(demo.sandbox.stats()["revenue"]["USD"])


# --- Partitions -------------------------------------------------------------------------------------------------------


@has_partitions
def test_a_run_by_hand_sends_the_day_that_it_is_given(demo: Demo, airflow_db: Path) -> None:
    code, log = demo.test("adjust_partitioned", "--conf", json.dumps({"day": f"{demo.day(2):%F}"}))
    assert code == 0, log[-5000:]
    assert demo.recorded() == demo.purchases(2) > 100


@has_partitions
@table(("partition_key", "day"), [("2026-11-01", None), (None, "2026-11-01"), ("2026-11-01", "2026-10-01")])
def test_a_partition_is_a_day(partition_key: str | None, day: str | None) -> None:
    found = task_function("adjust_partitioned", "window")(
        dag_run=SimpleNamespace(partition_key=partition_key), params={"day": day}
    )
    assert found == {"start": "2026-11-01 00:00:00", "end": "2026-11-02 00:00:00"}


@has_partitions
def test_a_run_without_a_partition_fails() -> None:
    with pytest.raises(ValueError, match="no partition"):
        task_function("adjust_partitioned", "window")(dag_run=SimpleNamespace(partition_key=None), params={"day": None})


def test_without_partitions_the_file_has_no_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow 3.1 reads it: it has neither of the two timetables."""
    for name in ("CronPartitionTimetable", "PartitionedAssetTimetable"):
        monkeypatch.delitem(vars(airflow.sdk), name, raising=False)
    lookup = vars(airflow.sdk)["__getattr__"]

    def without_partitions(name: str) -> Any:
        if "Partition" in name:
            raise AttributeError(name)
        return lookup(name)

    monkeypatch.setattr(airflow.sdk, "__getattr__", without_partitions)
    module = load_module(EXAMPLES / "adjust_partitioned.py")
    assert (module.CronPartitionTimetable, hasattr(module, "adjust_partitioned")) == (None, False)


# --- The guarded backfill ---------------------------------------------------------------------------------------------


def test_a_day_is_sent_once_however_often_it_is_backfilled(demo: Demo, airflow_db: Path) -> None:
    for _ in range(2):
        code, log = demo.test("adjust_guarded_backfill", demo.until.isoformat())
        assert code == 0, log[-5000:]
    assert re.search(rf"skipped +{demo.purchases(1):,}", log)
    assert demo.recorded() == demo.purchases(1) > 100


@table(("days_ago", "refused"), [(57, False), (58, True), (300, True)])
def test_a_day_that_adjust_would_not_take_is_refused(days_ago: int, refused: bool) -> None:
    day = datetime.now(UTC) - timedelta(days=days_ago)
    chosen = task_function("adjust_guarded_backfill", "guard")(data_interval_start=day)
    assert chosen == ("refuse" if refused else "send_purchases")


def test_a_refused_day_fails_before_anything_is_read(demo: Demo, airflow_db: Path) -> None:
    (demo.folder / "warehouse.db").unlink()
    end = demo.day(60)
    code, log = demo.test("adjust_guarded_backfill", end.isoformat())
    assert code != 0
    assert f"the purchases from {end - timedelta(days=1):%F} on were not sent" in log
    assert "58 days ago" in log
    assert demo.sandbox.stats()["requests"] == 0
    query = """SELECT task_id, task_instance.state FROM task_instance JOIN dag_run USING (dag_id, run_id)
        WHERE dag_id = 'adjust_guarded_backfill' AND dag_run.state = 'failed'"""
    with closing(sqlite3.connect(airflow_db / "airflow.db")) as database:
        states = dict(database.execute(query).fetchall())
    # Skipped, so that `depends_on_past` of the next day is content.
    assert states == {"guard": "success", "refuse": "failed", "send_purchases": "skipped"}


# --- On a real scheduler ----------------------------------------------------------------------------------------------


@pytest.fixture
def scheduler(demo: Demo) -> Iterator[Standalone]:
    with standalone(demo.folder, EXAMPLES, "adjust_guarded_backfill", **demo.environment) as command:
        yield command


def runs(demo: Demo, dag_id: str) -> list[tuple[str, str, str | None]]:
    """Type, state and partition key of each run of a DAG, in their order."""
    query = "SELECT run_type, state, partition_key FROM dag_run WHERE dag_id = ? ORDER BY id"
    with closing(sqlite3.connect(demo.folder / "airflow.db")) as database:
        return database.execute(query, [dag_id]).fetchall()


def ended(demo: Demo, dag_id: str, logical_date: datetime | None = None) -> list[str]:
    """The runs of a DAG that have ended, of one date or of all."""
    query = """SELECT run_id FROM dag_run WHERE dag_id = ? AND state IN ('success', 'failed')
        AND COALESCE(? = substr(logical_date, 1, 10), TRUE)"""
    with closing(sqlite3.connect(demo.folder / "airflow.db")) as database:
        found = database.execute(query, [dag_id, logical_date and f"{logical_date:%F}"]).fetchall()
    return [run_id for (run_id,) in found]


@pytest.mark.slow
@has_partitions
def test_a_load_triggers_its_delivery(scheduler: Standalone, demo: Demo) -> None:
    for dag_id in ("adjust_asset_scheduled", "adjust_load_purchases"):
        scheduler("dags", "unpause", "-y", dag_id)  # the last night is due at once
    wait_for("the delivery", lambda: ended(demo, "adjust_asset_scheduled"))
    assert runs(demo, "adjust_asset_scheduled") == [("asset_triggered", "success", None)]
    assert demo.recorded() == demo.purchases(1) > 100
    [(_, extra)] = asset_events(demo.folder / "airflow.db", ADJUST)
    assert extra["delivered"] == demo.purchases(1)


@pytest.mark.slow
@has_partitions
def test_a_partition_that_is_loaded_is_delivered(scheduler: Standalone, demo: Demo) -> None:
    for dag_id in ("adjust_partitioned", "adjust_load_partition"):
        scheduler("dags", "unpause", "-y", dag_id)  # the last night is due at once
    wait_for("the delivery", lambda: ended(demo, "adjust_partitioned"))
    day = f"{demo.day(1):%F}"
    assert runs(demo, "adjust_partitioned") == [("asset_triggered", "success", day)]
    assert demo.recorded() == demo.purchases(1) > 100
    [(key, extra)] = asset_events(demo.folder / "airflow.db", ADJUST)
    assert (key, extra["delivered"]) == (day, demo.purchases(1))


@pytest.mark.slow
def test_a_backfill_continues_after_the_days_that_it_refuses(scheduler: Standalone, demo: Demo) -> None:
    scheduler("dags", "unpause", "-y", "adjust_guarded_backfill")
    span = ("--from-date", f"{demo.day(59):%F}", "--to-date", f"{demo.day(57):%F}")
    scheduler("backfill", "create", "--dag-id", "adjust_guarded_backfill", *span, "--reprocess-behavior", "failed")
    wait_for("the backfill", lambda: ended(demo, "adjust_guarded_backfill", demo.day(57)))
    states = [state for run_type, state, _ in runs(demo, "adjust_guarded_backfill") if run_type == "backfill"]
    assert states == ["failed", "failed", "success"]


@pytest.mark.slow
def test_a_backfill_of_a_paused_dag_runs_before_the_nights(scheduler: Standalone, demo: Demo) -> None:
    span = ("--from-date", f"{demo.day(3):%F}", "--to-date", f"{demo.day(1):%F}")
    scheduler("backfill", "create", "--dag-id", "adjust_guarded_backfill", *span, "--reprocess-behavior", "failed")
    scheduler("dags", "unpause", "-y", "adjust_guarded_backfill")
    wait_for("the last night", lambda: ended(demo, "adjust_guarded_backfill", demo.day(1)))
    assert runs(demo, "adjust_guarded_backfill") == [("backfill", "success", None)] * 3
    assert demo.recorded() == sum(demo.purchases(days) for days in (3, 2, 1))


@pytest.mark.slow
def test_a_night_that_failed_is_cleared_while_the_next_ones_wait(scheduler: Standalone, demo: Demo) -> None:
    """The waiting runs must leave the cleared one a slot: with ``max_active_runs=1`` it would stay queued for ever."""

    def states() -> list[str]:
        return [state for _, state, _ in runs(demo, "adjust_guarded_backfill")]

    demo.sandbox.configure(tokens=["another-token"])
    span = ("--from-date", f"{demo.day(3):%F}", "--to-date", f"{demo.day(1):%F}")
    scheduler("backfill", "create", "--dag-id", "adjust_guarded_backfill", *span, "--reprocess-behavior", "failed")
    scheduler("dags", "unpause", "-y", "adjust_guarded_backfill")
    wait_for("a failed night and two that wait", lambda: sorted(states()) == ["failed", "running", "running"])
    assert demo.recorded() == 0
    demo.sandbox.configure(tokens=[S2S_TOKEN])
    scheduler("tasks", "clear", "-y", "--only-failed", "adjust_guarded_backfill")
    wait_for("the nights", lambda: states() == ["success"] * 3)
    assert demo.recorded() == sum(demo.purchases(days) for days in (3, 2, 1))
