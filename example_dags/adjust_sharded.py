"""Send each day's purchases from several workers at once, and account for every cent.

The query splits the customers into shards, and a mapped task sends each shard on whichever worker is free. A pool
limits what all workers send together. Create it before the first run::

    airflow pools set adjust 4 "shards that send to Adjust at once"

The ledger remembers each purchase, so a lost worker, a retry or a cleared shard sends nothing twice. It needs the
connections ``warehouse`` (Postgres or SQLite, each with its own query), ``adjust_default``, and ``adjust_ledger`` (any
database that all workers reach). docs/guides/scaling.md says how to choose the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import ObjectStoragePath, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

# Twice as many shards as run at once, so that a large shard does not delay the night.
SHARDS = 8
# The pool's slots are how many shards send at once; EVENTS_PER_SECOND is the limit for all of them together.
POOL, POOL_SLOTS = "adjust", 4
EVENTS_PER_SECOND = 2000


@dag(
    # Gives each run a data interval. With a plain "@daily", intervals have no length in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "scale"],
)
def adjust_sharded() -> None:
    wait_for_purchases = AdjustEventsReadySensor(
        task_id="wait_for_purchases",
        sql_conn_id="warehouse",
        sql="sql/purchases_ready.sql",
        settle_for=timedelta(minutes=10),
        timeout=timedelta(hours=6).total_seconds(),
    )

    send_purchases = SqlToAdjustOperator.partial(
        task_id="send_purchases",
        map_index_template="shard {{ task.parameters['shard'] }}",
        pool=POOL,
        max_events_per_second=EVENTS_PER_SECOND / POOL_SLOTS,
        sql_conn_id="warehouse",
        sql="{% include 'sql/purchases_of_shard_' ~ conn.warehouse.conn_type ~ '.sql' %}",
        event_token="f0ob4r",
        # Wait for a night with a failed shard: Adjust refuses its events once newer ones have arrived. Do not add
        # max_active_runs=1: the run that waits would keep the one that you clear from starting.
        depends_on_past=True,
        id_field="order_id",
        ledger_conn_id="adjust_ledger",
        # Applies to each shard separately, and a shard of the demo's night has only some sixty purchases.
        max_rejected=0.2,
        rejected_path="rejected/{{ dag.dag_id }}/{{ ts_nodash }}.jsonl",
    ).expand(parameters=[{"shard": shard, "shards": SHARDS} for shard in range(SHARDS)])

    warehouse_total = SQLExecuteQueryOperator(
        task_id="warehouse_total",
        conn_id="warehouse",
        sql="sql/purchases_total.sql",
    )

    @task(multiple_outputs=True)
    def account_for(results: Iterable[dict[str, Any]], warehouse: list[list[Any]]) -> dict[str, Any]:
        """Fail the run unless warehouse = delivered + not delivered, over all shards and to the cent."""
        count, amount = warehouse[0]
        expected = Decimal(str(amount)).quantize(Decimal("0.01"))
        read, skipped = 0, 0
        delivered, missing = Decimal(0), Decimal(0)
        for result in results:
            read += result["read"]
            skipped += result["skipped"]
            delivered += Decimal(result["revenue"].get("USD", "0"))
            if result["rejected_path"]:
                with ObjectStoragePath(result["rejected_path"]).open("rt") as lines:
                    missing += sum((Decimal(str(json.loads(line)["row"]["revenue"])) for line in lines), Decimal(0))
        print(f"{count} purchases, {expected} USD in the warehouse; {delivered} delivered, {missing} not delivered")
        # An event that an earlier run delivered is skipped, and counted in that run's revenue.
        if read != count or (not skipped and delivered + missing != expected):
            raise ValueError(
                f"the warehouse has {count} purchases of {expected} USD; the {SHARDS} shards read {read}, "
                f"delivered {delivered} USD, and list {missing} USD as not delivered"
            )
        return {"expected": str(expected), "delivered": str(delivered), "not_delivered": str(missing), "read": read}

    wait_for_purchases >> [send_purchases, warehouse_total]
    account_for(send_purchases.output, warehouse_total.output)


adjust_sharded()
