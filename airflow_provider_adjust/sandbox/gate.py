"""The gate of the sandbox: it answers programs on this machine, but not web pages.

The sandbox listens on this machine only, but a browser on it opens pages from anywhere. A page could resolve its host name to
this machine, and then read what the sandbox received; or it could post to the sandbox blindly. A browser reports such requests
in ``Host``, ``Origin`` and ``Sec-Fetch-Site``, which a page cannot change.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

#: Values of Sec-Fetch-Site for what the user or the sandbox's own page asked for.
_OWN = frozenset({b"same-origin", b"none"})


def refusal(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Why a request with these headers is not answered; None if it is."""
    hosts = []
    origin = site = None
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"origin":
            origin = value
        elif name == b"sec-fetch-site":
            site = value
    if len(hosts) != 1 or not _is_this_machine(hosts[0]):
        return "the Host header must be a loopback address or localhost: use the address that the sandbox printed"
    if origin is not None and origin != b"http://" + hosts[0]:
        return "the Origin header names another site: the sandbox answers no other site's pages"
    if site is not None and site not in _OWN:
        return "a page of another site sent this (Sec-Fetch-Site): the sandbox answers no other site's pages"
    return None


@functools.lru_cache(maxsize=64)
def _is_this_machine(host: bytes) -> bool:
    try:
        parts = urlsplit(b"//" + host)
        name = (parts.hostname or b"").decode("ascii")
        # Read, because a wrong port is an error.
        is_bare = parts.port != 0 and parts.netloc == host and b"@" not in host
    except ValueError:
        return False
    if name == "localhost":
        return is_bare
    try:
        return is_bare and ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
