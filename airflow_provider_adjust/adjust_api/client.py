"""The client for Adjust's reading APIs: GET requests with the API token, sent on an event loop with httpx.

The Device API and the Report Service need a user's API token, not the S2S security token. Triggers await this client; workers
call it through :func:`~airflow_provider_adjust.adjust_api.blocking.run_blocking`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import zlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import httpx

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.redaction import Unshown
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES
from airflow_provider_adjust.s2s.transports.settings import is_loopback

_QUERY = re.compile(r"\?\S*")
#: Errors of a request: the network and TLS, an unreadable certificate bundle, a proxy in the environment that httpx does not
#: know or lacks a library for.
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError)


#: True while this client reads.
_reading: ContextVar[bool] = ContextVar("adjust_api_reading", default=False)


class _NotWhileReading(logging.Filter):
    """Drops httpcore's DEBUG lines about this client's calls, since the headers in them contain the token."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _reading.get()


class _HideDeviceIds(logging.Filter):
    """Removes the queries that hold a device id: httpx logs whole URLs at level INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "advertising_id=" in message:
            record.msg, record.args = _QUERY.sub("?***", message), ()
        return True


logging.getLogger("httpx").addFilter(_HideDeviceIds())
for _name in ("httpcore.http11", "httpcore.connection", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_NotWhileReading())


class ApiUnreachable(Exception):
    """No complete response arrived. The message is only the error's type: its text may contain the URL, and so a device id.

    :param was_slow: the connection was established, but the response did not arrive in time.
    """

    def __init__(self, kind: str, *, was_slow: bool = False) -> None:
        super().__init__(kind)
        self.was_slow = was_slow


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response, unchanged."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ApiClient:
    """An API of Adjust with one user's API token.

    :param base_url: the API's URL, to which paths are appended.
    :param timeout: seconds to connect and seconds to wait for the response; their sum limits the complete call.
    :param max_bytes: a longer body is cut, compressed or not.
    """

    base_url: str
    api_token: str = field(repr=False)
    timeout: tuple[float, float]
    max_bytes: int = MAX_ANSWER_BYTES

    async def get(self, path: str, params: Mapping[str, str]) -> ApiResponse:
        """Send a GET request; redirects are not followed.

        :raises ApiUnreachable: no complete response arrived.
        """
        connect, read = self.timeout
        headers = Unshown(
            {
                "Authorization": f"Bearer {self.api_token}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",  # which _read decompresses
                "User-Agent": f"airflow-provider-adjust/{__version__}",
            }
        )
        is_reading = _reading.set(True)
        try:
            async with asyncio.timeout(connect + read):
                # Reading the certificates takes long enough to delay other triggers on the event loop.
                authorities = await asyncio.to_thread(_trusted_authorities)
                async with (
                    httpx.AsyncClient(
                        auth=httpx.Auth(),  # adds nothing: a credential from .netrc must not replace the token
                        verify=authorities,
                        timeout=httpx.Timeout(read, connect=connect),
                        follow_redirects=False,
                        trust_env=not is_loopback(self.base_url),  # the proxies of the environment
                    ) as client,
                    client.stream("GET", self.base_url + path, params=dict(params), headers=headers) as response,
                ):
                    body = await self._read(response)
                    return ApiResponse(response.status_code, body, response.headers.get("Retry-After"))
        except _FAILURES as error:
            was_slow = isinstance(error, TimeoutError | httpx.ReadTimeout)
            raise ApiUnreachable(type(error).__name__, was_slow=was_slow) from None
        finally:
            _reading.reset(is_reading)

    async def _read(self, response: httpx.Response) -> bytes:
        """The body up to the limit. httpx would decompress a complete chunk, and a few kilobytes can contain gigabytes."""
        packed = response.headers.get("Content-Encoding", "").strip().lower() == "gzip"
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if packed else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            try:
                body += unpacker.decompress(chunk, self.max_bytes + 1 - len(body)) if unpacker else chunk
            except zlib.error:
                raise httpx.DecodingError("not gzip") from None
            if len(body) > self.max_bytes:
                break
        return bytes(body[: self.max_bytes])


def _trusted_authorities() -> ssl.SSLContext:
    """The certificate authorities that requests would trust, since httpx ignores the variables that workers set for requests."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return httpx.create_ssl_context()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
