"""Airflow's simple auth manager, which has roles only, extended by permissions to read single DAGs and parts of them."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: Others may read all.
MAY_READ = {"ada": {"shop_purchases"}, "bob": {"shop_subscriptions"}, "eve": set[str](), "una": {"SHOP_purchases"}}
#: Parts of DAGs that a user may not read, of one DAG or of all.
MAY_NOT_READ = {
    "kim": {(DagAccessEntity.RUN, None)},
    "lea": {(DagAccessEntity.TASK_INSTANCE, None)},
    "max": {(DagAccessEntity.RUN, "shop_purchases"), (DagAccessEntity.TASK_LOGS, None)},
}


class PerDagAuthManager(SimpleAuthManager):
    """Named in ``[core] auth_manager`` by the tests."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        dag_id = details.id if details else None
        if {(access_entity, None), (access_entity, dag_id)} & MAY_NOT_READ.get(user.username, set()):
            return False
        if details is None or dag_id is None or user.username not in MAY_READ:
            return allowed
        return allowed and dag_id in MAY_READ[user.username]
