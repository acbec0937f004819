"""What an answer means: Adjust's documented table, what has been seen beside it, and what nobody has seen yet."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from table import table

from airflow_provider_adjust.s2s.answers.classify import classify, read_answer
from airflow_provider_adjust.s2s.answers.outcome import Outcome

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
DELIVERED, DUPLICATE, REJECTED = Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED
RETRY, HALT, IN_DOUBT = Outcome.RETRY, Outcome.HALT, Outcome.IN_DOUBT

#: Adjust's tables of response codes: status, message, and the outcome of the event.
DOCUMENTED = [
    (400, "Bad event state", REJECTED, "bad_event_state"),
    (400, "Invalid app token", HALT, "invalid_app_token"),
    (400, "Ignoring event, earlier unique event tracked", DUPLICATE, "earlier_unique_event"),
    (400, "Invalid callback parameters", REJECTED, "invalid_callback_params"),
    (400, "Invalid event token", HALT, "invalid_event_token"),
    (400, "Invalid revenue", REJECTED, "invalid_revenue"),
    (401, "Failed to authorize request", HALT, "not_authorized"),
    (401, "Session failed", HALT, "insufficient_scope"),
    (202, "Missing authentication token", HALT, "missing_s2s_token"),
    (202, "Wrong authentication token", HALT, "wrong_s2s_token"),
    (403, "App is inactive", HALT, "app_inactive"),
    (403, "Tracking disabled", HALT, "tracking_disabled"),
    (403, "Event token blocklisted", REJECTED, "event_token_blocklisted"),
    (404, "App token not found", HALT, "app_token_not_found"),
    (404, "Device not found", REJECTED, "device_not_found"),
    (413, "Request size too large", REJECTED, "too_large"),
    (451, "Device is opted out", REJECTED, "device_opted_out"),
    (500, "Internal error, contact support@adjust.com", RETRY, "internal_error"),
]
#: As Adjust words a refusal that is in none of its tables.
REFUSAL = '{"error": "Event request failed (new words)"}'
#: How Adjust wraps a message.
WRAPPED = [
    pytest.param(lambda m: json.dumps({"error": f"Event request failed ({m})"}), id="as documented"),
    pytest.param(lambda m: json.dumps({"error": f"event request failed ({m.lower()})"}), id="lower case"),
    pytest.param(lambda m: json.dumps({"error": f"EVENT FAILED ({m.upper()})"}), id="upper case"),
    pytest.param(
        lambda m: json.dumps({"error": f"Event request failed ({m}) (app_token:x, adid: y)"}), id="second bracket"
    ),
    pytest.param(lambda m: json.dumps({"message": f"Event failed ({m})"}), id="under message"),
    pytest.param(lambda m: json.dumps({"error": {"text": m}}), id="inside an object"),
    pytest.param(lambda m: m, id="bare text"),
    pytest.param(lambda m: f"\n {m} \n", id="bare text with space around"),
    pytest.param(lambda m: json.dumps({"error": m}).encode(), id="bytes"),
]


@table("wrap", WRAPPED)
@table(("status", "message", "outcome", "reason"), DOCUMENTED, ids=[row[1] for row in DOCUMENTED])
def test_the_documented_table(status: int, message: str, outcome: Outcome, reason: str, wrap: Any) -> None:
    verdict = classify(status, wrap(message))
    assert (verdict.outcome, verdict.reason, verdict.http_status) == (outcome, reason, status)
    assert bool(verdict.remedy) == (outcome is HALT)


@table("status", [200, 202, 400, 401, 403, 404, 418, 451, 500, 503, 301, 204])
@table(("message", "outcome", "reason"), [row[1:] for row in DOCUMENTED], ids=[row[1] for row in DOCUMENTED])
def test_the_message_has_priority_over_the_status(status: int, message: str, outcome: Outcome, reason: str) -> None:
    verdict = classify(status, json.dumps({"error": f"Event request failed ({message})"}))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@table(
    ("status", "message", "outcome", "reason"),
    [
        (
            400,
            "Event failed (Ignoring event subsequent to an event supposed to be unique (first occurred 2018-03-07 08:58:31 "
            "+0000 UTC)) (app_token: abc, adid: def)",
            DUPLICATE,
            "earlier_unique_event",
        ),
        (400, "Event Token for wrong app: 'XXXX'", HALT, "invalid_event_token"),
        (401, "Event request failed (device not found)", REJECTED, "device_not_found"),
        (403, "Session failed (tracking disabled) (app_token:abc) (platform:web)", HALT, "tracking_disabled"),
        (
            401,
            "Ad revenue request failed (wrong authentication token) (app_token:abc123abc123)",
            HALT,
            "wrong_s2s_token",
        ),
    ],
    ids=["subsequent unique event", "token of another app", "401 device not found", "session prefix", "other endpoint"],
)
def test_wordings_that_have_been_seen_elsewhere(status: int, message: str, outcome: Outcome, reason: str) -> None:
    verdict = classify(status, json.dumps({"error": message}))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_device_opted_out_in_whatever_words_of_adjusts() -> None:
    for message in (
        "Event request failed (device was forgotten)",
        "Ad revenue request failed (opted out) (app_token:abc)",
    ):
        verdict = classify(451, json.dumps({"error": message}))
        assert (verdict.outcome, verdict.reason) == (REJECTED, "device_opted_out")


@table(
    "body",
    [
        '{"status": "OK"}',
        b'{"status": "OK"}',
        "OK",
        " OK\n",
        '"OK"',
        "",
        "  ",
        b"",
        b'\xef\xbb\xbf{"status": "OK"}',
        '{"status": "ok", "error": null}',
        '{"status": "Ok", "error": ""}',
        '{"status": "OK", "message": "whatever"}',
        '{"app_token": "4w565xzmb54d", "message": "whatever"}',
        '{"adid": "df6c5653080670612cd2f9766ddc0814"}',
        '{"ask_in": 2000}',
        '{"tracking_state": "opted_out"}',
        '{"attribution": {}}',
        '{"message": "Install tracked"}',
        '{"message": "Session tracked"}',
        '{"timestamp": "2024-07-09T01:31:14.373Z+0000"}',
        '{"message": "Event tracked", "timestamp": "2026-05-01T12:00:00.000Z+0000"}',
        '{"skadn_conv_value": 3, "skadn_lock_window": true}',
        '{"skadn_conv_value": 0}',
    ],
)
def test_200_in_adjusts_own_words_is_a_delivery(body: str | bytes) -> None:
    verdict = classify(200, body)
    assert (verdict.outcome, verdict.reason, verdict.slow_down, verdict.retry_after) == (DELIVERED, "", False, None)


@table(
    ("body", "outcome", "reason"),
    [
        pytest.param('{"error": "Event request failed (new)"}', REJECTED, "unknown_error", id="unknown error"),
        pytest.param('{"message": "Event failed (new)", "adid": "x"}', REJECTED, "unknown_error", id="no error key"),
        pytest.param(
            '{"adid": "x", "error": "new words"}', REJECTED, "unknown_error", id="an error beside a known key"
        ),
        pytest.param('{"error": "something new"}', HALT, "not_adjust", id="an error in other words"),
        pytest.param('{"error": {"code": 7}}', HALT, "not_adjust", id="error that is no text"),
        pytest.param('{"status": "OK", "error": "x"}', HALT, "not_adjust", id="OK and an error"),
        pytest.param('{"status": "denied"}', HALT, "not_adjust", id="another status"),
        pytest.param('{"status": "denied", "adid": "x"}', HALT, "not_adjust", id="another status beside a known key"),
        pytest.param('{"status": true}', HALT, "not_adjust", id="a status that is no text"),
        pytest.param('{"status": null}', HALT, "not_adjust", id="a status of nothing"),
        pytest.param('{"ok": false}', HALT, "not_adjust", id="not ok"),
        pytest.param('{"hello": 1}', HALT, "not_adjust", id="a key that nobody documents"),
        pytest.param('{"adid": null}', HALT, "not_adjust", id="a known key of nothing"),
        pytest.param('{"message": "Access denied"}', HALT, "not_adjust", id="a gateway's message"),
        pytest.param('{"message": ["Event tracked"]}', HALT, "not_adjust", id="a message that is no text"),
        pytest.param('{"timestamp": "2026-05-01T12:00:00Z"}', HALT, "not_adjust", id="a time in another form"),
        pytest.param('{"timestamp": 1777636800}', HALT, "not_adjust", id="a time that is a number"),
        pytest.param("{}", HALT, "not_adjust", id="an object of nothing"),
        pytest.param('{"error": null}', HALT, "not_adjust", id="no error, and nothing else"),
        pytest.param("<html><body>Sign in</body></html>", HALT, "not_adjust", id="a web page"),
        pytest.param("<!DOCTYPE html>", HALT, "not_adjust", id="a doctype"),
        pytest.param("<p>Device not found</p>", HALT, "not_adjust", id="a web page that quotes Adjust"),
        pytest.param(b"\xef\xbb\xbf<p>Device not found</p>", HALT, "not_adjust", id="a web page behind a mark"),
        pytest.param("[]", HALT, "not_adjust", id="a list"),
        pytest.param('[{"status": "OK"}]', HALT, "not_adjust", id="a list of success"),
        pytest.param("true", HALT, "not_adjust", id="a boolean"),
        pytest.param("null", HALT, "not_adjust", id="null"),
        pytest.param("200", HALT, "not_adjust", id="a number"),
        pytest.param('"ok"', HALT, "not_adjust", id="a text that is not OK"),
        pytest.param("OKAY", HALT, "not_adjust", id="other text"),
        pytest.param('{"status": "OK"', IN_DOUBT, "unreadable_answer", id="broken JSON"),
        pytest.param("[" * 100_000, HALT, "not_adjust", id="deep nesting"),
        pytest.param('{"a":' * 100_000, IN_DOUBT, "unreadable_answer", id="deep nesting of objects"),
        pytest.param("x" * 5000, HALT, "not_adjust", id="long text"),
        pytest.param(b"\xff\xfe\x00", HALT, "not_adjust", id="bytes that are no text"),
        pytest.param("9" * 5000, HALT, "not_adjust", id="a number of 5000 digits"),
    ],
)
def test_200_with_anything_else_is_not_a_delivery(body: str | bytes, outcome: Outcome, reason: str) -> None:
    verdict = classify(200, body)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@table(
    ("status", "body", "outcome", "reason"),
    [
        pytest.param(202, "", HALT, "accepted_not_recorded", id="202 without a word"),
        pytest.param(202, '{"status": "OK"}', HALT, "accepted_not_recorded", id="202 with OK"),
        pytest.param(202, REFUSAL, HALT, "accepted_not_recorded", id="202 with a refusal"),
        pytest.param(202, "<html>", HALT, "not_adjust", id="202 web page"),
        pytest.param(202, '{"ok": true}', HALT, "not_adjust", id="202 in other words"),
        pytest.param(201, '{"status": "OK"}', IN_DOUBT, "http_201", id="201"),
        pytest.param(201, '{"id": 7}', HALT, "not_adjust", id="201 in other words"),
        pytest.param(201, '{"id": ', HALT, "not_adjust", id="201 cut"),
        pytest.param(204, "", HALT, "not_adjust", id="204"),
        pytest.param(102, "", IN_DOUBT, "http_102", id="102"),
        pytest.param(0, "", IN_DOUBT, "http_0", id="no status"),
        pytest.param(301, "", HALT, "redirected", id="301"),
        pytest.param(302, "<html>", HALT, "redirected", id="302"),
        pytest.param(307, "", HALT, "redirected", id="307"),
        pytest.param(399, "", HALT, "redirected", id="399"),
        pytest.param(401, "", HALT, "not_adjust", id="401 without a word"),
        pytest.param(401, "<html>Sign in</html>", HALT, "not_adjust", id="401 web page"),
        pytest.param(401, '{"error": "no"}', HALT, "not_adjust", id="401 in other words"),
        pytest.param(401, '{"message": "Unauthorized"}', HALT, "not_adjust", id="401 of a gateway"),
        pytest.param(401, REFUSAL, HALT, "not_authorized", id="401 with a refusal"),
        pytest.param(407, "<html>", HALT, "proxy_not_authorized", id="407"),
        pytest.param(404, "", HALT, "not_adjust", id="404 without a word"),
        pytest.param(404, "<html>not found</html>", HALT, "not_adjust", id="404 web page"),
        pytest.param(405, "", HALT, "not_adjust", id="405 without a word"),
        pytest.param(404, "{}", HALT, "not_adjust", id="404 without a message"),
        pytest.param(404, "404 page not found", HALT, "not_adjust", id="404 in other words"),
        pytest.param(404, '{"message": "no Route matched"}', HALT, "not_adjust", id="404 of a gateway"),
        pytest.param(404, REFUSAL, REJECTED, "http_404", id="404 with a refusal"),
        pytest.param(400, "", HALT, "not_adjust", id="400 without a word"),
        pytest.param(400, '{"error": "new words"}', HALT, "not_adjust", id="400 in other words"),
        pytest.param(400, '{"message": "Request failed (403)"}', HALT, "not_adjust", id="400 in almost Adjust's words"),
        pytest.param(400, REFUSAL, REJECTED, "http_400", id="400 with a refusal"),
        pytest.param(400, "Event request failed (new words)", REJECTED, "http_400", id="400 with a refusal as text"),
        pytest.param(
            400,
            '{"timestamp": "2024-02-12T12:30:47.401Z+0000", "message": "new", "error": "new"}',
            REJECTED,
            "http_400",
            id="400 in other words, with a time as Adjust writes it",
        ),
        pytest.param(
            404,
            '{"timestamp": "2024-02-12T12:30:47.401+00:00", "status": 404, "error": "Not Found", "path": "/event"}',
            HALT,
            "not_adjust",
            id="404 of a framework",
        ),
        pytest.param(403, "<html>Blocked</html>", HALT, "not_adjust", id="403 web page"),
        pytest.param(403, '{"message": "Forbidden"}', HALT, "not_adjust", id="403 of a gateway"),
        pytest.param(403, '{"error": "new words"}', HALT, "not_adjust", id="403 in other words"),
        pytest.param(403, REFUSAL, REJECTED, "http_403", id="403 with a refusal"),
        pytest.param(406, "", HALT, "not_adjust", id="406 without a word"),
        pytest.param(410, "gone", HALT, "not_adjust", id="410 in other words"),
        pytest.param(413, "", HALT, "not_adjust", id="413 without a word"),
        pytest.param(413, "<html>", HALT, "not_adjust", id="413 web page"),
        pytest.param(451, "", HALT, "not_adjust", id="451 without a word"),
        pytest.param(451, "[]", HALT, "not_adjust", id="451 with a list"),
        pytest.param(499, "", HALT, "not_adjust", id="499"),
        pytest.param(499, REFUSAL, REJECTED, "http_499", id="499 with a refusal"),
        pytest.param(500, "", RETRY, "http_500", id="500"),
        pytest.param(500, '{"error": "new words"}', RETRY, "http_500", id="500 in other words"),
        pytest.param(502, "<html>", IN_DOUBT, "http_502", id="502"),
        pytest.param(503, "<html>", RETRY, "http_503", id="503"),
        pytest.param(504, "", IN_DOUBT, "http_504", id="504"),
        pytest.param(504, '{"message": "Endpoint request timed out"}', IN_DOUBT, "http_504", id="504 of a gateway"),
        pytest.param(520, "", IN_DOUBT, "http_520", id="520"),
        pytest.param(521, "", RETRY, "http_521", id="521"),
        pytest.param(524, "", IN_DOUBT, "http_524", id="524"),
        pytest.param(599, "", RETRY, "http_599", id="599"),
        pytest.param(408, "", RETRY, "http_408", id="408"),
        pytest.param(425, "", RETRY, "http_425", id="425"),
        pytest.param(429, "", RETRY, "http_429", id="429"),
        pytest.param(429, '{"error": "Too frequent requests"}', RETRY, "http_429", id="429 with words"),
    ],
)
def test_the_status_decides_where_no_message_does(status: int, body: str, outcome: Outcome, reason: str) -> None:
    verdict = classify(status, body)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert bool(verdict.remedy) == (outcome is HALT)


@table("status", [202, 301, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_429_and_503_slow_every_lane_down_and_nothing_else_does(status: int) -> None:
    assert classify(status, "").slow_down == (status in {429, 503})


def test_a_503_that_settles_the_event_slows_nothing_down() -> None:
    assert not classify(503, '{"error": "Device not found"}').slow_down


@table(
    ("header", "body", "seconds"),
    [
        pytest.param(None, "", None, id="no wait"),
        pytest.param("30", "", 30.0, id="seconds"),
        pytest.param(" 0 ", "", 0.0, id="now"),
        pytest.param("Fri, 01 May 2026 12:01:30 GMT", "", 90.0, id="a date"),
        pytest.param("Fri, 01 May 2026 14:01:30 +0200", "", 90.0, id="a date with an offset"),
        pytest.param("Fri, 01 May 2026 12:01:30 -0000", "", 90.0, id="a date without a zone"),
        pytest.param("Fri, 01 May 2026 11:59:00 GMT", "", 0.0, id="a date that has passed"),
        pytest.param("soon", "", None, id="words"),
        pytest.param("", "", None, id="empty"),
        pytest.param("-5", "", None, id="negative"),
        pytest.param("1.5", "", None, id="a fraction"),
        pytest.param("９", "", None, id="a full-width digit"),
        pytest.param("9" * 10, "", None, id="centuries"),
        pytest.param("Fri, 01 May 99999 12:00:00 GMT", "", None, id="a year beyond the calendar"),
        pytest.param("Fri, 01 May 2026 12:00:00 +9999999999999999999", "", None, id="an offset beyond any number"),
        pytest.param("30", '{"retry_in": 1500}', 1.5, id="retry_in goes first, in milliseconds"),
        pytest.param(None, '{"retry_in": 0.5}', 0.0005, id="retry_in may be a fraction"),
        pytest.param("30", '{"retry_in": 0}', 0.0, id="retry_in of nothing"),
        pytest.param("30", '{"retry_in": -1}', 30.0, id="retry_in that is negative"),
        pytest.param("30", '{"retry_in": true}', 30.0, id="retry_in that is a boolean"),
        pytest.param("30", '{"retry_in": "1500"}', 30.0, id="retry_in that is text"),
        pytest.param("30", '{"retry_in": NaN}', 30.0, id="retry_in that is no number"),
        pytest.param("30", "[1500]", 30.0, id="a list"),
        pytest.param(None, '{"retry_in": ' + "9" * 400 + "}", 31_536_000.0, id="retry_in beyond any float: a year"),
        pytest.param(None, '{"retry_in": 1e999}', 31_536_000.0, id="retry_in without end: a year"),
    ],
)
def test_how_long_adjust_asks_to_wait(header: str | None, body: str, seconds: float | None) -> None:
    assert classify(429, body, retry_after=header, now=lambda: NOW).retry_after == seconds


def test_a_date_is_measured_by_the_clock_where_no_time_is_given() -> None:
    assert classify(503, "", retry_after="Fri, 01 May 2020 12:00:00 GMT").retry_after == 0.0


@table("status", [502, 504])
def test_a_gateways_retry_after_is_respected(status: int) -> None:
    assert classify(status, "", retry_after="30").retry_after == 30


@table("status", [200, 202, 400, 404])
def test_only_a_retry_waits(status: int) -> None:
    assert classify(status, '{"retry_in": 1500}', retry_after="30").retry_after is None


@table(
    ("body", "response"),
    [
        pytest.param('{"skadn_conv_value": 3, "n": [1]}', {"skadn_conv_value": 3, "n": [1]}, id="JSON is parsed"),
        pytest.param("OK", "OK", id="text stays"),
        pytest.param('"OK"', "OK", id="JSON text"),
        pytest.param(b"\xffOK", "�OK", id="bytes that are no text"),
        pytest.param("null", "null", id="null"),
    ],
)
def test_the_whole_answer_is_kept(body: str | bytes, response: Any) -> None:
    assert read_answer(body) == response


GPS_ADID = "3f0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"
ADID = "d41d8cd98f00b204e9800998ecf8427e"


@table(
    "message",
    [
        f"Event request failed (Device not found) (app_token:secret1, adid:{ADID})",
        f"Invalid revenue for {GPS_ADID}",
        "Event Token for wrong app: 'secret1'",
    ],
)
@table("wrap", WRAPPED)
def test_a_verdict_shows_adjusts_words_without_tokens_and_ids(message: str, wrap: Any) -> None:
    verdict = classify(400, wrap(message))
    shown = verdict.message + repr(verdict)
    for secret in ("secret1", ADID, GPS_ADID):
        assert secret not in shown.lower()
    assert verdict.message


@table(
    ("status", "body", "content_type", "message"),
    [
        pytest.param(
            403,
            "<h1>Blocked &amp; logged</h1>",
            "text/html; charset=x",
            "text/html: Blocked … logged (+ 1 character not shown)",
            id="page",
        ),
        pytest.param(
            200,
            "<!-- a -->\n<html><script>var a = '<b>';</script><style>p {}</style><title>Sign in</title> <p>here",
            None,
            "Sign in here",
            id="what no reader sees",
        ),
        pytest.param(404, '{"message": "no Route"}', "application/json", "application/json: no Route", id="JSON"),
        pytest.param(
            200,
            '{"status": "denied", "n": 7}',
            "",
            '{"status": "denied", "…} (+ 2 characters not shown)',
            id="JSON without one",
        ),
        pytest.param(
            403, f"blocked: {GPS_ADID} from 192.0.2.1", "", "blocked: … from … (+ 45 characters not shown)", id="ids"
        ),
        pytest.param(302, "", "text/html", "text/html", id="no words"),
        pytest.param(407, "", None, "", id="nothing"),
        pytest.param(403, "no", "x\r\n[2026] ERROR y", "unusual content type: no", id="a type that forges a line"),
        pytest.param(403, "no", f"x/{ADID}", "unusual content type: no", id="a type with an id"),
    ],
)
def test_of_what_is_not_adjusts_the_type_and_the_known_words_are_shown(
    status: int, body: str, content_type: str | None, message: str
) -> None:
    assert classify(status, body, content_type=content_type).message == message


@table(
    ("status", "body", "doubt"),
    [
        (200, "<html>", True),
        (204, "", True),
        (202, "", True),
        (200, '{"error": "Invalid app token"}', False),
        (302, "", False),
        (403, "<html>", False),
        (0, "", False),
    ],
)
def test_only_a_2xx_that_is_not_adjusts_leaves_open_whether_the_event_is_recorded(
    status: int, body: str, doubt: bool
) -> None:
    assert classify(status, body).leaves_in_doubt is doubt


def test_a_web_page_and_a_long_text_are_not_messages() -> None:
    assert classify(502, "<html>Bad gateway</html>").message == ""
    assert classify(502, "word " * 300).message == ""
    assert classify(403, "denied " * 300).message.startswith("denied denied")


BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "status", "retry_in", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b'{"status": "OK"}', b"OK", b"", b"<html>"]),
)
HEADERS = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.integers().map(str),
    st.builds(
        "Fri, {} May {} 12:00:00 {}".format,
        st.integers(0, 99),
        st.integers(0, 99999),
        st.integers().map("{:+d}".format),
    ),
)


@given(st.one_of(st.integers(100, 599), st.integers()), BODIES, HEADERS)
@example(503, b'{"retry_in": ' + b"9" * 400 + b"}", None)
@example(503, b"", "Fri, 01 May 2026 12:00:00 +9999999999999999999")
@example(400, b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", None)
def test_any_answer_has_a_verdict_and_only_200_delivers(status: int, body: bytes, header: str | None) -> None:
    verdict = classify(status, body, retry_after=header, now=lambda: NOW)
    assert verdict.outcome in {DELIVERED, DUPLICATE, REJECTED, RETRY, HALT, IN_DOUBT}
    if verdict.outcome is DELIVERED:
        assert status == 200
    else:
        assert verdict.reason
    assert len(verdict.message) <= 300
    assert verdict.retry_after is None or verdict.retry_after >= 0
    assert verdict.retry_after is None or verdict.outcome is RETRY or status in {502, 504, 520, 524}
    assert bool(verdict.remedy) == (verdict.outcome is HALT)


#: Without letters, so that no other message appears by chance.
AROUND = st.text(alphabet="()[]{}:;,.-_'\"\\ 0123ü👍", max_size=30)


@given(st.integers(100, 599), st.sampled_from([row[1] for row in DOCUMENTED]), AROUND, AROUND)
def test_a_message_is_found_anywhere_in_the_answer(status: int, message: str, before: str, after: str) -> None:
    alone = classify(status, json.dumps({"error": message}))
    verdict = classify(status, json.dumps({"error": f"{before} {message} {after}"}))
    assert (verdict.outcome, verdict.reason) == (alone.outcome, alone.reason)
