"""What is revenue at Adjust, and what a rehearsal: told by the host that events went to, and not by what they say.

A stand-in takes ``environment=production`` as Adjust does. Everything that people are shown of a ledger asks here.
"""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts, is_this_machine
from airflow_provider_adjust.s2s.ledger.schema import scopes, totals, tries

PRODUCTION = "production"
#: In the place of the environment: what was sent to a stand-in, in whichever environment.
REHEARSAL = "rehearsal"


def environment_at(host: str, environment: str, hosts: AllowedHosts | None = None) -> str:
    """The environment as people are shown it: the event's own at Adjust, ``rehearsal`` anywhere else.

    :param host: empty in the ledger of an older provider, which did not keep it: that counts as Adjust.
    :param hosts: Adjust's hosts and gateways to it. None for what is being sent: the hook has checked its host, so only a
        stand-in on this machine is left.
    """
    is_elsewhere = bool(host) and (is_this_machine(host) if hosts is None else not hosts.names(host))
    return REHEARSAL if is_elsewhere else environment


def shown_environment(hosts: AllowedHosts, of_scope: sa.FromClause = scopes) -> sa.ColumnElement[str]:
    """The same for a scope, in a query; NULL where there is no scope."""
    host = of_scope.c.destination
    is_adjust = [host == ""]
    for rule in hosts.rules:
        if not is_this_machine(rule.host):
            is_adjust.append(host.endswith(f".{rule.host}", autoescape=True) if rule.wildcard else host == rule.host)
    return sa.case((sa.not_(sa.or_(*is_adjust)), REHEARSAL), else_=of_scope.c.environment)


def set_up_environment(hosts: AllowedHosts, of_try: sa.FromClause = tries) -> sa.ColumnElement[str]:
    """Where a try was set up to send, for what is of no scope. A try that has only rehearsed was set up for that.

    An older provider wrote the environment of a stand-in like that of Adjust.
    """
    total, scope = totals.alias(), scopes.alias()
    counted = sa.select(total.c.try_id).join(scope, scope.c.id == total.c.scope_id)
    counted = counted.where(total.c.try_id == of_try.c.id).correlate(of_try)
    shown = shown_environment(hosts, scope)
    only_rehearsed = sa.and_(counted.where(shown == REHEARSAL).exists(), ~counted.where(shown != REHEARSAL).exists())
    return sa.case((only_rehearsed, REHEARSAL), else_=of_try.c.environment)
