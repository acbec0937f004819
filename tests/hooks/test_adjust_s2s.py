"""AdjustS2SHook: what a connection may say, what the connection test finds out, and what is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from airflow.sdk import BaseHook, Connection
from operators.adjust_account import (
    APP_TOKEN,
    EVENT_TOKEN,
    S2S_TOKEN,
    Connect,
    Said,
    device,
    purchase,
    recorded,
    reveals,
)

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    StreamOutOfOrder,
)
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.sandbox import SandboxServer

CONNECTION = "AIRFLOW_CONN_ADJUST_DEFAULT"
EVENT = {"event_token": EVENT_TOKEN, "id_field": "order_id"}


def connection(**fields: Any) -> str:
    return json.dumps({"conn_type": "adjust", **fields})


# --- What a connection may say ----------------------------------------------------------------------------------------

URI_EXTRA = quote(json.dumps({"app_token": APP_TOKEN, "environment": "sandbox", "read_timeout": 7}))

WRITTEN: dict[str, tuple[str, str, str | None, str | None, str | None]] = {
    # the connection; endpoint, S2S token, app token, environment
    "JSON": (
        connection(
            host="https://s2s.adjust.com", password="T", extra={"app_token": APP_TOKEN, "environment": "sandbox"}
        ),
        "https://s2s.adjust.com", "T", APP_TOKEN, "sandbox",
    ),
    "extra as text": (
        connection(extra=json.dumps({"app_token": APP_TOKEN})), "https://s2s.adjust.com", None, APP_TOKEN, None,
    ),
    "nothing at all": (connection(), "https://s2s.adjust.com", None, None, None),
    "the form's empty fields": (
        connection(host="", password="", extra={"app_token": "", "environment": None, "connect_timeout": None}),
        "https://s2s.adjust.com", None, None, None,
    ),
    "space around": (
        connection(host=" https://s2s.adjust.com/ ", password=" T\n", extra={"app_token": f" {APP_TOKEN} "}),
        "https://s2s.adjust.com", "T", APP_TOKEN, None,
    ),
    "an app token that JSON holds as a number": (
        connection(extra={"app_token": 123456789012}), "https://s2s.adjust.com", None, "123456789012", None,
    ),
    "URI": (
        f"adjust://:T@s2s.adjust.com/?app_token={APP_TOKEN}&environment=sandbox",
        "https://s2s.adjust.com", "T", APP_TOKEN, "sandbox",
    ),
    "URI with an app token of digits": (
        "adjust://:T@s2s.adjust.com/?app_token=123456789012", "https://s2s.adjust.com", "T", "123456789012", None,
    ),
    "URI with a token that is quoted": (
        f"adjust://:{quote('a/b+c@d', safe='')}@s2s.adjust.com", "https://s2s.adjust.com", "a/b+c@d", None, None,
    ),
    "URI with port": ("adjust://:T@s2s.example.com:8443", "https://s2s.example.com:8443", "T", None, None),
    "URI with scheme": ("adjust://http://:T@127.0.0.1:8099", "http://127.0.0.1:8099", "T", None, None),
    "URI with __extra__": (
        f"adjust://:T@s2s.adjust.com/?__extra__={URI_EXTRA}", "https://s2s.adjust.com", "T", APP_TOKEN, "sandbox",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_connection_is_read_however_it_is_written(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    written, *expected = WRITTEN[name]
    monkeypatch.setenv(CONNECTION, written)
    settings = AdjustS2SHook().settings
    assert [settings.endpoint, settings.s2s_token, settings.app_token, settings.environment] == expected


def test_arguments_take_the_place_of_what_the_connection_says(connect: Connect) -> None:
    connect(None, "adjust_ios", read_timeout=7)
    hook = AdjustS2SHook("adjust_ios", app_token="other", environment="sandbox", timeout=(1, 2))
    settings = hook.settings
    assert (settings.app_token, settings.environment, settings.timeout) == ("other", "sandbox", (1, 2))


@pytest.mark.parametrize(
    ("host", "port", "endpoint"),
    [
        (None, None, "https://s2s.adjust.com"),
        ("s2s.eu.adjust.com", None, "https://s2s.eu.adjust.com"),
        ("https://s2s.adjust.com/", None, "https://s2s.adjust.com"),
        ("HTTPS://S2S.Adjust.com", None, "https://s2s.adjust.com"),
        ("https://gateway.example.com/adjust/", None, "https://gateway.example.com/adjust"),
        ("https://gateway.example.com/events", None, "https://gateway.example.com/events"),
        ("https://s2s.adjust.com:8443", None, "https://s2s.adjust.com:8443"),
        ("s2s.adjust.com", 8443, "https://s2s.adjust.com:8443"),
        ("https://s2s.adjust.com:1", 2, "https://s2s.adjust.com:1"),
        ("http://127.0.0.1", 8099, "http://127.0.0.1:8099"),
        ("http://127.9.9.9:8099", None, "http://127.9.9.9:8099"),
        ("http://localhost:8099/", None, "http://localhost:8099"),
        ("http://[::1]:8099", None, "http://[::1]:8099"),
        ("http://[::1]", 8099, "http://[::1]:8099"),
    ],
)
def test_an_endpoint_is_https_and_http_on_this_machine_only(
    monkeypatch: pytest.MonkeyPatch, host: str | None, port: int | None, endpoint: str
) -> None:
    monkeypatch.setenv(CONNECTION, connection(host=host, port=port))
    settings = AdjustS2SHook().settings
    assert settings.endpoint == endpoint
    assert settings.target.url == f"{endpoint}/event"


MUST_BE_URL = "must be a URL such as https://s2s.adjust.com"
MUST_BE_HTTPS = "must begin with https://"
HOLDS_CREDENTIALS = "holds credentials; the S2S security token has its own field"
ENDS_IN_EVENT = "must not end in /event"
BAD_PORT = "has a port that is none"


@pytest.mark.parametrize(
    ("host", "port", "problem"),
    [
        ("http://s2s.adjust.com", None, MUST_BE_HTTPS),
        ("http://10.0.0.1", None, MUST_BE_HTTPS),
        ("http://0.0.0.0", None, MUST_BE_HTTPS),
        ("http://127.0.0.1.example.com", None, MUST_BE_HTTPS),
        ("http://localhost.example.com", None, MUST_BE_HTTPS),
        ("http://[2001:db8::1]", None, MUST_BE_HTTPS),
        ("https://user:s2sTokenThatNobodyMaySee@s2s.adjust.com", None, HOLDS_CREDENTIALS),
        ("https://s2sTokenThatNobodyMaySee@s2s.adjust.com", None, HOLDS_CREDENTIALS),
        ("s2sTokenThatNobodyMaySee@s2s.adjust.com", None, HOLDS_CREDENTIALS),
        ("https://s2s.adjust.com?app_token=4w565xzmb54d", None, MUST_BE_URL),
        ("https://s2s.adjust.com/#events", None, MUST_BE_URL),
        ("ftp://s2s.adjust.com", None, MUST_BE_URL),
        ("https://", None, MUST_BE_URL),
        ("https://[::1", None, MUST_BE_URL),
        ("https://s2s adjust.com", None, MUST_BE_URL),
        ("https://s2s.adjust.com/event", None, ENDS_IN_EVENT),
        ("s2s.adjust.com/event/", None, ENDS_IN_EVENT),
        ("https://s2s.adjust.com:https", None, BAD_PORT),
        ("https://s2s.adjust.com:99999", None, BAD_PORT),
        ("https://s2s.adjust.com", 99999, BAD_PORT),
        ("https://s2s.adjust.com", -1, BAD_PORT),
    ],
)
def test_any_other_endpoint_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int | None, problem: str
) -> None:
    monkeypatch.setenv(CONNECTION, connection(host=host, port=port))
    with pytest.raises(AdjustConfigurationError) as refusal:
        _ = AdjustS2SHook().settings
    assert str(refusal.value).startswith("connection 'adjust_default': the endpoint ")
    assert problem in str(refusal.value)
    assert not reveals(refusal.value)


@pytest.mark.parametrize(
    ("extra", "timeout"),
    [
        ({}, (5.0, 30.0)),
        ({"connect_timeout": 3}, (3.0, 30.0)),
        ({"connect_timeout": None, "read_timeout": ""}, (5.0, 30.0)),
        ({"connect_timeout": "2.5", "read_timeout": "600"}, (2.5, 600.0)),
        ({"connect_timeout": 0.1, "read_timeout": 0.1}, (0.1, 0.1)),
    ],
)
def test_timeouts_are_seconds(connect: Connect, extra: dict[str, Any], timeout: tuple[float, float]) -> None:
    connect(None, **extra)
    assert AdjustS2SHook().settings.timeout == timeout


@pytest.mark.parametrize("value", [0, -1, 601, "soon", "nan", "inf", [5], {"seconds": 5}])
@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
def test_what_is_no_timeout_is_refused(connect: Connect, name: str, value: Any) -> None:
    connect(None, **{name: value})
    with pytest.raises(AdjustConfigurationError, match=f"{name} must be a number of seconds, above 0 and at most 600"):
        _ = AdjustS2SHook().settings


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"password": "tökenThatNobodyMaySee"}, "the S2S security token holds characters that no token has"),
        ({"password": "a\r\nX-Header: b"}, "the S2S security token holds characters that no token has"),
        ({"extra": {"app_token": ["4w565xzmb54d"]}}, "app_token must be text"),
        ({"extra": {"app_token": True}}, "app_token must be text"),
        ({"extra": {"app_token": "4w565-zmb54d"}}, "app_token .*letters and digits only"),
        ({"extra": {"environment": "Production"}}, "environment .*must be one of"),
        ({"extra": {"environment": {"name": "production"}}}, "environment must be text"),
    ],
)
def test_tokens_and_environment_that_cannot_be_are_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, adjust: SandboxServer, fields: dict[str, Any], problem: str
) -> None:
    monkeypatch.setenv(CONNECTION, connection(host=adjust.url, **fields))
    with pytest.raises(AdjustConfigurationError, match=problem) as refusal:
        AdjustS2SHook().send_event(purchase(1), **EVENT)
    assert not reveals(refusal.value)
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert message == str(refusal.value)
    assert adjust.stats()["requests"] == 0


def test_no_object_of_the_hook_shows_a_token(connect: Connect, said: Said) -> None:
    connect(None)
    hook = AdjustS2SHook(app_token=APP_TOKEN)
    route = hook.route(**EVENT)
    with hook.open_transport() as transport, hook.get_conn() as session:
        shown = [hook, hook.settings, hook.settings.target, route, route.parser, transport, session, session.auth]
        for thing in shown:
            assert not reveals(f"{thing!r} {thing}"), type(thing)
    assert not reveals(said)


def test_airflow_finds_the_hook_by_the_connections_type(adjust: SandboxServer) -> None:
    hook = BaseHook.get_hook("adjust_default", hook_params={"max_in_flight": 3})
    assert isinstance(hook, AdjustS2SHook)
    assert (hook.adjust_conn_id, hook.max_in_flight) == ("adjust_default", 3)
    assert Connection.get("adjust_default").test_connection()[0]


def test_the_form_of_airflow_3_1_is_the_form_of_the_metadata() -> None:
    behaviour = AdjustS2SHook.get_ui_field_behaviour()
    assert behaviour == connection_form.hook_field_behaviour()
    assert behaviour["relabeling"] == {"host": "Endpoint", "password": "S2S security token", "port": "Port"}
    assert AdjustS2SHook.hook_name == "Adjust S2S"
    assert (AdjustS2SHook.conn_name_attr, AdjustS2SHook.default_conn_name) == ("adjust_conn_id", "adjust_default")


# --- The connection test ----------------------------------------------------------------------------------------------

SURE = "Adjust refuses a wrong S2S token only once S2S authentication is enabled"
CONNECTION_TESTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str]] = {
    # settings of the stand-in, changes to the connection; whether it works, and what the message says
    "all is right": ({}, {}, True, f"S2S security token accepted; app token accepted. {SURE}"),
    "wrong S2S token": ({}, {"token": "wrong"}, False, "the S2S security token is missing or wrong (status 401)"),
    "wrong S2S token, 202": (
        {"enforce": False}, {"token": "wrong"}, False, "the S2S security token is wrong (status 202)",
    ),
    "no S2S token": ({}, {"token": None}, False, "the S2S security token is missing or wrong (status 401)"),
    "no S2S token, 202": (
        {"enforce": False}, {"token": None}, False, "the S2S security token is missing (status 202)",
    ),
    "no S2S token, none demanded": (
        {"tokens": []}, {"token": None}, True, "no S2S security token set, none demanded; app token accepted",
    ),
    "unknown app token": ({"app_tokens": ["other"]}, {}, False, "the app token is unknown to Adjust (status 404)"),
    "inactive app": ({"inactive_app_tokens": [APP_TOKEN]}, {}, False, "app_inactive (status 403)"),
    "no app token": ({}, {"app_token": None}, True, "S2S security token accepted; no app token set, so none was"),
    "no environment": ({}, {"environment": None}, True, "app token accepted"),
    "Adjust is busy": ({"fault_plan": ["503"]}, {}, False, "answers status 503; try again later"),
    "Adjust hangs up": ({"fault_plan": ["reset_before"]}, {}, False, "gave no readable answer"),
    "Adjust hangs": (
        # The connection's own timeout ends the wait; otherwise the stand-in would.
        {"fault_plan": ["stall_before"], "stall_seconds": 1}, {"read_timeout": 0.2}, False, "answer (ReadTimeout",
    ),
    "a redirect": ({"fault_plan": ["redirect"]}, {}, False, "redirects are not followed"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_TESTS)
def test_the_connection_test_names_cause_and_remedy_and_records_nothing(
    adjust: SandboxServer, connect: Connect, said: Said, name: str
) -> None:
    settings, changes, works, words = CONNECTION_TESTS[name]
    adjust.configure(**settings)
    connect(adjust.url, **changes)
    result = AdjustS2SHook().test_connection()
    assert result[0] is works, result[1]
    assert words in result[1]
    assert result[1].startswith(adjust.url)
    if not works and "status 4" in result[1]:
        assert "connection" in result[1] or "Adjust's dashboard" in result[1]  # where the remedy is
    assert not reveals(result[1])
    assert not reveals(said)
    stats = adjust.stats()
    assert (stats["requests"], stats["recorded"], stats["redirects_followed"]) == (1, 0, 0)


class _Page(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        page = b"<html><body>Please log in</body></html>"
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web_server(status: int) -> Iterator[str]:
    """A web server that is not Adjust, such as a proxy's log-in page."""
    with HTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"status": status})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "a web page answered instead of Adjust"),
        (404, "check the connection's endpoint; Adjust's is https://s2s.adjust.com"),
        (405, "check the connection's endpoint; Adjust's is https://s2s.adjust.com"),
        (502, "answers status 502"),
    ],
)
def test_the_connection_test_recognises_what_is_not_adjust(connect: Connect, status: int, words: str) -> None:
    with web_server(status) as url:
        connect(url)
        works, message = AdjustS2SHook().test_connection()
    assert not works
    assert words in message


