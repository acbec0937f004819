"""Where the page is served, which ledgers it shows, and which DAG resends: Airflow's section ``[adjust]``.

The plugin, the page and the links read this. Airflow loads the plugin in every process and operators import the links, so
this file imports nothing at the top.
"""

from __future__ import annotations

#: The path below Airflow's base path at which the API server serves the page.
PREFIX = "/adjust"
#: The name of a run's tab in the URLs of Airflow's UI.
RUN_TAB = "adjust-deliveries-of-dag-run"
SECTION, OPTION = "adjust", "ledger_conn_ids"
RESEND_OPTION, RESEND_DAG = "resend_dag_id", "adjust_resend_rejected"


def ledger_conn_ids() -> list[str]:
    """The connections to ledgers, in the order in which the option names them; none by default."""
    from airflow.configuration import conf

    written = conf.get(SECTION, OPTION, fallback="") or ""
    return list(dict.fromkeys(name.strip() for name in written.split(",") if name.strip()))


def resend_dag_id() -> str:
    """The DAG that sends a rejected file again; the example's by default."""
    from airflow.configuration import conf

    return (conf.get(SECTION, RESEND_OPTION, fallback=RESEND_DAG) or "").strip()


def files_folder() -> str:
    """The folder of rejected files, as tasks that write them read it: a path, or a URL without a slash at its end."""
    from airflow.configuration import AIRFLOW_HOME, conf

    written = conf.get(SECTION, "files_folder", fallback="") or "{AIRFLOW_HOME}/adjust_files"
    return written.replace("{AIRFLOW_HOME}", AIRFLOW_HOME).rstrip("/")
