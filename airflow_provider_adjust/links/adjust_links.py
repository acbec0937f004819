"""Buttons on a task that sent events: its deliveries, its rejected file, Adjust's dashboard.

Airflow calls ``get_link`` on the worker after each try and keeps the link in XCom, so a link reads the operator only.
Airflow shows no button for an empty link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_provider_adjust.deliveries_page.configuration import PREFIX, RUN_TAB, ledger_conn_ids

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

#: The dashboard's start page: Adjust does not document a URL for the page of an app.
DASHBOARD_URL = "https://suite.adjust.com/"

#: Web consoles that show an object by bucket and key.
_CONSOLES = {
    "s3": "https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix={key}",
    "gs": "https://console.cloud.google.com/storage/browser/_details/{bucket}/{key}",
}
_CONSOLES["s3a"] = _CONSOLES["s3"]
_CONSOLES["gcs"] = _CONSOLES["gs"]


class AdjustDeliveriesLink(BaseOperatorLink):
    """The task's deliveries on the page, by its ledger. A task without a ledger has no link."""

    name = "Adjust deliveries"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        ledger = getattr(operator, "ledger_conn_id", None)
        if not ledger:
            return ""
        return _ui_path() + deliveries_path(ledger, ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)


class AdjustRejectedFileLink(BaseOperatorLink):
    """The rejected file of this try, if a browser can show it."""

    name = "Rejected file"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        result = getattr(operator, "delivery_result", None) or {}
        return file_url(result.get("rejected_path") or "")


class AdjustDashboardLink(BaseOperatorLink):
    """Adjust's dashboard."""

    name = "Adjust dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return DASHBOARD_URL


def deliveries_path(ledger_conn_id: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """The path to the deliveries of the task instance, below Airflow's base URL: the tab of its run, inside Airflow's UI.

    Airflow has the tab only if its configuration names the ledgers. Otherwise it is the separate page, which explains how.
    """
    if run_id and ledger_conn_id in ledger_conn_ids():
        return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/plugin/{RUN_TAB}"
    query: dict[str, Any] = {"ledger": ledger_conn_id, "dag_id": dag_id, "run_id": run_id, "task_id": task_id}
    if map_index >= 0:
        query["map_index"] = map_index
    return f"{PREFIX}/?{urlencode(query)}"


def file_url(path: str) -> str:
    """The file's URL for a browser; empty for a local file and for a storage without a web console."""
    parts = urlsplit(path)
    if parts.scheme in ("http", "https"):
        return path if "@" not in parts.netloc else ""
    if parts.scheme not in _CONSOLES:
        return ""
    # Airflow's paths may name a connection before the bucket: s3://aws_default@bucket/key.
    bucket = parts.netloc.rpartition("@")[2]
    key = path.partition("://")[2].partition("/")[2]
    return _CONSOLES[parts.scheme].format(bucket=quote(bucket), key=quote(key))


def _ui_path() -> str:
    """The path at which Airflow's UI is served, empty at the root. The link has no host, since the browser knows it."""
    # Not at the top, since the import of an operator would then read Airflow's configuration.
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
