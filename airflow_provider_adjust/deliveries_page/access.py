"""The user of a request and the DAGs that they may read, by Airflow's login and permissions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Depends
from sqlalchemy import select

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest

#: The parts of a DAG that the page shows: its runs, and the deliveries of their task instances.
_SHOWN = (DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE)


class Reader:
    """A user who is logged in."""

    def __init__(self, user: BaseUser) -> None:
        self._user = user
        self.user_id = str(user.get_id())

    def readable(self, dag_ids: Collection[str]) -> frozenset[str]:
        """Those of the DAGs that Airflow has, and that the user may read with their runs and task instances.

        The auth manager is asked in each request. Airflow's own dependencies for this read it from the application, which in a
        plugin is the plugin's.
        """
        known = get_auth_manager().get_authorized_dag_ids(user=self._user, method="GET")
        asked = sorted(known.intersection(dag_ids))
        teams = _teams(asked)
        if self._may_read(asked, teams):  # the usual case, for which an auth manager may have one question
            return frozenset(asked)
        return frozenset(dag_id for dag_id in asked if self._may_read([dag_id], teams))

    def reads_all(self) -> bool:
        """Whether the user may read the runs and task instances of every DAG, in general and of those that Airflow has.

        Both are checked, since some auth managers answer the general question by whether there is anything to see.
        """
        auth_manager = get_auth_manager()
        if not all(auth_manager.is_authorized_dag(method="GET", access_entity=e, user=self._user) for e in _SHOWN):
            return False
        with create_session() as session:
            every = frozenset(session.scalars(select(DagModel.dag_id)))
        return self.readable(every) == every

    def _may_read(self, dag_ids: Collection[str], teams: Mapping[str, str | None]) -> bool:
        """Whether the user may read the runs and task instances of all these DAGs."""
        questions: list[IsAuthorizedDagRequest] = [
            {
                "method": "GET",
                "access_entity": entity,
                "details": DagDetails(id=dag_id, team_name=teams.get(dag_id)),
            }
            for dag_id in dag_ids
            for entity in _SHOWN
        ]
        return get_auth_manager().batch_is_authorized_dag(questions, user=self._user)


def _teams(dag_ids: list[str]) -> Mapping[str, str | None]:
    """The team of each DAG that has one. Airflow 3.1 asks for permissions without teams."""
    find = getattr(DagModel, "get_dag_id_to_team_name_mapping", None)
    return find(dag_ids) if find is not None else {}


async def _reader(user: GetUserDep) -> Reader:
    """Airflow answers 401 without a login. Asynchronous, so that it uses none of Airflow's threads."""
    return Reader(user)


CurrentReader = Annotated[Reader, Depends(_reader)]
