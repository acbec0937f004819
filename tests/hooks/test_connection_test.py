"""The connection test: what it finds out, and that Adjust records nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from hooks.web_server import web_server
from operators.adjust_account import APP_TOKEN, S2S_TOKEN, Connect, Said, reveals

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.sandbox import SandboxServer

SURE = "Adjust refuses a wrong S2S token only once S2S authentication is enabled"

CONNECTION_TESTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str]] = {
    # settings of the stand-in, changes to the connection; whether it works, and what the message says
    "all is right": ({}, {}, True, f"S2S security token not refused; app token accepted. {SURE}"),
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
    "no app token": ({}, {"app_token": None}, True, "S2S security token not refused; no app token set, so none was"),
    "no environment": ({}, {"environment": None}, True, "No environment is set, so each task or row must name it."),
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


def test_each_endpoint_that_the_connection_names_is_asked(adjust: SandboxServer, connect: Connect) -> None:
    adjust.configure(open_endpoints=["event"])
    connect(adjust.url, token="wrong", endpoints="event, ad_revenue")
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert message.startswith(
        f"{adjust.url}/ad_revenue answers, but the S2S security token is missing or wrong (status 401)"
    )
    assert f"{adjust.url}/event answers; S2S security token not refused; app token accepted." in message
    adjust.configure(open_endpoints=[], token_scopes={S2S_TOKEN: ["event"]})
    connect(adjust.url, endpoints="event, ad_revenue")
    assert "the S2S security token lacks its scope (status 401)" in AdjustS2SHook().test_connection()[1]
    adjust.configure(token_scopes={})
    works, message = AdjustS2SHook().test_connection()
    assert works
    assert (message.count("app token accepted"), message.count(SURE)) == (2, 1)
    stats = adjust.stats()
    assert (stats["requests"], stats["recorded"]) == (6, 0)
    connect(adjust.url, endpoints="event, adrevenue")
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert message.startswith("endpoints='adrevenue' must be one of event, ad_revenue")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "this is not Adjust's answer (not_adjust; status 200)"),
        (204, "this is not Adjust's answer (not_adjust; status 204)"),
        (403, "check the proxy or firewall in between"),
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


def test_the_connection_test_reports_an_endpoint_that_cannot_be_reached(connect: Connect) -> None:
    with web_server(200) as url:
        connect(url)
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert message.startswith(f"{url} cannot be reached")
    assert not reveals(message)


def test_the_connection_test_says_what_is_wrong_with_the_connection_itself(connect: Connect) -> None:
    connect("http://s2s.adjust.com")
    works, message = AdjustS2SHook().test_connection()
    assert not works
    assert "must begin with https://" in message
