"""What a connection may say, in every form in which it may be written; and what is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk._shared.secrets_masker import redact
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, Connect, Said, purchase, reveals
from table import table

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s import RowOptions, SendOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKeys
from airflow_provider_adjust.sandbox import SandboxServer

CONNECTION = "AIRFLOW_CONN_ADJUST_DEFAULT"
EVENT = {"event_token": EVENT_TOKEN, "id_field": "order_id"}


def connection(**fields: Any) -> str:
    return json.dumps({"conn_type": "adjust", **fields})


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
    monkeypatch.setenv("AIRFLOW__ADJUST__ALLOWED_HOSTS", "*.adjust.com, loopback, s2s.example.com:8443")
    monkeypatch.setenv(CONNECTION, written)
    settings = AdjustS2SHook().settings
    assert [settings.endpoint, settings.s2s_token, settings.app_token, settings.environment] == expected


def test_arguments_override_the_connection(connect: Connect) -> None:
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
    monkeypatch.setenv("AIRFLOW__ADJUST__ALLOWED_HOSTS", "*.adjust.com, loopback, gateway.example.com")
    monkeypatch.setenv(CONNECTION, connection(host=host, port=port))
    settings = AdjustS2SHook().settings
    assert settings.endpoint == endpoint
    assert settings.target.url == f"{endpoint}/event"


MUST_BE_URL = "must be a URL such as https://s2s.adjust.com"
MUST_BE_HTTPS = "must begin with https://"
HOLDS_CREDENTIALS = "holds credentials; the S2S security token has its own field"
ENDS_IN_EVENT = "must not end in /event"
BAD_PORT = "has a port that is not a number"


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
def test_any_other_endpoint_is_refused_with_a_message(
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
def test_a_value_that_is_not_a_timeout_is_refused(connect: Connect, name: str, value: Any) -> None:
    connect(None, **{name: value})
    with pytest.raises(AdjustConfigurationError, match=f"{name} must be a number of seconds, above 0 and at most 600"):
        _ = AdjustS2SHook().settings


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"password": "tökenThatNobodyMaySee"}, "the S2S security token holds characters that no token has"),
        ({"password": "two words"}, "the S2S security token holds characters that no token has"),
        ({"extra": {"api_token": "two words"}}, "the API token holds characters that no token has"),
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
        AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT))
    assert not reveals(refusal.value)
    works, message = AdjustS2SHook().test_connection()
    assert not works
    # Airflow tests under a name that it makes up.
    assert message == str(refusal.value).removeprefix("connection 'adjust_default': ")
    assert adjust.stats()["requests"] == 0


PASTED = (
    "Bearer {}",
    "bearer  {}\n",
    "BEARER: {}",
    "Bearer\t{}",
    "Authorization: Bearer {}",
    '"{}"',
    "'{}'",
    "`{}`",
    "“{}”",
    '"Bearer {}"',
    "Bearer '{}'",
    " {} ",
    "\u00a0{}\u200b",
    "\ufeff{}\r\n",
)


@table("written", PASTED)
def test_a_token_is_taken_however_it_was_pasted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    caplog.clear()
    secret, api_secret = "s2sTokenThatNobodyMaySee", "apiTokenThatNobodyMaySee"
    given = connection(password=written.format(secret), extra={"api_token": written.format(api_secret)})
    monkeypatch.setenv(CONNECTION, given)
    settings = AdjustS2SHook().settings
    assert (settings.s2s_token, settings.api_token) == (secret, api_secret)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        "connection 'adjust_default': the quotes, the Bearer or the white space around the S2S security token"
        in said[0]
    )
    assert "ThatNobodyMaySee" not in caplog.text


@table("written", ["T", "bearerOfNews", "Bearer-1", "authorization", "quo'te"])
def test_a_token_that_only_looks_pasted_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    monkeypatch.setenv(CONNECTION, connection(password=written))
    assert AdjustS2SHook().settings.s2s_token == written
    assert caplog.text == ""


@table("written", ["", "  ", '""', "Bearer", "Bearer ''", None])
def test_nothing_but_what_is_pasted_around_a_token_is_none(
    monkeypatch: pytest.MonkeyPatch, written: str | None
) -> None:
    monkeypatch.setenv(CONNECTION, connection(password=written))
    assert AdjustS2SHook().settings.s2s_token is None


def test_no_object_of_the_hook_shows_a_token(connect: Connect, said: Said) -> None:
    connect(None)
    hook = AdjustS2SHook(app_token=APP_TOKEN)
    route = hook.route(RowOptions(**EVENT))
    with hook.open_transport(SendOptions()) as transport, hook.get_conn() as session:
        shown = [hook, hook.settings, hook.settings.target, route, route.parser, transport, session, session.auth]
        for thing in shown:
            assert not reveals(f"{thing!r} {thing}"), type(thing)
    assert not reveals(said)


def test_airflow_finds_the_hook_by_the_connections_type(adjust: SandboxServer) -> None:
    hook = BaseHook.get_hook("adjust_default", hook_params={"timeout": (1.0, 2.0)})
    assert isinstance(hook, AdjustS2SHook)
    assert (hook.adjust_conn_id, hook.timeout) == ("adjust_default", (1.0, 2.0))
    assert Connection.get("adjust_default").test_connection()[0]


def test_the_form_of_airflow_3_1_is_the_form_of_the_metadata() -> None:
    behaviour = AdjustS2SHook.get_ui_field_behaviour()
    assert behaviour == connection_form.hook_field_behaviour()
    assert behaviour["relabeling"] == {"host": "Endpoint", "password": "S2S security token", "port": "Port"}
    assert AdjustS2SHook.hook_name == "Adjust S2S"
    assert (AdjustS2SHook.conn_name_attr, AdjustS2SHook.default_conn_name) == ("adjust_conn_id", "adjust_default")


def test_the_keys_of_digests_are_those_of_the_connection_and_last_its_token(connect: Connect, said: Said) -> None:
    connect(None, digest_key=" second-key , first-key,,")
    settings = AdjustS2SHook().settings
    assert settings.digest_secrets == (b"second-key", b"first-key", S2S_TOKEN.encode())
    keys = AdjustS2SHook().route(RowOptions(**EVENT)).parser.digest_keys.all
    assert keys == DigestKeys([b"second-key", b"first-key", S2S_TOKEN.encode()]).all
    assert "-key" not in repr(settings)
    assert redact("a line with first-key and second-key") == "a line with *** and ***"
    connect(None)
    assert AdjustS2SHook().settings.digest_secrets == (S2S_TOKEN.encode(),)
    assert "digest_key" not in str(said)
    connect(None, token=None)
    assert AdjustS2SHook().route().parser.digest_keys.all == (UNKEYED,)
    assert "so digests of event data have no key" in str(said)


def test_an_event_without_an_id_is_not_sent_again_when_the_connection_gets_a_key(
    adjust: SandboxServer, connect: Connect
) -> None:
    row = purchase(1, order_id=...)
    options = RowOptions(event_token=EVENT_TOKEN)
    [by_token] = AdjustS2SHook().send_events([row], options)
    connect(adjust.url, digest_key="a-new-key")
    [by_key] = AdjustS2SHook().send_events([row], options)
    parser = AdjustS2SHook().route(options).parser
    event = parser.parse(row)
    assert event.event_id == by_key.event_id != by_token.event_id
    assert by_token.event_id in {key.event_id(event.unkeyed_id or "") for key in parser.digest_keys.all}
