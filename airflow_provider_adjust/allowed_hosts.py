"""The hosts of the deployment, as Airflow's configuration names them."""

from __future__ import annotations

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.connection_form import DEFAULT_ALLOWED_HOSTS
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_OPTION = "[adjust] allowed_hosts"


def configured_hosts() -> AllowedHosts:
    """The hosts to which the deployment allows tokens and device ids to be sent.

    :raises AdjustConfigurationError: an entry of the option is not a host.
    """
    written = conf.get("adjust", "allowed_hosts", fallback=DEFAULT_ALLOWED_HOSTS)
    return AllowedHosts.parse(written.split(","), option=_OPTION)


def adjust_hosts() -> AllowedHosts:
    """The hosts that lead to Adjust: its own, and the gateways that the deployment allows. Anything else is a rehearsal.

    If the option is malformed, only Adjust's own hosts count. The tasks that send report the mistake.
    """
    own = AllowedHosts.parse(DEFAULT_ALLOWED_HOSTS.split(","))
    try:
        gateways = configured_hosts().rules
    except AdjustConfigurationError:
        gateways = ()
    return AllowedHosts((*own.rules, *gateways), loopback=False, option=_OPTION)
