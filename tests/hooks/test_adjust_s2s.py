"""AdjustS2SHook: what is sent through it, and the session that it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from hooks.web_server import web_server
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

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s import RowOptions, SendOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    NotAdjust,
    StreamOutOfOrder,
)
from airflow_provider_adjust.sandbox import SandboxServer

EVENT = {"event_token": EVENT_TOKEN, "id_field": "order_id"}


def test_one_event_is_sent_and_its_receipt_returned(adjust: SandboxServer) -> None:
    receipt = AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT))
    assert (receipt.outcome, receipt.event_id, receipt.position) == (Outcome.DELIVERED, "o-1", 1)
    assert (receipt.http_status, receipt.response, receipt.attempts) == (200, {"status": "OK"}, 1)
    assert recorded(adjust) == [device(1)]
    assert not reveals(receipt)


def test_one_row_that_is_not_an_event_gets_a_receipt_too(adjust: SandboxServer) -> None:
    receipt = AdjustS2SHook().send_event(purchase(1, revenue="-1"), RowOptions(**EVENT))
    assert (receipt.outcome, receipt.reason, receipt.attempts) == (Outcome.INVALID, "invalid_revenue", 0)
    assert adjust.stats()["requests"] == 0


def test_a_wrong_token_is_an_error_that_does_not_show_it(adjust: SandboxServer, connect: Connect, said: Said) -> None:
    connect(adjust.url, token=S2S_TOKEN + "1")
    with pytest.raises(DeliveryHalted, match="put the app's S2S security token into the connection") as halt:
        AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT))
    assert not reveals(halt.value)
    assert not reveals(said)


def test_a_redirect_is_not_followed(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=["redirect"])
    with pytest.raises(NotAdjust, match="redirects are not followed"):
        AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT))
    assert adjust.stats()["redirects_followed"] == 0


def test_a_long_retry_after_is_passed_to_the_retry(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=["503"], retry_after=900)
    with pytest.raises(AdjustUnreachable, match="Adjust asks to wait 900 s") as failure:
        AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT))
    assert failure.value.retry_after == 900


def test_a_list_is_sorted_by_time_in_each_lane(adjust: SandboxServer) -> None:
    rows = [purchase(number, gps_adid=device(number % 3)) for number in (8, 2, 5, 3, 1, 7, 4, 6)]
    receipts = list(AdjustS2SHook().send_events(rows, RowOptions(**EVENT)))
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
        receipts.extend(AdjustS2SHook().send_events(rows, RowOptions(**EVENT)))
    assert sorted(recorded(adjust)) == [device(1), device(2), device(4)]


def test_a_generator_is_not_read_before_somebody_takes_receipts(adjust: SandboxServer) -> None:
    read = []
    rows = (read.append(number) or purchase(number) for number in range(5))
    receipts = AdjustS2SHook().send_events(rows, RowOptions(**EVENT))
    assert read == []
    assert len(list(receipts)) == 5
    assert read == [0, 1, 2, 3, 4]


def test_an_unknown_transport_is_refused(adjust: SandboxServer) -> None:
    sending = SendOptions(transport="carrier pigeon")  # type: ignore[arg-type]
    with pytest.raises(AdjustConfigurationError, match="not 'carrier pigeon'"):
        AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT), sending)


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
    assert AdjustS2SHook().send_event(purchase(1), RowOptions(**EVENT)).outcome is Outcome.DELIVERED


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