def test_the_connection_test_says_when_nobody_listens(connect: Connect) -> None:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    connect(url)
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert message.startswith(f"{url} cannot be reached")
    assert not reveals(message)


def test_the_connection_test_says_what_is_wrong_with_the_connection_itself(connect: Connect) -> None:
    connect("http://s2s.adjust.com")
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert MUST_BE_HTTPS in message


# --- Sending ----------------------------------------------------------------------------------------------------------


def test_one_event_is_sent_and_its_receipt_returned(adjust: SandboxServer) -> None:
    receipt = AdjustS2SHook().send_event(purchase(1), **EVENT)
    assert (receipt.outcome, receipt.event_id, receipt.position) == (Outcome.DELIVERED, "o-1", 1)
    assert (receipt.http_status, receipt.response, receipt.attempts) == (200, {"status": "OK"}, 1)
    assert recorded(adjust) == [device(1)]
    assert not reveals(receipt)


def test_one_row_that_is_no_event_gets_a_receipt_too(adjust: SandboxServer) -> None:
    receipt = AdjustS2SHook().send_event(purchase(1, revenue="-1"), **EVENT)
    assert (receipt.outcome, receipt.reason, receipt.attempts) == (Outcome.INVALID, "invalid_revenue", 0)
    assert adjust.stats()["requests"] == 0


