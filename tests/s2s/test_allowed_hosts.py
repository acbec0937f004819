"""Which hosts may get a token: an entry means what it says, and nothing that only resembles it."""

from __future__ import annotations

import pytest
from table import table

from airflow_provider_adjust.s2s import AdjustConfigurationError, AllowedHosts


def is_allowed(url: str, *entries: str) -> bool:
    try:
        AllowedHosts.parse(entries).check(url, "the endpoint")
    except AdjustConfigurationError:
        return False
    return True


@table(
    ("url", "entry"),
    [
        ("https://s2s.adjust.com", "*.adjust.com"),
        ("https://s2s.eu.adjust.com/some/path", "*.adjust.com"),
        ("https://S2S.Adjust.COM:8443", " *.ADJUST.com "),
        ("https://xn--djust-3ve.example", "xn--djust-3ve.example"),
        ("https://gateway", "gateway"),
        ("https://s2s_adjust.internal:8443", "s2s_adjust.internal:8443"),
        ("https://gateway.example.com:443", "gateway.example.com:443"),
        ("https://gateway.example.com", "gateway.example.com:443"),
        ("http://gateway.example.com", "gateway.example.com:80"),
        ("https://10.1.2.3:8443", "10.1.2.3"),
        ("https://[2001:db8:0::1]:8443", "[2001:db8::1]:8443"),
        ("https://[::ffff:10.1.2.3]", "10.1.2.3"),
        ("http://127.0.0.1:8099", "loopback"),
        ("http://127.9.9.9", "loopback"),
        ("http://localhost:8099", "Loopback"),
        ("http://[::1]:8099", "loopback"),
        ("http://[::ffff:127.0.0.1]:8099", "loopback"),
    ],
)
def test_what_an_entry_names_is_allowed(url: str, entry: str) -> None:
    assert is_allowed(url, "unrelated.example", entry)
    assert not is_allowed(url, "unrelated.example", "*.unrelated.example")


