"""The hosts for tokens: an endpoint that leads to the machine's own secrets, or that only resembles Adjust, is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table import table

from airflow_provider_adjust.hooks.base_url import base_url
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

WHERE = "connection 'adjust_default'"
NO_TOKEN_THERE = "tokens are not sent there"
SPELLING = "unusual notation"
HTTPS = "must begin with https://"
NO_URL = "must be a URL such as"


@table(
    ("host", "problem"),
    [
        # Where clouds hand out a machine's credentials, in every spelling that a resolver reads.
        ("http://169.254.169.254", HTTPS),
        ("https://169.254.169.254", NO_TOKEN_THERE),
        ("169.254.169.254", NO_TOKEN_THERE),
        ("https://169.254.0.1", NO_TOKEN_THERE),
        ("https://2852039166", SPELLING),
        ("https://0xA9FEA9FE", SPELLING),
        ("https://0xa9.0xfe.0xa9.0xfe", SPELLING),
        ("https://0251.0376.0251.0376", SPELLING),
        ("https://169.254.43518", SPELLING),
        ("https://127.1", SPELLING),
        ("https://169.254.169.254.", SPELLING),
        ("https://[fe80::1]", NO_TOKEN_THERE),
        ("https://[fe80::1%25eth0]", NO_TOKEN_THERE),
        ("https://[fd00:ec2::254]", NO_TOKEN_THERE),
        ("https://[::ffff:169.254.169.254]", NO_TOKEN_THERE),
        ("https://[::ffff:a9fe:a9fe]", NO_TOKEN_THERE),
        ("https://[::169.254.169.254]", NO_TOKEN_THERE),
        ("https://[64:ff9b::169.254.169.254]", NO_TOKEN_THERE),
        ("https://[2002:a9fe:a9fe::]", NO_TOKEN_THERE),
        ("https://100.100.100.200", NO_TOKEN_THERE),
        ("https://metadata.google.internal", "metadata"),
        ("https://METADATA.google.internal.", "metadata"),
        ("https://metadata", "metadata"),
        ("https://metadata.goog", "metadata"),
        ("https://[fd00:ec2::23]", NO_TOKEN_THERE),
        ("https://[fd20:ce::254]", NO_TOKEN_THERE),
        ("https://169.254.169.254.nip.io", "metadata"),
        ("https://app-169-254-169-254.sslip.io", "metadata"),
        ("https://www.169.254.170.2.nip.io", "metadata"),
        ("https://A9FEA9FE.nip.io", "metadata"),
        # Nowhere, or everywhere.
        ("https://0.0.0.0", NO_TOKEN_THERE),
        ("https://[::]", NO_TOKEN_THERE),
        ("https://224.0.0.1", NO_TOKEN_THERE),
        ("https://[ff02::1]", NO_TOKEN_THERE),
        ("https://255.255.255.255", NO_TOKEN_THERE),
        # Another machine, without encryption.
        ("http://s2s.adjust.com", HTTPS),
        ("http://10.0.0.1", HTTPS),
        ("http://[::ffff:10.0.0.1]", HTTPS),
        ("http://[2002:7f00:1::]", HTTPS),
        ("http://[64:ff9b::127.0.0.1]", HTTPS),
        # No HTTP at all.
        ("file:///etc/passwd", NO_URL),
        ("file://127.0.0.1/etc/passwd", NO_URL),
        ("ftp://s2s.adjust.com", NO_URL),
        ("gopher://127.0.0.1:25/", NO_URL),
        ("unix:///var/run/docker.sock", NO_URL),
        ("javascript://s2s.adjust.com/%0aalert(1)", NO_URL),
        # What looks like Adjust, and is not.
        ("https://s2s.adjust.com@evil.test", "holds credentials"),
        ("https://s2s.adjust.com:443@evil.test", "holds credentials"),
        ("https://@s2s.adjust.com", "holds credentials"),
        ("https://s2s.аdjust.com", "must be in ASCII"),  # its first a is Cyrillic
        ("https://s2s\u3002adjust.com", "must be in ASCII"),
        ("https://s2s.adjust.com\u202e", NO_URL),
        ("https://evil.test\\@s2s.adjust.com", "holds credentials"),
        ("https://evil.test\\.adjust.com", NO_URL),
        ("https://s2s.adjust.com%00.evil.test", NO_URL),
        ("https://s2s.adjust.com\r\nHost: evil.test", NO_URL),
        ("https://s2s.adj\tust.com", NO_URL),
        ("https://s2s.adj\nust.com", NO_URL),
        ("https://s2s.adjust.com/a?b", NO_URL),
        ("https://s2s.adjust.com/a b", NO_URL),
        ("https://s2s.adjust.com/\x1b[2J", NO_URL),
        ("https://-adjust.com", NO_URL),
        ("https://s2s..adjust.com", NO_URL),
        ("https://" + "a" * 300 + ".com", NO_URL),
        ("https://[v1.x]", NO_URL),
        ("https://[::1", NO_URL),
    ],
)
def test_no_token_goes_there(host: str, problem: str) -> None:
    with pytest.raises(AdjustConfigurationError) as refused:
        base_url(host, None, WHERE)
    message = str(refused.value)
    assert problem in message
    assert message.isprintable()
    assert "evil" not in message, "what is refused is not repeated: it may hold a secret"


@table(
    "host",
    [
        "https://s2s.adjust.com",
        "https://s2s.eu.adjust.com/some~path/v1.0",
        "https://xn--djust-3ve.example",
        "https://10.1.2.3:8443",
        "https://[2001:db8::1]:8443",
        "https://gateway",
        "https://s2s_adjust.internal",
        "http://127.0.0.1:8099",
        "http://[::1]:8099",
        "http://localhost:8099",
    ],
)
def test_a_gateway_of_ones_own_is_taken(host: str) -> None:
    assert base_url(host, None, WHERE) == host


@given(st.text(max_size=60) | st.from_regex(r"\Ahttps?://[^/]{0,30}(/.{0,10})?\Z"))
def test_any_text_is_a_base_url_or_is_refused_with_a_message(text: str) -> None:
    try:
        url, refusal = base_url(text, None, WHERE), None
    except AdjustConfigurationError as error:
        url, refusal = "", str(error)
    if refusal is not None:
        assert refusal.startswith(f"{WHERE}: the endpoint ")
        assert refusal.isprintable()
    else:
        assert url.startswith(("https://", "http://"))
        assert url.isascii()
        assert url.isprintable()
        assert base_url(url, None, WHERE) == url