def test_a_wrong_token_is_an_error_that_does_not_show_it(adjust: SandboxServer, connect: Connect, said: Said) -> None:
    connect(adjust.url, token=S2S_TOKEN + "1")
    with pytest.raises(DeliveryHalted, match="put the app's S2S security token into the connection") as halt:
        AdjustS2SHook().send_event(purchase(1), **EVENT)
    assert not reveals(halt.value)
    assert not reveals(said)


def test_a_redirect_is_not_followed(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=["redirect"])
    with pytest.raises(DeliveryHalted, match="redirects are not followed"):
        AdjustS2SHook().send_event(purchase(1), **EVENT)
    assert adjust.stats()["redirects_followed"] == 0


def test_a_wish_to_wait_long_is_handed_to_whoever_retries(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=["503"], retry_after=900)
    with pytest.raises(AdjustUnreachable, match="Adjust asks to wait 900 s") as wish:
        AdjustS2SHook().send_event(purchase(1), **EVENT)
    assert wish.value.retry_after == 900


def test_a_list_is_sorted_by_time_in_each_lane(adjust: SandboxServer) -> None:
    rows = [purchase(number, gps_adid=device(number % 3)) for number in (8, 2, 5, 3, 1, 7, 4, 6)]
    receipts = list(AdjustS2SHook().send_events(rows, **EVENT))
    assert {receipt.outcome for receipt in receipts} == {Outcome.DELIVERED}
    assert {receipt.event_id: receipt.position for receipt in receipts} == {
        row["order_id"]: position for position, row in enumerate(rows, start=1)
    }
    assert adjust.stats()["order_violations"] == 0
    assert adjust.stats()["recorded"] == len(rows)


