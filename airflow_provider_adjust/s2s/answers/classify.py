"""Classify Adjust's answers: status and body in, a verdict out.

Adjust's codes do not always fit its table (a 401 has been seen with ``device not found``, a 202 with a refused token),
so the message is checked first, then the status. Messages are matched as case-insensitive substrings: the prefix
differs by endpoint, and a second bracket group may follow (Adjust S2S API, response codes).

Firewalls, gateways and captive portals may answer in Adjust's place. Only an answer recognised as Adjust's settles an event;
any other stops the delivery.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from airflow_provider_adjust.s2s.answers.outcome import NOT_FROM_ADJUST, OPTED_OUT, Outcome, Verdict
from airflow_provider_adjust.s2s.answers.reasons import BUSY_STATUSES, GATEWAY_STATUSES, reason_of
from airflow_provider_adjust.s2s.answers.vocabulary import known_words, media_type
from airflow_provider_adjust.s2s.transports import Completion, Failure
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES

#: A proxy (Envoy, Varnish) that forwarded the request and lost its answer says so in a 503 with one of these.
_LOST_BEHIND_A_PROXY = re.compile(
    r"disconnect/reset before headers|reset reason: connection termination|backend fetch failed|first byte timeout"
    r"|upstream request timeout",
    re.IGNORECASE,
)
#: The first substring that the message contains decides.
_BY_MESSAGE: tuple[tuple[str, Outcome, str], ...] = (
    ("earlier unique event tracked", Outcome.DUPLICATE, "earlier_unique_event"),
    ("event supposed to be unique", Outcome.DUPLICATE, "earlier_unique_event"),
    ("device not found", Outcome.REJECTED, "device_not_found"),
    ("device is opted out", Outcome.REJECTED, OPTED_OUT),
    ("app token not found", Outcome.HALT, "app_token_not_found"),
    ("app not found", Outcome.HALT, "app_token_not_found"),
    ("invalid app token", Outcome.HALT, "invalid_app_token"),
    ("invalid event token", Outcome.HALT, "invalid_event_token"),
    ("event token for wrong app", Outcome.HALT, "invalid_event_token"),
    ("event token blocklisted", Outcome.REJECTED, "event_token_blocklisted"),
    ("app is inactive", Outcome.HALT, "app_inactive"),
    ("tracking disabled", Outcome.HALT, "tracking_disabled"),
    ("missing authentication token", Outcome.HALT, "missing_s2s_token"),
    ("wrong authentication token", Outcome.HALT, "wrong_s2s_token"),
    ("failed to authorize request", Outcome.HALT, "not_authorized"),
    ("session failed", Outcome.HALT, "insufficient_scope"),
    ("invalid revenue", Outcome.REJECTED, "invalid_revenue"),
    ("invalid callback parameters", Outcome.REJECTED, "invalid_callback_params"),
    ("bad event state", Outcome.REJECTED, "bad_event_state"),
    ("request size too large", Outcome.REJECTED, "too_large"),
    ("internal error", Outcome.RETRY, "internal_error"),
)
#: A year, in milliseconds: JSON's numbers are unbounded, a wait must not be.
_LONGEST_RETRY_IN = 365 * 86_400_000
_SLOW_DOWN_STATUSES = frozenset({429, 503})
#: The most objects and lists in an answer; Adjust's answers have a handful.
_MOST_BRACKETS = 400
#: Verdicts on answers up to this length, in characters, are cached.
_LONGEST_REMEMBERED = 300
#: The form of Adjust's refusals that no table lists: ``Event request failed (...)``, ``Session failed (...)``.
_REFUSAL = re.compile(
    r"(?:event|session|ad revenue|third[ -]party sharing|purchase|subscription|(?:sdk )?click|impression|attribution)"
    r"(?: request)? failed \(.",
    re.IGNORECASE,
)
#: Keys of Adjust's answers to sessions, and of those with attribution or SKAdNetwork values. No other service uses them.
_ADJUST_KEYS = (
    "app_token",
    "adid",
    "ask_in",
    "continue_in",
    "tracking_state",
    "attribution",
    "resolved_click_url",
    "control_params",
    "skadn_conv_value",
    "skadn_coarse_value",
    "skadn_lock_window",
)
_SUCCESS_MESSAGE = re.compile(r"[a-z]+(?: [a-z]+)? tracked", re.IGNORECASE)
#: Adjust's format of a time, ``2024-07-09T01:31:14.373Z+0000``.
_ADJUST_TIME = re.compile(r"[0-9T:.-]{19,}Z[+-][0-9]{4}")
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
#: The characters at the start of an answer that are searched for known words.
_LONGEST_SEARCHED = 4000


def classify(
    status: int,
    body: str | bytes,
    *,
    retry_after: str | None = None,
    content_type: str | None = None,
    now: Callable[[], datetime] | None = None,
) -> Verdict:
    """Return what Adjust's answer to an event means.

    .. code-block:: python

        from airflow_provider_adjust.s2s import Outcome, classify

        verdict = classify(404, '{"error": "Event request failed (Device not found)"}')
        assert (verdict.outcome, verdict.reason) == (Outcome.REJECTED, "device_not_found")

    :param status: the HTTP status.
    :param body: the unchanged body.
    :param retry_after: the ``Retry-After`` header: seconds, or a date.
    :param content_type: the ``Content-Type`` header. It is quoted if something other than Adjust answered, and not trusted.
    :param now: the clock, for a date in ``retry_after``.
    """
    if retry_after is None and len(body) <= _LONGEST_REMEMBERED:
        return _classify_again(status, body, content_type)
    return _classify(status, body, content_type, retry_after, now)


def _classify(
    status: int,
    body: str | bytes,
    content_type: str | None,
    retry_after: str | None = None,
    now: Callable[[], datetime] | None = None,
) -> Verdict:
    text = _text(body)
    response = _parse(text)
    message = _message(response, text)
    outcome, reason = _decide(status, text, response, message)
    may_wait = outcome is Outcome.RETRY or status in GATEWAY_STATUSES
    return Verdict(
        outcome=outcome,
        reason=reason,
        message=_stranger(text, response, message, content_type) if reason in NOT_FROM_ADJUST else known_words(message),
        remedy=reason_of(reason).to_do if outcome is Outcome.HALT else "",
        retry_after=_wait(response, retry_after, now) if may_wait else None,
        slow_down=status in _SLOW_DOWN_STATUSES and outcome is Outcome.RETRY,
        http_status=status,
    )


#: Most answers are one of a few, and verdicts are immutable.
_classify_again = lru_cache(maxsize=512)(_classify)


def read_answer(body: str | bytes) -> Any:
    """Adjust's complete answer, parsed if it is JSON.

    For iOS 14+ it holds the SKAdNetwork conversion values that the app's server must apply (Adjust S2S events, iOS 14+)."""
    text = _text(body)
    response = _parse(text)
    return text if response is None else response


