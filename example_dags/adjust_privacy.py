"""Bring opt-outs and erasure requests from the warehouse to Adjust, each night.

The erasure is a dry run, which asks Adjust for nothing: it cannot be undone. Read its log first; then
give it ``confirm="permanently"`` and no ``dry_run=True``. It needs the connections ``adjust_default``, with a
``digest_key`` and an S2S token that has the GDPR scope, ``warehouse`` and ``adjust_ledger``.
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
    # Two runs at once could tell Adjust of two choices of a device in the wrong order.
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
        # All requests that are not done, not the night's alone: what the ledger knows as erased is not asked for again.
        sql="SELECT gps_adid, idfa, adid FROM erasure_requests ORDER BY requested_at",
        ledger_conn_id="adjust_ledger",
        asked_by="the table erasure_requests",
        dry_run=True,
    )
    opt_outs >> erasures


adjust_privacy()
