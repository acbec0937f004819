"""The provider dict, which Airflow reads through the entry point `apache_airflow_provider`.

Airflow 3.3 calls this during `import airflow`, so an error here stops every Airflow process of the deployment. So this file
must not import Airflow, not even through another file.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust import __version__
from airflow_provider_adjust.connection_form import (
    CONN_TYPE,
    DEFAULT_ALLOWED_HOSTS,
    HOOK_CLASS,
    HOOK_NAME,
    provider_form,
)

INTEGRATION = "Adjust"


def get_provider_info() -> dict[str, Any]:
    """Return what this distribution adds to Airflow."""
    return {
        # Airflow loads the provider only if this is the distribution's name in its canonical spelling.
        "package-name": "airflow-provider-adjust",
        "name": INTEGRATION,
        "description": "Send revenue from a warehouse to `Adjust <https://www.adjust.com/>`__, server to server.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://dev.adjust.com/en/api/s2s-api/",
                "tags": ["service"],
            },
        ],
        "hooks": [
            {"integration-name": INTEGRATION, "python-modules": ["airflow_provider_adjust.hooks.adjust_s2s"]},
        ],
        "operators": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_provider_adjust.operators.adjust_send_events",
                    "airflow_provider_adjust.operators.adjust_prune_ledger",
                    "airflow_provider_adjust.operators.adjust_forget_devices",
                    "airflow_provider_adjust.operators.adjust_third_party_sharing",
                    "airflow_provider_adjust.operators.adjust_reconcile",
                    "airflow_provider_adjust.operators.adjust_reconcile_exports",
                    "airflow_provider_adjust.operators.adjust_delivery_digest",
                ],
            },
        ],
        "transfers": [
            {
                # The name under which the common-sql provider registers every database that has a DB-API hook.
                "source-integration-name": "Common SQL",
                "target-integration-name": INTEGRATION,
                "python-module": "airflow_provider_adjust.transfers.sql_to_adjust",
            },
        ],
        "sensors": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_provider_adjust.sensors.adjust_events_ready",
                    "airflow_provider_adjust.sensors.adjust_events_reported",
                    "airflow_provider_adjust.sensors.adjust_device_event",
                    "airflow_provider_adjust.sensors.adjust_exports",
                ],
            },
        ],
        "triggers": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_provider_adjust.triggers.adjust_events_ready",
                    "airflow_provider_adjust.triggers.adjust_events_reported",
                    "airflow_provider_adjust.triggers.adjust_device_event",
                    "airflow_provider_adjust.triggers.adjust_exports",
                ],
            },
        ],
        "asset-uris": [
            {
                # Airflow skips an entry without both of these.
                "schemes": ["adjust"],
                "handler": "airflow_provider_adjust.assets.adjust.sanitize_uri",
                "factory": "airflow_provider_adjust.assets.adjust.create_asset",
                "to_openlineage_converter": "airflow_provider_adjust.assets.adjust.convert_asset_to_openlineage",
            },
        ],
        "extra-links": [
            "airflow_provider_adjust.links.adjust_links.AdjustDeliveriesLink",
            "airflow_provider_adjust.links.adjust_links.AdjustRejectedFileLink",
            "airflow_provider_adjust.links.adjust_links.AdjustDashboardLink",
        ],
        "task-decorators": [
            {
                "name": "adjust_events",
                # The schema calls this `path`; Airflow reads `class-name`.
                "class-name": "airflow_provider_adjust.decorators.adjust_events.adjust_events_task",
            },
        ],
        "notifications": [
            "airflow_provider_adjust.notifications.adjust_delivery_summary.AdjustDeliverySummaryNotifier"
        ],
        # For Airflow 3.2 and newer; `python -m airflow_provider_adjust` has the same commands on every version.
        "cli": ["airflow_provider_adjust.cli.airflow_cli.get_adjust_commands"],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": HOOK_CLASS,
                "hook-name": HOOK_NAME,
                **provider_form(),
            },
        ],
        # The page itself is an `airflow.plugins` entry point. Airflow loads plugins from this dict only if it is configured
        # to, and would then report a plugin in both places as loaded twice.
        "config": {
            "adjust": {
                "description": "Allowed hosts, files of events, and the page `Adjust deliveries` in Airflow's UI.",
                "options": {
                    "allowed_hosts": {
                        "description": (
                            "The hosts to which a connection may send tokens and device ids, separated by commas: names, "
                            "addresses, `*.` and a domain for every name below it, `loopback` for the sandbox on the same "
                            "machine. With `:port`, only that port. Set it wherever connections are read: on workers, "
                            "triggerers and API servers."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "*.adjust.com, gateway.example.com:8443",
                        "default": DEFAULT_ALLOWED_HOSTS,
                    },
                    "on_foreign_claim": {
                        "description": (
                            "What a sending task does at its end if events were not sent because the ledger has them from "
                            "another DAG: `warn` in its log, `error` to fail, or `allow`. The task's `on_foreign_claim` "
                            "overrides it. Set it on workers."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "error",
                        "default": "warn",
                    },
                    "ledger_conn_ids": {
                        "description": (
                            "The ledgers that the page shows, separated by commas: the `ledger_conn_id` of the sending tasks. "
                            "Set it on API servers and, for the button of a task, on workers."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "adjust_ledger",
                        "default": "",
                    },
                    "resend_dag_id": {
                        "description": (
                            "The DAG that resends a rejected file, to which the page links. It takes the file's name as the "
                            "parameter `rejected_file`, like the example `adjust_resend_rejected`. Without such a DAG, the page "
                            "shows no link. Set it on API servers."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "resend_purchases",
                        "default": "adjust_resend_rejected",
                    },
                    "files_folder": {
                        "description": (
                            "The folder for relative paths of rejected files, responses files and files of events, in a "
                            "task's arguments or a DAG's parameters: a path, or a URL such as "
                            "`s3://aws_default@bucket/adjust`. `{AIRFLOW_HOME}` is replaced. Set it on workers and API servers."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "/srv/airflow/adjust_files",
                        "default": "{AIRFLOW_HOME}/adjust_files",
                    },
                    "retain_files_for": {
                        "description": (
                            "How many days to keep rejected files and responses files. A sending task deletes older ones in "
                            "the folders that it writes to; its `retain_for` overrides this. Empty: forever. Set it on workers."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "30",
                        "default": "",
                    },
                },
            },
        },
    }
