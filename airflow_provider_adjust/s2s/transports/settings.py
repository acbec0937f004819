"""The settings of a request as the library requests would choose them: credentials, proxies and certificates.

Every transport asks here, so that a proxy in the environment or a CA bundle means the same to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple

import requests
from requests.adapters import HTTPAdapter

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.transports.base import Target


class BearerToken(requests.auth.AuthBase):
    """Sets the header itself, so that no ``.netrc`` on the worker can put another credential in its place."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def new_session(connections: int = 1) -> requests.Session:
    """A session that keeps up to ``connections`` connections, retries nothing and stores no cookies."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0, pool_block=False)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers.update(
        {"User-Agent": f"airflow-provider-adjust/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class RequestSettings(NamedTuple):
    """URL, headers, proxy and TLS settings for a target. ``verify`` is a CA bundle's path, or True for the default."""

    request: requests.PreparedRequest
    proxies: Mapping[str, str]
    verify: bool | str
    cert: str | tuple[str, str] | None

    @property
    def headers(self) -> dict[str, str]:
        return {name: value for name, value in self.request.headers.items() if name != "Content-Length"}


def request_settings(session: requests.Session, target: Target) -> RequestSettings:
    """How form bodies are posted to the target."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = requests.Request("POST", target.url, headers=form, auth=BearerToken(target.s2s_token))
    settings = session.merge_environment_settings(target.url, {}, None, None, None)
    return RequestSettings(
        session.prepare_request(request), settings["proxies"], settings["verify"] or True, settings["cert"]
    )
