"""Which DAGs the user may read, by Airflow's own login and permissions."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends


def readable_dag_ids(user: GetUserDep) -> frozenset[str]:
    """The DAGs that the auth manager lets this user read. Airflow answers 401 without a login.

    The function asks the auth manager itself. Airflow's dependency for this takes it from the application, which in a
    plugin is the plugin's own.
    """
    return frozenset(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


ReadableDagIds = Annotated[frozenset[str], Depends(readable_dag_ids)]
