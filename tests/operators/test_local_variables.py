"""A traceback that shows local variables, as Rich and Sentry write them, shows no device, address or token."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, IP_ADDRESS, S2S_TOKEN, Connect, device, purchase, reveals
from operators.sending import operator
from rich.console import Console
from rich.pretty import Pretty
from rich.traceback import Traceback

from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.adjust_api.device import DeviceApi
from airflow_provider_adjust.adjust_api.reports import ReportQuery, ReportService
from airflow_provider_adjust.cli.rows import as_rows
from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import receipt_for
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import parse_event
from airflow_provider_adjust.s2s.redaction import Unshown
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.s2s.transports.settings import new_session, request_settings
from airflow_provider_adjust.sandbox import SandboxServer


def shown(error: BaseException) -> str:
    """The traceback with the local variables of every frame but this module's own."""
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename == __file__:
        own = own.tb_next
    assert own is not None, "the error has no frame of the provider"
    console = Console(file=(out := io.StringIO()), width=200)
    console.print(
        Traceback.from_exception(
            type(error),
            error.with_traceback(own),
            own,
            show_locals=True,
            locals_max_length=1000,
            locals_max_string=100_000,
            max_frames=0,
        )
    )
    text = out.getvalue()
    assert "locals" in text
    return text


def secrets(text: str) -> list[str]:
    return [secret for secret in reveals(text) if secret != APP_TOKEN]


def rows() -> list[dict[str, Any]]:
    return [purchase(number) for number in range(15)]


@pytest.mark.parametrize("events", [rows, lambda: iter(rows())], ids=["a list", "a stream"])
def test_a_halt(adjust: SandboxServer, events: Callable[[], Iterable[Any]]) -> None:
    adjust.configure(tokens=["other"])
    with pytest.raises(Exception, match="DeliveryHalted") as halted:
        operator(events()).execute({})
    assert secrets(shown(halted.value)) == []


def test_a_failure_of_the_ledger(adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/ledger.db"}))
    operator([purchase(99)], ledger_conn_id="ledger").execute({})
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TRIGGER no BEFORE INSERT ON adjust_event BEGIN SELECT RAISE(ABORT, 'no'); END")
        )
    with pytest.raises(Exception, match="ledger") as failed:
        operator(rows(), ledger_conn_id="ledger").execute({})
    assert secrets(shown(failed.value)) == []
    engine.dispose()


def test_a_stream_out_of_order(adjust: SandboxServer) -> None:
    with pytest.raises(Exception, match="StreamOutOfOrder") as failed:
        operator(iter([purchase(2), purchase(1)])).execute({})
    assert secrets(shown(failed.value)) == []


def test_an_erasure(
    adjust: SandboxServer, connect: Connect, ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, without a server, interrupted while it waits for the answer, and with a ledger that fails."""
    monkeypatch.setattr("airflow_provider_adjust.s2s.ledger.erasures.PACE", 0.0)

    def forget() -> BaseException:
        given: Any = {"task_id": "forget", "ledger_conn_id": "adjust_ledger", "confirm": "permanently"}
        task = AdjustForgetDevicesOperator(devices=[{"gps_adid": device(number)} for number in range(3)], **given)
        with pytest.raises(BaseException) as failed:
            task.execute({})
        return failed.value

    connect(adjust.url, gdpr_url=adjust.url, token="other")
    failures = [forget()]
    connect(adjust.url, gdpr_url="http://127.0.0.1:9")
    failures.append(forget())
    connect(adjust.url, gdpr_url=adjust.url)
    with monkeypatch.context() as interrupted:

        def interrupt(*_: Any) -> Any:
            raise KeyboardInterrupt

        interrupted.setattr(RequestsTransport, "poll", interrupt)
        failures.append(forget())
    with ledger.begin() as connection:
        connection.execute(
            sa.text("CREATE TRIGGER no BEFORE UPDATE ON adjust_erasure BEGIN SELECT RAISE(ABORT, 'no'); END")
        )
    failures.append(forget())
    assert [type(each).__name__ for each in failures] == [
        "AirflowFailException",
        "AdjustUnreachable",
        "KeyboardInterrupt",
        "LedgerUnavailable",
    ]
    assert [secrets(shown(each)) for each in failures] == [[]] * 4


@pytest.mark.parametrize("path", ["", "/nowhere"], ids=["no server", "no answer of Adjust's"])
def test_a_device_lookup_and_a_report(adjust: SandboxServer, path: str) -> None:
    url = f"{adjust.url}{path}" if path else "http://127.0.0.1:9"
    device_api = DeviceApi(url, S2S_TOKEN, (2, 2))
    event = parse_event(purchase(1, order_id=..., app_token=APP_TOKEN, event_token="abc", environment="sandbox"))
    reports = ReportService(url, S2S_TOKEN, attempts=1, timeout=(2, 2))
    for call in (
        lambda: device_api.inspect_device(device(1), APP_TOKEN),
        lambda: device_api.recorded(event),
        lambda: run_blocking(reports.report(ReportQuery(["day"], ["events"], "today"))),
    ):
        with pytest.raises(Exception) as failed:
            call()
        assert secrets(shown(failed.value)) == []


def test_no_object_of_a_delivery_shows_what_it_holds() -> None:
    """As repr, and as Rich, which takes tuples, dicts and lists to pieces."""
    event = parse_event(purchase(1, order_id=..., app_token=APP_TOKEN, event_token="abc", environment="sandbox"))
    job = Job(event, 1, purchase(1))
    target = Target("https://s2s.adjust.com/event", S2S_TOKEN)
    settings = request_settings(new_session(), target)
    transport = RequestsTransport(max_in_flight=1, timeout=(1, 1))
    things = [
        event, *event.lanes, job, target, settings, settings.headers, transport._connect(target),
        Completion(job, 200, f"echo {device(1)} {S2S_TOKEN}".encode(), retry_after=IP_ADDRESS),
        receipt_for(job, Outcome.REJECTED, "x", "y", answer=device(1).encode()),
        as_rows(rows()), Unshown(purchase(1)),
    ]  # fmt: skip
    transport.close()
    for thing in things:
        out = io.StringIO()
        Console(file=out, width=500).print(Pretty([thing], max_length=1000))
        assert secrets(repr(thing)) == []
        assert secrets(out.getvalue()) == []
    assert dict(settings.headers)["Authorization"] == f"Bearer {S2S_TOKEN}"
