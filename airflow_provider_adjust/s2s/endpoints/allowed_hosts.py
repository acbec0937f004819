"""The hosts that may receive a token or a device id. Otherwise anyone who may edit a connection could send both to any host.

The list is the caller's: the hook reads it from Airflow's option ``[adjust] allowed_hosts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: This machine: 127.0.0.0/8, ::1 and localhost, on any port.
LOOPBACK = "loopback"

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
#: A host name in a rule: without a final dot, and without anything that a resolver and a parser read differently.
_HOST = re.compile(_NAME)
_ENTRY = re.compile(
    rf"(?:(?P<wildcard>\*\.)?(?P<name>{_NAME})|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_PORTS = {"https": 443, "http": 80}
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class _Rule:
    """One entry. ``port`` is None for any port."""

    host: str
    wildcard: bool
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> _Rule | None:
        """Parse an entry; None if it is not a rule."""
        match = _ENTRY.fullmatch(entry)
        if match is None:
            return None
        host, port = match["name"] or match["ipv6"], match["port"]
        address = parse_address(host)
        if (match["ipv6"] or host.rpartition(".")[2].isdecimal()) and (address is None or match["wildcard"]):
            return None
        if match["wildcard"] and "." not in host:
            return None  # a wildcard over a whole top-level domain
        if port and int(port) > _HIGHEST_PORT:
            return None
        return cls(str(address or host), bool(match["wildcard"]), int(port) if port else None)

    def accepts(self, host: str, port: int | None) -> bool:
        return (self.port is None or self.port == port) and self.names(host)

    def names(self, host: str) -> bool:
        return host.endswith(f".{self.host}") if self.wildcard else host == self.host


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that may receive a token or a device id.

    .. code-block:: python

        AllowedHosts.parse(["*.adjust.com", "gateway.example.com:8443"]).check(url, "the endpoint")

    An entry is a host's name or address; ``*.`` and a domain, for every name below the domain but not the domain itself; or
    ``loopback``. With ``:port`` it allows only that port.

    :param option: the name of the list in messages.
    """

    rules: tuple[_Rule, ...]
    loopback: bool
    option: str

    @classmethod
    def parse(cls, entries: Iterable[str], option: str = "allowed_hosts") -> AllowedHosts:
        """Read the entries.

        :raises AdjustConfigurationError: an entry is not a host, or its wildcard is too broad.
        """
        rules = []
        written = [entry.strip().lower() for entry in entries if entry.strip()]
        for entry in written:
            if entry == LOOPBACK:
                continue
            rule = _Rule.parse(entry)
            if rule is None:
                raise AdjustConfigurationError(
                    f"{option}: {entry[:60]!r} is not a host; write s2s.adjust.com, *.adjust.com, host:8443 or {LOOPBACK}"
                )
            rules.append(rule)
        return cls(tuple(rules), LOOPBACK in written, option)

    def check(self, url: str, where: str) -> None:
        """Refuse a URL if its host is not in the list.

        :param where: the name of the URL in the message, such as "the endpoint".
        :raises AdjustConfigurationError: the host is not allowed.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            host, port = "", None
        if "@" in url or not url.isprintable() or " " in url or not self._accepts(host, port):
            # A name without a dot may be a token that was pasted into the wrong field.
            shown = repr(host[:80]) if "." in host or ":" in host else "this host"
            raise AdjustConfigurationError(
                f"{where}: no token may go to {shown}: {self.option} does not list it; an Airflow administrator can add it"
            )

    def names(self, host: str) -> bool:
        """Whether an entry names the host, on whichever port. This machine is never named: what listens here is a stand-in."""
        if is_this_machine(host):
            return False
        address = parse_address(host)
        return any(rule.names(str(address or host)) for rule in self.rules)

    def _accepts(self, host: str, port: int | None) -> bool:
        if is_this_machine(host):
            return self.loopback
        address = parse_address(host)
        if address is None and not _HOST.fullmatch(host):
            return False
        return any(rule.accepts(str(address or host), port) for rule in self.rules)


@lru_cache(maxsize=256)
def is_this_machine(host: str) -> bool:
    """Whether the host is the machine itself: ``localhost``, 127.0.0.0/8 or ::1."""
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The host as an address, or None. An IPv4 address mapped into IPv6 is unwrapped, since it is the same destination.

    Addresses that contain another one for a tunnel (6to4, Teredo, NAT64) are other destinations, so they stay unchanged.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
