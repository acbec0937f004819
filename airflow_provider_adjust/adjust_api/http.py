"""One GET request to an API that Adjust is read with: blocking on a worker, awaited in a trigger, the same request.

The Device API and the Report Service want a user's API token, not the S2S security token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import requests

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES, call_with_deadline

_CHUNK = 65_536
_QUERY = re.compile(r"\?\S*")


class _NoQueries(logging.Filter):
    """urllib3 and httpx log whole URLs at DEBUG and INFO, and one of ours holds a device id."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "advertising_id=" in message:
            record.msg, record.args = _QUERY.sub("?***", message), ()
        return True


for _name in ("urllib3.connectionpool", "httpx"):
    logging.getLogger(_name).addFilter(_NoQueries())


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
    """A request; ``timeout`` is seconds to connect and to wait for the answer, and together for the whole of it.

    No redirect is followed. A body longer than ``most_bytes`` is cut.
    """

    url: str
    params: Mapping[str, str] = field(repr=False)
    api_token: str = field(repr=False)
    timeout: tuple[float, float]
    most_bytes: int = MAX_ANSWER_BYTES

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
            return call_with_deadline(sum(self.timeout), self._get)
        except (OSError, UnicodeError) as error:  # requests' own are OSErrors, and so is a bundle that is not there
            raise ApiUnreachable(type(error).__name__) from None

    def _get(self) -> ApiAnswer:
        with requests.get(
            self.url,
            params=self.params,
            headers=self.headers,
            auth=lambda request: request,  # or requests would put a credential of .netrc in the token's place
            timeout=self.timeout,
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                if len(body) > self.most_bytes:
                    break
            return ApiAnswer(answer.status_code, bytes(body), answer.headers.get("Retry-After"))

    async def asend(self) -> ApiAnswer:
        """Send it from a trigger, whose event loop others share.

        :raises ApiUnreachable: no whole answer came.
        """
        connect, read = self.timeout
        try:
            # Reading the certificates takes a while and would hold up every other trigger.
            trusted = await asyncio.to_thread(_trusted_authorities)
            async with (
                asyncio.timeout(connect + read),
                httpx.AsyncClient(verify=trusted, timeout=httpx.Timeout(read, connect=connect)) as client,
                client.stream("GET", self.url, params=self.params, headers=self.headers) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_bytes(_CHUNK):
                    body += chunk
                    if len(body) > self.most_bytes:
                        break
                return ApiAnswer(answer.status_code, bytes(body), answer.headers.get("Retry-After"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise ApiUnreachable(type(error).__name__) from None


def _trusted_authorities() -> ssl.SSLContext:
    """What the blocking path trusts: httpx does not know of requests' variables, which the workers are set up with."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return httpx.create_ssl_context()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
