"""The check of a connection's URLs. Tokens are sent there, so unsafe hosts are refused."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts, is_this_machine, parse_address
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_NO_URL = "must be a URL such as https://s2s.adjust.com"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")
#: A host with a number as its last label is an address: 2852039166, 0xA9FEA9FE and 169.254.43518 are 169.254.169.254.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: Clouds serve a machine's credentials there, besides 169.254.169.254.
_METADATA_ADDRESSES = frozenset(
    map(
        ip_address,
        (
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
        ),
    )
)
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.goog", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"}
)
#: Public names that resolve to the address in them: 169.254.169.254.nip.io, 169-254-169-254.sslip.io, a9fea9fe.nip.io.
_SPELLED_LINK_LOCAL = re.compile(
    r"(?:^|[.-])(?:169[.-]254[.-][0-9]{1,3}[.-][0-9]{1,3}|a9fe[0-9a-f]{4})\.", re.IGNORECASE
)


def base_url(
    host: str | None,
    port: int | None,
    where: str,
    name: str = "endpoint",
    *,
    allowed_hosts: AllowedHosts | None = None,
) -> str:
    """The endpoint's base URL: https, or http to this machine only, since http would reveal the token to the network.

    :param allowed_hosts: the hosts that may receive a token; None allows any.
    :raises AdjustConfigurationError: the text is not a URL, or its host must not receive a token.
    """
    text = (host or connection_form.DEFAULT_ENDPOINT).strip()
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        problem = _problem(text, url)
    except ValueError:
        problem = _NO_URL
    if problem is None:
        try:
            port = port if url.port is None else url.port
        except ValueError:
            port = -1
        problem = (
            "has a port that is not a number from 1 to 65535" if port is not None and not 0 < port < 65_536 else None
        )
    if problem:
        raise AdjustConfigurationError(f"{where}: the {name} {problem}")
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    checked = f"{url.scheme}://{host}{f':{port}' if port else ''}{url.path.rstrip('/')}"
    if allowed_hosts is not None:
        allowed_hosts.check(checked, f"{where}: the {name}")
    return checked


def _problem(text: str, url: SplitResult) -> str | None:
    if url.username is not None or url.password is not None:
        return "holds credentials; the S2S security token has its own field"
    # The complete text is checked, since the parser drops parts of it, such as line ends.
    if url.scheme not in {"https", "http"} or url.query or url.fragment or not text.isprintable() or " " in text:
        return _NO_URL
    if not text.isascii():
        return "must be in ASCII; write a host with other letters in its xn-- form"
    if not url.hostname or not _PATH.fullmatch(url.path) or ("[" in url.netloc and parse_address(url.hostname) is None):
        return _NO_URL
    if url.scheme == "http" and not is_this_machine(url.hostname):
        return "must begin with https://; http:// is allowed to 127.0.0.1 and localhost only"
    if (path := url.path.rstrip("/")) in {each.path for each in ENDPOINTS.values()}:
        return f"must not end in {path}; give the base, such as https://s2s.adjust.com"
    return _host_problem(url.hostname)


def _host_problem(host: str) -> str | None:
    address = _innermost(host)
    if address is None:
        if not _HOST.fullmatch(host):
            return _NO_URL
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return "is an address in an unusual notation; write four numbers with dots"
        if host.rstrip(".").lower() in _METADATA_NAMES or _SPELLED_LINK_LOCAL.search(host):
            return "is a cloud's metadata service; tokens are not sent there"
        return None
    if address.is_loopback:
        return None
    if (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or address in _METADATA_ADDRESSES
    ):
        return "is a link-local, metadata, multicast or reserved address; tokens are not sent there"
    return None


def _innermost(host: str) -> IPv4Address | IPv6Address | None:
    """The host as an address, or None. An IPv4 address inside an IPv6 address is unwrapped."""
    address = parse_address(host)
    if not isinstance(address, IPv6Address):
        return address
    teredo = address.teredo
    packed = int(address)
    embedded = address.sixtofour or (teredo[1] if teredo else None)
    if embedded is None and packed >> 32 in {0, 0x64FF9B << 64} and packed >> 32 << 32 != packed and packed > 1:
        embedded = IPv4Address(packed & 0xFFFFFFFF)  # ::a.b.c.d, and NAT64's 64:ff9b::a.b.c.d
    return embedded or address
