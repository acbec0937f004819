"""The words of an answer that may be shown.

An answer may repeat what was sent: a device id, an address or a token, in any spelling and cut anywhere. No list of such
spellings can be complete, so this is a list of what may be shown: the words of Adjust's documented messages, names of
parameters, and words that identify firewalls, proxies and gateways. All other text is replaced by its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS

#: Adjust's current and earlier messages (S2S API, response codes and security; Ad revenue; third-party sharing; Device API;
#: Report Service).
_ADJUST = """
    Event request failed. Ad revenue request failed. Third party sharing failed. Session failed. Event failed.
    Bad event state. Invalid app token. Ignoring event, earlier unique event tracked. Invalid callback parameters.
    Invalid event token. Invalid revenue. Failed to authorize request. App is inactive. Tracking disabled.
    Event token blocklisted. App token not found. App not found. Device not found. Request size too large.
    Device is opted out. Internal error, contact support@adjust.com. Missing authentication token.
    Wrong authentication token. Install tracked. Session tracked. Event tracked.
    Ignoring event subsequent to an event supposed to be unique, first occurred. Event Token for wrong app.
    Request check interval failed, ignoring too frequent session, last session, this session, min interval.
    Too frequent requests to the endpoint. Sdk click, impression, attribution, purchase, subscription. Forgot device.
    Insufficient scope. Query too slow. Too many simultaneous requests. Unsupported metric, dimension, filter, period.
    retry_in, ask_in, continue_in, timestamp, message, error, status, reason, code, detail, text, tracking_state,
    details, installed_at, adid, platform, web, utc, ok, adjust, adjust.com
"""
#: Common words around Adjust's. Without those that are first names: will, may, max.
_ENGLISH = """
    a an and any are as at be been before after but by can cannot could do does for from has have if in into is it its
    later less more must no none not of on one only or out over please same should so than that the their then there
    these this those to too under until up was were when which while with without you your here
    above below between during each both either neither all again already also now new old value values number date time
    parameter parameters param params field fields key keys name names type format string integer json body header headers
    empty null long short large small high low many few maximum minimum limit allowed denied disallowed required
    expected unexpected unknown known unsupported supported valid invalid missing malformed duplicate duplicated exists exist
    exceeds exceeded exceed less greater equal cannot parse parsed read decode decoded encode encoded match matches mismatch
    created updated deleted occurred installed install older newer earlier later future past order sequence currency amount
    revenue number sum
"""
#: What answers in Adjust's place, and what it says.
_BETWEEN = """
    forbidden blocked block blocking firewall proxy gateway nginx cloudflare akamai fastly varnish envoy apache iis squid
    haproxy zscaler fortinet fortigate fortiguard barracuda imperva incapsula cloudfront kong istio traefik tomcat amazon aws
    azure google microsoft palo alto networks cisco umbrella sophos symantec mcafee bluecoat checkpoint netskope
    login log logged in sign signin welcome portal captive wifi wi-fi guest network networks internet access denied
    unauthorized unauthenticated authorized authentication authorization required credentials password username account
    policy security rule rules category website site page web application server service services host hostname url uri
    request requests response bad timeout timed unavailable temporarily maintenance moved permanently found
    see other redirect redirected redirecting method content route routes matched upstream downstream connect connection
    connections reset refused closed terminated disconnect backend origin fetch first byte unreachable down
    attention challenge captcha robot robots human verify checking browser javascript enable cookies terms
    conditions use continue accept incident support reference id administrator admin contact help information
    protected restricted filter filtered filtering virus malware threat detected suspicious waf web ip address location
    country region certificate tls ssl http https error errors internal gone acceptable payload entity media range failed
    failure throttled throttling rate limited exceeded overloaded busy capacity try retry unprocessable precondition
    conflict locked dependency early hints not implemented license expired disabled suspended healthy load balancer docker
    default index home it works ubuntu debian centos test under construction coming soon parked domain
"""
#: Media types that are shown. Others are not: a server can write anything there.
_MEDIA_TYPES = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "application/xhtml+xml",
        "application/xml",
        "text/html",
        "text/javascript",
        "text/plain",
        "text/xml",
    }
)
#: The characters of an answer that are searched for words. The rest is counted.
_LONGEST_READ = 4000
#: The most characters that are shown.
_LONGEST_SHOWN = 200
_MARKS = "()[]{}<>,;:=\"'"
#: A mark, or a run of other characters up to the next mark or space.
_PIECE = re.compile(rf"[{re.escape(_MARKS)}]|[^\s{re.escape(_MARKS)}]+")
_HIDDEN = "…"
#: Hidden pieces with only marks between them.
_HIDDEN_RUN = re.compile(rf"{_HIDDEN}(?:[\s{re.escape(_MARKS)}]*{_HIDDEN})+")
_JOINTS = re.compile("[_/-]")


def _words(text: str) -> frozenset[str]:
    return frozenset(piece.rstrip(".").casefold() for piece in _PIECE.findall(text) if piece not in _MARKS)


#: Compared in lower case.
VOCABULARY = frozenset[str]().union(
    *map(_words, (_ADJUST, _ENGLISH, _BETWEEN)), *(each.parameters for each in ENDPOINTS.values())
)


def known_words(text: str, *, also: Iterable[str] = ()) -> str:
    """The known words of an answer, with an ellipsis for hidden ones and the number of their characters.

    :param text: the answer's text.
    :param also: further words that may be shown, such as those of the request.
    """
    known = VOCABULARY.union(word.casefold() for word in also)
    read = text[:_LONGEST_READ]
    shown: list[str] = []
    end = length = 0
    hidden = len(text) - len(read)
    for piece in _PIECE.finditer(read):
        word = piece[0]
        gap = " " if piece.start() > end else ""
        length += len(gap + word)
        if length > _LONGEST_SHOWN or not (word in _MARKS or _is_known(word, known)):
            hidden += len(word)
            word = _HIDDEN
        shown.append(gap + word)
        end = piece.end()
    words = _HIDDEN_RUN.sub(_HIDDEN, "".join(shown)).strip()
    if not hidden:
        return words
    note = f"{hidden:,} character{'s' if hidden > 1 else ''} not shown"
    return f"{words} (+ {note})" if any(map(str.isalpha, words)) else note


def _is_known(word: str, known: Collection[str]) -> bool:
    """Whether the word is known, or consists of known ones, such as created_at."""
    if not word.isascii():
        return False  # some letters of other scripts have an ASCII lower case
    word = word.rstrip(".!?").casefold()
    return word in known or all(part in known for part in _JOINTS.split(word))


def media_type(content_type: str | None) -> str:
    """The name of an answer's content type, if it is one of the usual ones."""
    if not content_type:
        return ""
    name = content_type.partition(";")[0].strip().lower()
    return name if name in _MEDIA_TYPES else "unusual content type"