@table(
    ("url", "entry"),
    [
        ("https://adjust.com", "*.adjust.com"),
        ("https://.adjust.com", "*.adjust.com"),
        ("https://adjust.com.evil.host", "*.adjust.com"),
        ("https://s2s.adjust.com.evil.host", "*.adjust.com"),
        ("https://evil-adjust.com", "*.adjust.com"),
        ("https://eviladjust.com", "*.adjust.com"),
        ("https://s2s.adjust.com.", "*.adjust.com"),
        ("https://s2s..adjust.com", "*.adjust.com"),
        ("https://s2s.adjust.co", "*.adjust.com"),
        ("https://s2s.adjust.com", "adjust.com"),
        ("https://eu.s2s.adjust.com", "s2s.adjust.com"),
        # Who is who in a URL.
        ("https://s2s.adjust.com@evil.host", "*.adjust.com"),
        ("https://s2s.adjust.com:443@evil.host", "*.adjust.com"),
        ("https://evil.host@s2s.adjust.com", "*.adjust.com"),
        ("https://evil.host\\@s2s.adjust.com", "*.adjust.com"),
        ("https://evil.host\\.adjust.com", "*.adjust.com"),
        ("https://evil.host/.adjust.com", "*.adjust.com"),
        ("https://evil.host?.adjust.com", "*.adjust.com"),
        ("https://evil.host#.adjust.com", "*.adjust.com"),
        ("https://evil.host%2f.adjust.com", "*.adjust.com"),
        ("https://evil.host%00.adjust.com", "*.adjust.com"),
        ("https://evil.host .adjust.com", "*.adjust.com"),
        ("https://evil.host\r\n.adjust.com", "*.adjust.com"),
        ("https://s2s.adj\nust.com", "*.adjust.com"),
        ("https://evil.host:.adjust.com", "*.adjust.com"),
        ("https://evil.host:443.adjust.com", "*.adjust.com"),
        ("https://[::1", "*.adjust.com"),
        ("s2s.adjust.com", "*.adjust.com"),
        ("", "*.adjust.com"),
        # Letters that look like others, or that a resolver turns into others.
        ("https://s2s.аdjust.com", "*.adjust.com"),  # its first a is Cyrillic
        ("https://s2s.xn--djust-3ve.com", "*.adjust.com"),
        ("https://s2s\u3002adjust.com", "*.adjust.com"),
        ("https://s2s.adjust\uff0ecom", "*.adjust.com"),
        ("https://s2s.ａdjust.com", "*.adjust.com"),
        ("https://s2s.adjust.com\u200b", "*.adjust.com"),
        # Ports and addresses.
        ("https://gateway.example.com", "gateway.example.com:8443"),
        ("https://gateway.example.com:8444", "gateway.example.com:8443"),
        ("https://gateway.example.com:84430", "gateway.example.com:8443"),
        ("https://10.1.2.30", "10.1.2.3"),
        ("https://10.1.2.3.evil.host", "10.1.2.3"),
        ("https://[2001:db8::2]", "[2001:db8::1]"),
        # A tunnel's address leads to the tunnel, and not to the address that it holds.
        ("https://[2002:a01:203::]", "10.1.2.3"),
        ("https://[64:ff9b::10.1.2.3]", "10.1.2.3"),
        ("https://[2002:7f00:1::]", "loopback"),
        ("https://[64:ff9b::127.0.0.1]", "loopback"),
        ("http://127.0.0.1", "*.adjust.com"),
        ("http://localhost", "localhost"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1.evil.host", "loopback"),
        ("http://localhost.evil.host", "loopback"),
        ("http://10.0.0.1", "loopback"),
    ],
)
def test_what_only_resembles_an_entry_is_not_allowed(url: str, entry: str) -> None:
    assert not is_allowed(url, entry)


@table(
    "entry",
    [
        "*",
        "*.",
        "*.com",
        "*adjust.com",
        "s2s.*.com",
        "s2s.*",
        "**.adjust.com",
        "*.*.com",
        "https://s2s.adjust.com",
        "s2s.adjust.com/path",
        "user@s2s.adjust.com",
        "s2s.adjust.com.",
        "s2s..adjust.com",
        "s2s.adjust.com:0",
        "s2s.adjust.com:65536",
        "s2s.adjust.com:https",
        "s2s.adjust.com *.adjust.com",
        "s2s.аdjust.com",
        "*.10.1.2.3",
        "10.1.2",
        "10.0.0.0/8",
        "2001:db8::1",
        "[2001:db8::g]",
        "[10.1.2.3]:",
    ],
)
def test_an_entry_that_is_not_a_host_is_refused_rather_than_ignored(entry: str) -> None:
    with pytest.raises(AdjustConfigurationError, match=r"is not a host; write s2s\.adjust\.com") as refused:
        AllowedHosts.parse(["*.adjust.com", entry], option="[adjust] allowed_hosts")
    assert str(refused.value).startswith(f"[adjust] allowed_hosts: {entry!r} ")


def test_the_refusal_names_the_option_and_the_host_and_no_token_that_was_pasted_there() -> None:
    allowed = AllowedHosts.parse(["*.adjust.com"], option="[adjust] allowed_hosts")
    with pytest.raises(AdjustConfigurationError) as refused:
        allowed.check("https://evil.host/path", "connection 'a': the report_endpoint")
    assert str(refused.value) == (
        "connection 'a': the report_endpoint: no token may go to 'evil.host': [adjust] allowed_hosts does not list it; "
        "an Airflow administrator can add it"
    )
    with pytest.raises(AdjustConfigurationError, match="no token may go to this host"):
        allowed.check("https://v8s5opi0zs45607l8h8c48wak2vxb5oe", "the endpoint")


def test_an_empty_list_allows_nothing() -> None:
    assert not any(is_allowed(url, "", " ") for url in ("https://s2s.adjust.com", "http://127.0.0.1"))
