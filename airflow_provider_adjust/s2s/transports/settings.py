"""The settings of a request as the library requests would choose them: credentials, proxies and certificates.

All transports use them, so that a proxy in the environment or a CA bundle has the same effect in each.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.redaction import Unshown, shows
from airflow_provider_adjust.s2s.transports.base import Target


class BearerToken(requests.auth.AuthBase):
    """Sets the header itself, so that no ``.netrc`` on the worker can override the credential."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Session(requests.Session):
    """A session that sends requests to this machine without a proxy."""

    def merge_environment_settings(self, url: Any, *settings: Any) -> Any:  # the proxies of the environment
        merged = super().merge_environment_settings(url, *settings)
        return {**merged, "proxies": {}} if is_loopback(url) else merged


def new_session() -> requests.Session:
    """A session that keeps its connections, does not retry and stores no cookies.

    The transport limits the number of connections. The pool has no limit (0), since a full pool would close a good connection,
    with a warning, when an answer that was given up still ends.
    """
    session = _Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=0, max_retries=0, pool_block=False)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers.update(
        {"User-Agent": f"airflow-provider-adjust/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


@shows("verify")
class RequestSettings(NamedTuple):
    """URL, headers, proxy and TLS settings for a target. ``verify`` is a CA bundle's path, or True for the default."""

    request: requests.PreparedRequest
    proxies: Mapping[str, str]
    verify: bool | str
    cert: str | tuple[str, str] | None

    @property
    def headers(self) -> dict[str, str]:
        return Unshown({name: value for name, value in self.request.headers.items() if name != "Content-Length"})


def request_settings(session: requests.Session, target: Target) -> RequestSettings:
    """The settings for posting form bodies to the target."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = requests.Request("POST", target.address, headers=form, auth=BearerToken(target.s2s_token))
    settings = session.merge_environment_settings(target.url, {}, None, None, None)
    return RequestSettings(
        session.prepare_request(request), settings["proxies"], settings["verify"] or True, settings["cert"]
    )


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this machine, in any notation.

    Such a request is never sent through a proxy: the proxy would receive token and device ids in clear text, and would look
    for the server on its own machine.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))  # the system also accepts 127.1 and 0x7f000001
        except OSError:
            return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
