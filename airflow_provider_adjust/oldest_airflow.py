"""Refuse an Airflow that is too old, with an import error of the DAG.

pip's resolver normally refuses such an Airflow. The check is for installations without the resolver (``--no-deps``), in which
the error would otherwise be about a missing name in ``airflow.sdk``. Packages with classes for DAGs run it on import. The
provider dict and the asset handlers, which Airflow reads at its start, do not, so that Airflow itself and other DAGs still
run.
"""

from __future__ import annotations

from packaging.version import Version

OLDEST = Version("3.1")


def refuse_older_airflow(installed: str | None = None) -> None:
    """Raise an error if Airflow is older than 3.1.

    :param installed: the version; by default that of the installed Airflow.
    :raises ImportError: the version is too old. Airflow shows it as the DAG's import error.
    """
    if installed is None:
        from airflow import __version__

        installed = str(__version__)
    if Version(Version(installed).base_version) < OLDEST:
        raise ImportError(
            f"airflow-provider-adjust needs Apache Airflow {OLDEST} or newer, and this is {installed}. Upgrade Airflow, or "
            "uninstall the provider: pip uninstall airflow-provider-adjust"
        )