def _text(body: str | bytes) -> str:
    return (body.decode("utf-8-sig", "replace") if isinstance(body, bytes) else body).strip()


def _decide(status: int, text: str, response: Any, message: str) -> tuple[Outcome, str]:
    if message:
        lowered = message.lower()
        for fragment, outcome, reason in _BY_MESSAGE:
            # A gateway may say "internal error", too, without knowing what Adjust did.
            if fragment in lowered and not (outcome is Outcome.RETRY and status in GATEWAY_STATUSES):
                return outcome, reason
    if status in GATEWAY_STATUSES or (status == 503 and _LOST_BEHIND_A_PROXY.search(text)):
        return Outcome.IN_DOUBT, f"http_{status}"
    if status in BUSY_STATUSES or status >= 500:
        return Outcome.RETRY, f"http_{status}"
    is_refusal = bool(message) and (_REFUSAL.match(message) is not None or _has_adjusts_facts(response))
    if 400 <= status < 500:
        return _decide_refusal(status, is_refusal)
    if 300 <= status < 400:
        return Outcome.HALT, "redirected"  # not followed, so that the token is sent to no other host
    if 200 <= status < 300:
        return _decide_success(status, text, response, is_refusal)
    return Outcome.IN_DOUBT, f"http_{status}"


def _decide_refusal(status: int, is_refusal: bool) -> tuple[Outcome, str]:
    if status == 407:
        return Outcome.HALT, "proxy_not_authorized"
    if not is_refusal:
        return Outcome.HALT, "not_adjust"
    if status == 401:
        return Outcome.HALT, "not_authorized"
    if status == 451:
        return Outcome.REJECTED, OPTED_OUT
    return Outcome.REJECTED, f"http_{status}"


