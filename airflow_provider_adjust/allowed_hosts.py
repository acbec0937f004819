"""The hosts of the deployment, as Airflow's configuration names them."""

from __future__ import annotations

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.connection_form import DEFAULT_ALLOWED_HOSTS
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_OPTION = "[adjust] allowed_hosts"


def configured_hosts() -> AllowedHosts:
    """The hosts that the deployment lets tokens and device ids go to.

    :raises AdjustConfigurationError: the option holds something that is not a host.
    """
    written = conf.get("adjust", "allowed_hosts", fallback=DEFAULT_ALLOWED_HOSTS)
    return AllowedHosts.parse(written.split(","), option=_OPTION)


def adjust_hosts() -> AllowedHosts:
    """The hosts behind which is Adjust: its own, and gateways that the deployment allows. What went elsewhere is a rehearsal.

    An option that cannot be read names none: the tasks that send fail with what is wrong with it.
    """
    own = AllowedHosts.parse(DEFAULT_ALLOWED_HOSTS.split(","))
    try:
        gateways = configured_hosts().rules
    except AdjustConfigurationError:
        gateways = ()
    return AllowedHosts((*own.rules, *gateways), loopback=False, option=_OPTION)
