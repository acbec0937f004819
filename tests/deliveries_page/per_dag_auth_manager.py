"""Airflow's simple auth manager, which has roles only, extended by permissions to read single DAGs."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: Others may read all.
MAY_READ = {"ada": {"shop_purchases"}, "bob": {"shop_subscriptions"}, "eve": set[str]()}


class PerDagAuthManager(SimpleAuthManager):
    """Named in ``[core] auth_manager`` by the tests."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        if details is None or details.id is None or user.username not in MAY_READ:
            return allowed
        return allowed and details.id in MAY_READ[user.username]
