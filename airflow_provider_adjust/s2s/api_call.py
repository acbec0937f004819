"""One GET request to an API that Adjust is read with: blocking on a worker, awaited in a trigger, the same request.

The Device API and the Report Service want a user's API token, not the S2S security token.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import requests

from airflow_provider_adjust import __version__


class ApiUnreachable(Exception):
    """No whole answer came. The message is the failure's kind alone: its text would hold the URL, and so a device id."""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer as it came."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request; ``timeout`` is seconds to connect and to wait for the answer. No redirect is followed."""

    url: str
    params: Mapping[str, str] = field(repr=False)
    api_token: str = field(repr=False)
    timeout: tuple[float, float]

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.api_token}",
            "Accept": "application/json",
            "User-Agent": f"airflow-provider-adjust/{__version__}",
        }

    def send(self) -> ApiAnswer:
        """Send it from a worker.

        :raises ApiUnreachable: no whole answer came.
        """
        try:
            answer = requests.get(
                self.url,
                params=self.params,
                headers=self.headers,
                auth=lambda request: request,  # or requests would put a credential of .netrc in the token's place
                timeout=self.timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ApiUnreachable(type(error).__name__) from None
        return ApiAnswer(answer.status_code, answer.content, answer.headers.get("Retry-After"))

    async def asend(self) -> ApiAnswer:
        """Send it from a trigger, whose event loop others share.

        :raises ApiUnreachable: no whole answer came.
        """
        connect, read = self.timeout
        # Reading the certificates takes a while and would hold up every other trigger.
        trusted = await asyncio.to_thread(_trusted_authorities)
        try:
            async with httpx.AsyncClient(verify=trusted, timeout=httpx.Timeout(read, connect=connect)) as client:
                answer = await client.get(self.url, params=self.params, headers=self.headers, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiUnreachable(type(error).__name__) from None
        return ApiAnswer(answer.status_code, answer.content, answer.headers.get("Retry-After"))


def _trusted_authorities() -> ssl.SSLContext:
    """What the blocking path trusts: httpx does not know of requests' variables, which the workers are set up with."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return httpx.create_ssl_context()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
