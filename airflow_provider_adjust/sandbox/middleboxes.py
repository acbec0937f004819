"""Answers in Adjust's place: those of firewalls, API gateways, captive portals and broken proxies."""

from __future__ import annotations

from dataclasses import dataclass

# The target of each redirect. It records nothing: a sender that follows a redirect loses the event.
MOVED_PATH = "/event_moved"

_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"


@dataclass(frozen=True)
class Page:
    """An answer that is not Adjust's. A truncated page ends in the middle, with the connection."""

    status: int
    body: bytes
    content_type: bytes = _HTML
    location: str | None = None
    is_cut: bool = False


def _html(title: str, text: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>".encode()


_BAD_GATEWAY = Page(502, _html("502 Bad Gateway", "The proxy got no answer."), b"text/html")

#: The pages by the fault that brings them.
PAGES = {
    "html": _BAD_GATEWAY,
    "redirect": Page(307, b"", location=MOVED_PATH),
    "firewall": Page(403, _html("Access denied", "This request was blocked by the security policy. Incident 4711.")),
    "gateway_403": Page(403, b'{"message": "Forbidden"}', _JSON),
    "gateway_404": Page(404, b'{"message": "no Route matched with those values"}', _JSON),
    "portal": Page(200, _html("Welcome", "Sign in to use this network.")),
    "portal_redirect": Page(302, _html("Found", "Sign in to use this network."), location=MOVED_PATH),
    "proxy_502": _BAD_GATEWAY,
    "proxy_504": Page(504, _html("504 Gateway Timeout", "The proxy got no answer in time.")),
    "proxy_truncated": Page(502, _BAD_GATEWAY.body, is_cut=True),
}
#: Faults of broken proxies that lose Adjust's own answer: the event is recorded.
LOSING_THE_ANSWER = frozenset({"proxy_502", "proxy_504", "proxy_truncated"})
#: Faults in which Adjust was not reached. A sender that knows Adjust's words stops at them.
BARRING_THE_WAY = frozenset({"redirect", "firewall", "gateway_403", "gateway_404", "portal", "portal_redirect"})
