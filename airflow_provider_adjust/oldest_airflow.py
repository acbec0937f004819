"""Refuses an Airflow that is too old: in one sentence, where a DAG is imported, and nowhere else.

pip's resolver refuses it first. This is for who installed without the resolver (``--no-deps``), and would otherwise read of
a name that ``airflow.sdk`` lacks. The rooms whose classes DAGs use ask here as they are imported; what Airflow reads while
it starts (the provider dict, the asset handlers) does not, so that no other DAG and no process of Airflow is hurt.
"""

from __future__ import annotations

from packaging.version import Version

OLDEST = Version("3.1")


def refuse_older_airflow(installed: str | None = None) -> None:
    """Return if this Airflow is new enough.

    :param installed: the version; that of the Airflow at hand by default.
    :raises ImportError: it is older than 3.1. Airflow shows it as the DAG's import error.
    """
    if installed is None:
        from airflow import __version__

        installed = str(__version__)
    if Version(Version(installed).base_version) < OLDEST:
        raise ImportError(
            f"airflow-provider-adjust needs Apache Airflow {OLDEST} or newer, and this is {installed}. Upgrade Airflow, or "
            "uninstall the provider: pip uninstall airflow-provider-adjust"
        )