def test_a_generator_must_come_in_time_order(adjust: SandboxServer) -> None:
    rows = (purchase(number) for number in (1, 2, 4, 3, 5))
    receipts = []
    with pytest.raises(StreamOutOfOrder, match=r"row 4 \(event o-3\) .* before row 3 \(event o-4\)"):
        receipts.extend(AdjustS2SHook().send_events(rows, **EVENT))
    assert sorted(recorded(adjust)) == [device(1), device(2), device(4)]


def test_a_generator_is_not_read_before_somebody_takes_receipts(adjust: SandboxServer) -> None:
    read = []
    rows = (read.append(number) or purchase(number) for number in range(5))
    receipts = AdjustS2SHook().send_events(rows, **EVENT)
    assert read == []
    assert len(list(receipts)) == 5
    assert read == [0, 1, 2, 3, 4]


def test_an_unknown_transport_is_refused(adjust: SandboxServer) -> None:
    hook = AdjustS2SHook(transport="carrier pigeon")  # type: ignore[arg-type]
    with pytest.raises(AdjustConfigurationError, match="not 'carrier pigeon'"):
        hook.send_event(purchase(1), **EVENT)


# --- get_conn ---------------------------------------------------------------------------------------------------------


def netrc(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    file = folder / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def test_the_session_carries_the_token_whatever_netrc_says(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc(monkeypatch, tmp_path)
    assert requests.utils.get_netrc_auth(adjust.url) == ("somebody", "else")
    with AdjustS2SHook().get_conn() as session:
        answer = session.post(f"{adjust.url}/event", data={"s2s": "1", "app_token": APP_TOKEN}, timeout=5)
    assert answer.json()["error"] == "Event request failed (Invalid event token)"  # so it was authorized
    assert AdjustS2SHook().send_event(purchase(1), **EVENT).outcome is Outcome.DELIVERED


def test_without_a_token_no_authorization_is_sent_whatever_netrc_says(
    adjust: SandboxServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc(monkeypatch, tmp_path)
    connect(adjust.url, token=None)
    with AdjustS2SHook().get_conn() as session:
        answer = session.post(f"{adjust.url}/event", data={"s2s": "1"}, timeout=5)
    assert "Authorization" not in answer.request.headers


def test_the_session_names_the_provider_retries_nothing_and_keeps_no_cookies(connect: Connect) -> None:
    with web_server(200) as url:
        connect(url)
        with AdjustS2SHook().get_conn() as session:
            answer = session.post(url, data={}, timeout=5)
    assert answer.headers["Set-Cookie"]
    assert not session.cookies
    assert session.headers["User-Agent"].startswith("airflow-provider-adjust/")
    assert session.get_adapter("https://s2s.adjust.com").max_retries.total == 0
