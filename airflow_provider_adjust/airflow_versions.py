"""Imports that differ between versions of Airflow and its providers."""

from __future__ import annotations

try:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
    )
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
    )

try:
    from airflow.sdk.lineage import NoOpCollector, get_hook_lineage_collector
except ImportError:  # Airflow 3.1
    from airflow.lineage.hook import (  # type: ignore[import-not-found,no-redef]
        NoOpCollector,
        get_hook_lineage_collector,
    )

try:
    from airflow.sdk.observability import stats
except ImportError:  # Airflow before 3.3
    from airflow.stats import Stats as stats  # type: ignore[no-redef]  # noqa: N813

try:
    from airflow.sdk.bases.decorator import determine_kwargs
except ImportError:  # Airflow 3.1
    from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[attr-defined]

try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:  # Airflow 3.1
    from airflow.serialization.serde import deserialize, serialize  # type: ignore[import-not-found,no-redef]

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "NoOpCollector",
    "conf",
    "deserialize",
    "determine_kwargs",
    "get_hook_lineage_collector",
    "serialize",
    "stats",
]
