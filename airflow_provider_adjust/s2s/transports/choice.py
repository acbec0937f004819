"""Which transport a delivery uses."""

from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.transports.base import Transport, TransportName
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport


def open_transport(name: TransportName, *, max_in_flight: int, timeout: tuple[float, float]) -> Transport:
    """A transport for so many requests at once; ``auto`` is libcurl where it is installed.

    :param timeout: seconds to connect, and to wait for the answer.
    :raises AdjustConfigurationError: there is no such transport, or it is not installed.
    """
    if name not in get_args(TransportName):
        raise AdjustConfigurationError(f"transport is one of {', '.join(get_args(TransportName))}, not {name!r}")
    has_curl = find_spec("pycurl") is not None
    if name == "requests" or (name == "auto" and not has_curl):
        return RequestsTransport(max_in_flight=max_in_flight, timeout=timeout)
    if not has_curl:
        raise AdjustConfigurationError(
            "transport='curl' needs pycurl, which is not installed: pip install 'airflow-provider-adjust[curl]'"
        )
    from airflow_provider_adjust.s2s.transports.curl import CurlTransport

    return CurlTransport(max_in_flight=max_in_flight, timeout=timeout)
