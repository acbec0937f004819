"""Send opt-outs and erasure requests from the warehouse to Adjust, each night.

An erasure cannot be undone, so this one is a dry run, which sends no request. Read its log, then replace
``dry_run=True`` with ``confirm="permanently"``. It needs the connections ``warehouse``, ``adjust_ledger``, and
``adjust_default`` with a ``digest_key`` and an S2S token that has the GDPR scope.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import dag

from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator
from airflow_provider_adjust.operators.adjust_third_party_sharing import AdjustThirdPartySharingOperator


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Two runs at once could send a device's choices out of order.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["adjust", "privacy"],
)
def adjust_privacy() -> None:
    opt_outs = AdjustThirdPartySharingOperator(
        task_id="tell_opt_outs",
        sql_conn_id="warehouse",
        sql="""
            SELECT gps_adid, idfa, CASE WHEN opted_out THEN 'disable' ELSE 'enable' END AS sharing
            FROM sharing_choices
            ORDER BY changed_at
        """,
        ledger_conn_id="adjust_ledger",
    )
    erasures = AdjustForgetDevicesOperator(
        task_id="forget_devices",
        sql_conn_id="warehouse",
        # Every open request, not only last night's: the ledger knows which devices are erased already.
        sql="SELECT gps_adid, idfa, adid FROM erasure_requests ORDER BY requested_at",
        ledger_conn_id="adjust_ledger",
        asked_by="the table erasure_requests",
        dry_run=True,
    )
    opt_outs >> erasures


adjust_privacy()
