r"""A nightly delivery that you can backfill, with a guard for the 58 days that Adjust accepts.

Adjust refuses an event that is older than one it already has for the device, so send the past before the new nights. Create the
backfill while the DAG is paused, up to and including the last night, and then unpause the DAG::

    airflow backfill create --dag-id adjust_guarded_backfill --from-date 2026-10-01 --to-date 2026-11-25 \
        --max-active-runs 1 --reprocess-behavior failed
    airflow dags unpause adjust_guarded_backfill

A day that is too old fails before the query. Nothing of it is sent, and the days after it continue. Backfills may
overlap, because the ledger keeps delivered events from being sent again. Never add ``--run-backwards``. It needs the
connections ``warehouse``, ``adjust_default``, and ``adjust_ledger`` (any database).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.s2s import EVENT
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "recovery"],
)
def adjust_guarded_backfill() -> None:
    @task.branch(retries=0)
    def guard(*, data_interval_start: datetime) -> str:
        """Send the day if Adjust still accepts its first event, else refuse it."""
        return "send_purchases" if data_interval_start > datetime.now(UTC) - EVENT.max_age else "refuse"

    @task(retries=0)
    def refuse(*, data_interval_start: datetime) -> None:
        """Fail the run, so that nobody assumes that the day was sent."""
        oldest = datetime.now(UTC) - EVENT.max_age
        raise ValueError(
            f"the purchases from {data_interval_start:%Y-%m-%d} on were not sent: Adjust refuses events from before "
            f"{oldest:%Y-%m-%d %H:%M} UTC, {EVENT.max_age.days} days ago"
        )

    send_purchases = SqlToAdjustOperator(
        task_id="send_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases.sql",
        event_token="f0ob4r",
        # A failed day blocks the next one until you clear it. On a refused day this task is skipped, which blocks nothing.
        depends_on_past=True,
        id_field="order_id",
        ledger_conn_id="adjust_ledger",
        max_rejected=0.05,
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
    )

    guard() >> [send_purchases, refuse()]


adjust_guarded_backfill()
