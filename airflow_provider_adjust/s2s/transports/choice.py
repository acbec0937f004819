"""The choice of a transport."""

from __future__ import annotations

from typing import get_args

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.transports.base import Transport, TransportName
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport


def open_transport(name: TransportName, *, max_in_flight: int, timeout: tuple[float, float]) -> Transport:
    """Open a transport for this many simultaneous requests; ``auto`` is libcurl if pycurl can be imported.

    :param timeout: seconds to connect, and to wait for the answer.
    :raises AdjustConfigurationError: the transport is not known, or its library cannot be imported.
    """
    if name not in get_args(TransportName):
        raise AdjustConfigurationError(f"transport is one of {', '.join(get_args(TransportName))}, not {name!r}")
    if name == "requests":
        return RequestsTransport(max_in_flight=max_in_flight, timeout=timeout)
    try:
        import pycurl  # noqa: F401 - not installed everywhere, and fails if its libcurl is not the one that it was built for
    except ImportError as error:
        if name == "auto":
            return RequestsTransport(max_in_flight=max_in_flight, timeout=timeout)
        raise AdjustConfigurationError(
            f"transport='curl' needs pycurl, which cannot be imported ({error}): pip install pycurl, or take 'requests'"
        ) from error
    from airflow_provider_adjust.s2s.transports.curl import CurlTransport

    return CurlTransport(max_in_flight=max_in_flight, timeout=timeout)
