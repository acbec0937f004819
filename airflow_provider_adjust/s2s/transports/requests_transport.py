"""The transport that is always there: requests, one pooled session, a thread for each request in flight."""

from __future__ import annotations

import queue
import ssl
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from airflow_provider_adjust import __version__
from airflow_provider_adjust.s2s.transports.base import Completion, Failure, Target

#: Adjust's answers are small; what is longer is cut, so that a hostile or broken endpoint cannot fill the memory.
MAX_ANSWER_BYTES = 1_000_000
_CHUNK = 65_536
_CONNECTION_FAILURES = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
)


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
    session.headers.update({"User-Agent": f"airflow-provider-adjust/{__version__}", "Accept": "*/*"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class RequestsTransport:
    """Hands each request to a pool of threads that share one session."""

    def __init__(
        self, *, max_in_flight: int, timeout: tuple[float, float], session: requests.Session | None = None
    ) -> None:
        self._timeout = timeout
        self._session = session or new_session(max_in_flight)
        self._threads = ThreadPoolExecutor(max_in_flight, thread_name_prefix="adjust-s2s")
        self._done: queue.SimpleQueue[Completion] = queue.SimpleQueue()

    def submit(self, key: Any, target: Target, body: str) -> None:
        self._threads.submit(self._send, key, target, body)

    def poll(self, timeout: float | None) -> list[Completion]:
        try:
            completions = [self._done.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._done.empty():
            completions.append(self._done.get_nowait())
        return completions

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        self._session.close()

    def _send(self, key: Any, target: Target, body: str) -> None:
        self._done.put(post_form(self._session, key, target, body, self._timeout))


def post_form(
    session: requests.Session, key: Any, target: Target, body: str, timeout: tuple[float, float]
) -> Completion:
    """Send one request and describe its end; only a defect raises."""
    status = None
    try:
        with session.post(
            target.url,
            data=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=BearerToken(target.s2s_token),
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            status = response.status_code
            answer = bytearray()
            for chunk in response.iter_content(_CHUNK):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    break
            if not answer and not _announces_its_end(response):
                return Completion(key, status, failure=Failure.NO_ANSWER, failure_name="TruncatedHeaders")
            return Completion(key, status, bytes(answer), response.headers.get("Retry-After"))
    except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as error:
        failure, name = Failure.NOT_SENT, _name(error)
    except requests.exceptions.ConnectionError as error:
        failure, name = _phase(error), _name(error)
    except Exception as error:
        # Whatever else goes wrong after the request may have been written leaves the event in doubt, never lost.
        failure, name = Failure.NO_ANSWER, _name(error)
    return Completion(key, status, failure=failure, failure_name=name)


def _announces_its_end(response: requests.Response) -> bool:
    """Tell an answer without a body from one that broke off in its headers, which the HTTP library takes for whole."""
    headers = response.headers
    return (
        headers.get("Content-Length", "").isdigit()
        or "Transfer-Encoding" in headers
        or response.status_code in {204, 304}
    )


def _cause(error: BaseException) -> BaseException:
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    return reason if isinstance(reason, BaseException) else inner if isinstance(inner, BaseException) else error


def _phase(error: requests.exceptions.ConnectionError) -> Failure:
    cause = _cause(error)
    if isinstance(cause, _CONNECTION_FAILURES):
        return Failure.NOT_SENT
    if isinstance(cause, urllib3.exceptions.SSLError) and isinstance(_cause(cause), ssl.SSLCertVerificationError):
        return Failure.TLS
    return Failure.NO_ANSWER


def _name(error: BaseException) -> str:
    """The exception's kind; its text could name the URL or a proxy's credentials."""
    return type(_cause(error)).__name__