def _decide_success(status: int, text: str, response: Any, is_refusal: bool) -> tuple[Outcome, str]:
    is_success = _is_success(text, response)
    if status == 200:
        if is_success:
            return Outcome.DELIVERED, ""
        if is_refusal:
            return Outcome.REJECTED, "unknown_error"
        if response is None and text.startswith("{"):
            return Outcome.IN_DOUBT, "unreadable_answer"  # a part of an answer, possibly Adjust's
    if not (is_success or is_refusal) or status == 204:
        return Outcome.HALT, "not_adjust"
    if status == 202:
        return Outcome.HALT, "accepted_not_recorded"
    return Outcome.IN_DOUBT, f"http_{status}"


def _is_success(text: str, response: Any) -> bool:
    """Whether Adjust confirms that it recorded the event."""
    if not isinstance(response, dict):
        return not text or "OK" in (text, response)
    if response.get("error"):
        return False
    if "status" in response:
        return str(response["status"]).upper() == "OK"
    message = str(response.get("message") or "")
    if message and _SUCCESS_MESSAGE.fullmatch(message):
        return True
    return not _REFUSAL.match(message) and _has_adjusts_facts(response)


def _has_adjusts_facts(response: Any) -> bool:
    """Whether the answer has a key that only Adjust uses, or a time in Adjust's format."""
    return isinstance(response, dict) and (
        any(response.get(key) is not None for key in _ADJUST_KEYS)
        or _ADJUST_TIME.fullmatch(str(response.get("timestamp"))) is not None
    )


def _parse(text: str) -> Any:
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        return None  # nesting this deep can be read but not written
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _message(response: Any, text: str) -> str:
    """Adjust's message: the JSON's ``error``, else its ``message``; empty for a web page."""
    if isinstance(response, dict):
        found = response.get("error") or response.get("message") or ""
        return found if isinstance(found, str) else json.dumps(found)
    return "" if response is not None or text.startswith("<") or text == "OK" or len(text) > 1000 else text


def _stranger(text: str, response: Any, message: str, content_type: str | None) -> str:
    """What answered in Adjust's place: the content type and the known words, for a web page those of its text."""
    words = message or text
    if words.startswith("<"):
        words = html.unescape(_TAG.sub(" ", words[:_LONGEST_SEARCHED])).strip()
    return ": ".join(filter(None, (media_type(content_type), known_words(words))))


def _wait(response: Any, header: str | None, now: Callable[[], datetime] | None) -> float | None:
    retry_in = response.get("retry_in") if isinstance(response, dict) else None
    if isinstance(retry_in, int | float) and not isinstance(retry_in, bool) and retry_in >= 0:
        return min(retry_in, _LONGEST_RETRY_IN) / 1000  # Adjust's SDKs read it as milliseconds
    if header is None:
        return None
    header = header.strip()
    if re.fullmatch(r"[0-9]{1,9}", header):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now() if now else datetime.now(UTC))).total_seconds())


def judge(completion: Completion) -> Verdict:
    """Return the verdict on an answer, or on a missing one."""
    if completion.failure is None:
        verdict = classify(
            completion.status or 0,
            completion.body,
            retry_after=completion.retry_after,
            content_type=completion.content_type,
        )
        is_too_long = completion.status == 200 and len(completion.body) > MAX_ANSWER_BYTES
        if is_too_long and not completion.body.lstrip().startswith(b"<"):
            message = "the answer is longer than 1 MB and was not read"
            return Verdict(Outcome.IN_DOUBT, "answer_too_long", message, http_status=completion.status)
        return verdict
    message = completion.failure_name
    if completion.failure is Failure.NOT_SENT:
        return Verdict(Outcome.RETRY, "connection_failed", message)
    if completion.failure is Failure.TLS:
        return Verdict(Outcome.HALT, "tls_refused", message, reason_of("tls_refused").to_do)
    if completion.status in GATEWAY_STATUSES:
        return Verdict(Outcome.IN_DOUBT, f"http_{completion.status}", message, http_status=completion.status)
    if completion.status is not None and completion.status >= 500:
        return Verdict(Outcome.RETRY, f"http_{completion.status}", message, http_status=completion.status)
    return Verdict(Outcome.IN_DOUBT, "no_answer", message, http_status=completion.status)
