"""Answers that end or hold a delivery, kills, timeouts, full disks: what the task fails with, and whether a retry may follow."""

from __future__ import annotations

import itertools
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, Connect, Said, TaskStateStore, device, purchase, reveals
from operators.sending import has_task_state_store, lines, operator, send, untraced
from s2s.raw_server import OK, Connection, RawServer

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.decorators.adjust_events import AdjustEventsDecoratedOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s import checkpoint
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryStopped, EventsUnresolved, NotAdjust
from airflow_provider_adjust.s2s.ledger.schema import tries
from airflow_provider_adjust.sandbox import SandboxServer

EVENT: dict[str, Any] = {"event_token": EVENT_TOKEN, "id_field": "order_id"}

HALTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # settings of the stand-in, changes to the connection, cause and remedy
    "wrong S2S token": ({}, {"token": "wrong"}, "not_authorized.*put the app's S2S security token into the connection"),
    "wrong S2S token, 202": ({"enforce": False}, {"token": "wrong"}, "wrong_s2s_token; status 202.*S2S Security"),
    "no S2S token": ({}, {"token": None}, "not_authorized.*put the app's S2S security token into the connection"),
    "unknown app token": ({"app_tokens": ["other"]}, {}, "app_token_not_found.*compare app_token in the connection"),
    "unknown event token": ({"event_tokens": ["other"]}, {}, "invalid_event_token.*check event_token"),
    "inactive app": ({"inactive_app_tokens": [APP_TOKEN]}, {}, "app_inactive.*activate the app"),
}


@pytest.mark.parametrize("name", HALTS)
def test_a_batch_that_adjust_rejects_costs_one_request_and_fails_for_good(
    adjust: SandboxServer, connect: Connect, tmp_path: Path, said: Said, name: str
) -> None:
    settings, changes, words = HALTS[name]
    adjust.configure(**settings)
    connect(adjust.url, **changes)
    rejected = tmp_path / "rejected.jsonl"
    with pytest.raises(AirflowFailException, match=words) as failure:
        operator([purchase(number) for number in range(20)], rejected_path=str(rejected)).execute({})
    assert adjust.stats()["requests"] == 1
    assert adjust.stats()["recorded"] == 0
    # Every event that was read is listed, to be sent once the cause is fixed.
    assert sorted(line["position"] for line in lines(rejected)) == list(range(1, 21))
    assert {line["outcome"] for line in lines(rejected)} <= {"held", "in_doubt"}
    assert "Delivery stopped early" in str(said)
    assert not reveals(said)
    assert not reveals("".join(traceback.format_exception(failure.value)))


@has_task_state_store
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("redirect", "redirected; status 307"),
        ("portal_redirect", "redirected; status 302: text/html: Found Found Sign in"),
        ("firewall", "not_adjust; status 403: text/html: Access denied"),
        ("gateway_403", "not_adjust; status 403: application/json: Forbidden"),
        ("gateway_404", "not_adjust; status 404: application/json: no Route matched"),
        ("portal", "not_adjust; status 200: text/html: Welcome"),
    ],
)
def test_what_bars_the_way_to_adjust_costs_one_request_and_a_retry_sends_everything(
    adjust: SandboxServer, tmp_path: Path, said: Said, fault: str, words: str
) -> None:
    adjust.configure(fault_plan=[None, fault])
    rejected = tmp_path / "rejected.jsonl"
    rows = [purchase(number) for number in range(20)]
    context = {"task_state_store": TaskStateStore()}
    with pytest.raises(NotAdjust, match=words) as failure:
        operator(rows, max_in_flight=1, rejected_path=str(rejected)).execute(context)
    assert adjust.stats()["requests"] == 2
    assert sorted(line["position"] for line in lines(rejected)) == list(range(2, 21))
    assert {line["outcome"] for line in lines(rejected)} <= {"held", "in_doubt"}
    assert "check" in str(failure.value)
    assert not reveals(said)
    assert not reveals("".join(traceback.format_exception(failure.value)))
    # The way is free again.
    assert operator(rows).execute(context)["delivered"] == 20
    assert (adjust.stats()["recorded"], adjust.stats()["repeated"]) == (20, 0)


def test_an_event_in_doubt_is_sent_again_before_what_follows_it(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=[None, "reset_after"])
    result = send([purchase(number, gps_adid=device(1)) for number in range(3)])
    assert result["delivered"] == 3
    assert adjust.stats()["repeated"] == 1
    assert adjust.stats()["order_violations"] == 0


@pytest.mark.parametrize("durable", [False, pytest.param(True, marks=has_task_state_store)])
def test_an_event_in_doubt_can_be_held_with_all_that_follows_it(
    adjust: SandboxServer, tmp_path: Path, durable: bool
) -> None:
    adjust.configure(fault_plan=[None, "reset_after"])
    rejected = tmp_path / "rejected.jsonl"
    rows = [purchase(number, gps_adid=device(1)) for number in range(4)]
    task = operator(rows, on_in_doubt="hold", rejected_path=str(rejected), max_rejected=10)
    # With a checkpoint a retry may resolve them; without one it would send the first event again.
    context = {"task_state_store": TaskStateStore()} if durable else {}
    with pytest.raises(EventsUnresolved if durable else AirflowFailException) as failure:
        task.execute(context)
    assert "3 of 4 events are held or in doubt, 0 were refused" in str(failure.value)
    assert "events in doubt may already be in Adjust" in str(failure.value)
    assert [(line["event_id"], line["outcome"]) for line in lines(rejected)] == [
        ("o-1", "in_doubt"),
        ("o-2", "held"),
        ("o-3", "held"),
    ]
    assert adjust.stats()["repeated"] == 0


def test_an_adjust_that_never_settles_anything_ends_the_delivery_and_a_retry_may_continue(
    adjust: SandboxServer, said: Said
) -> None:
    adjust.configure(faults="503=1", retry_after=0)
    with pytest.raises(AdjustUnreachable, match="no event could be settled in 7 attempts") as failure:
        operator([purchase(number) for number in range(50)]).execute({})
    assert adjust.stats()["requests"] == 7
    assert not reveals(said)
    assert not reveals("".join(traceback.format_exception(failure.value)))


def test_a_killed_task_waits_for_what_is_in_flight_and_sends_nothing_more(adjust: SandboxServer) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from (purchase(number) for number in range(3))
        task.on_kill()
        yield from (purchase(number) for number in range(3, 1000))

    task = operator(rows())
    with pytest.raises(DeliveryStopped, match="the task was killed"):
        task.execute({})
    assert adjust.stats()["recorded"] <= 3
    assert adjust.stats()["abandoned"] == 0


def test_a_full_disk_is_what_the_task_fails_with(adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, line: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("airflow_provider_adjust.files.receipt_files.ReceiptFile.write", full)
    with pytest.raises(AirflowFailException, match="OSError: Some events were sent"):
        operator([purchase(number) for number in range(50)], responses_path="/tmp/unused.jsonl").execute({})
    assert adjust.stats()["recorded"] > 0


@has_task_state_store
@pytest.mark.parametrize("fails", ["write", "flush"])
def test_a_full_disk_costs_neither_an_answer_nor_a_line_of_the_rejected_file(
    adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(self: Any, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    rows = [purchase(number, revenue="-1") if number % 5 == 0 else purchase(number) for number in range(60)]
    context = {"task_state_store": TaskStateStore()}
    arguments: dict[str, Any] = {"rejected_path": str(tmp_path / "rejected.jsonl"), "max_rejected": 12}
    with monkeypatch.context() as patch:
        patch.setattr(f"airflow_provider_adjust.files.receipt_files.ReceiptFile.{fails}", full)
        with pytest.raises(OSError, match="No space left"):
            operator(rows, **arguments).execute(context)
    result = send(rows, context, **arguments)
    assert (result["delivered"], result["invalid"]) == (48, 12)
    assert (adjust.stats()["recorded"], adjust.stats()["repeated"]) == (48, 0)
    assert sorted(line["position"] for line in lines(tmp_path / "rejected.jsonl")) == list(range(1, 61, 5))


@has_task_state_store
def test_a_state_store_that_is_away_for_a_while_costs_nothing(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0)
    monkeypatch.setattr(checkpoint, "FIRST_WAIT", 0.01)

    class Away(TaskStateStore):
        refusals = 5

        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            if self.refusals:
                self.refusals -= 1
                raise ConnectionError("the API server is restarted")
            super().set(key, value, retention=retention)

    context = {"task_state_store": Away()}
    rows = [purchase(number) for number in range(60)]
    assert send(rows, context)["delivered"] == send(rows, context)["delivered"] == 60
    assert (adjust.stats()["requests"], adjust.stats()["repeated"]) == (60, 0)


def test_a_try_that_ends_before_it_counts_anything_shows_no_result_of_another(
    adjust: SandboxServer, connect: Connect
) -> None:
    task = operator([purchase(1)])
    task.execute({})
    assert task.delivery_result is not None
    connect("http://169.254.169.254")
    with pytest.raises(AirflowFailException):
        task.execute({})
    assert task.delivery_result is None


@has_task_state_store
def test_a_progress_line_is_logged_while_nothing_is_answered_and_has_the_rate_of_this_try(
    adjust: SandboxServer, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"task_state_store": TaskStateStore()}
    rows = [purchase(number) for number in range(60)]
    send(rows[:59], context)
    monkeypatch.setattr("airflow_provider_adjust.delivery_run.PROGRESS_EVERY", 0)
    adjust.configure(fault_plan=["500"])
    send(rows, context)
    line = "59 of 60 events settled (98%), 59 of them before this try, 59 delivered, 0 not delivered, 0/s"
    assert line in str(said)
    assert f"{line}, 1 waiting for another attempt" in str(said)
    assert "slowed down" not in str(said)
    assert " left" not in str(said)


def test_a_wrong_clock_of_the_worker_is_warned_about_once(connect: Connect, said: Said) -> None:
    for minutes in (11, -7, 0):
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        answer = OK.replace(b"\r\n\r\n", f"\r\nDate: {format_datetime(moment, usegmt=True)}\r\n\r\n".encode())

        def script(connection: Connection, answer: bytes = answer) -> None:
            while connection.read() is not None:
                connection.send(answer)

        with RawServer(script) as server:
            connect(server.url.removesuffix("/event"))
            operator([purchase(number) for number in range(3)]).execute({})
    log = str(said)
    # As text, and as its representation.
    assert log.count("worker's clock is 11 minutes behind the server's") == 2
    assert log.count("worker's clock is 7 minutes ahead of the server's") == 2
    assert log.count("worker's clock is") == 2 * 2


def test_the_first_row_of_each_reason_is_logged_once_and_is_in_the_failure(
    adjust: SandboxServer, said: Said, connect: Connect
) -> None:
    adjust.configure(unknown_devices=[device(3), device(5)])
    rows = [purchase(1), purchase(2, revenue="1,25"), purchase(3), purchase(4, revenue="x"), purchase(5)]
    with pytest.raises(AirflowFailException) as failure:
        operator(rows).execute({})
    refused = "row 2 (event o-2): revenue"
    unknown = "row 3 (event o-3): Event request failed (Device not found)"
    log = str(said)
    assert f"The first event that is invalid: invalid_revenue, {refused}" in log
    assert f"The first event that is rejected: device_not_found, {unknown}" in log
    assert log.count("The first event that is") == 2 * 2  # as text, and as its representation
    message = str(failure.value)
    assert f"2 invalid_revenue: {reason_of('invalid_revenue').advice}\n  first: {refused}" in message
    assert f"{reason_of('device_not_found').advice}\n  first: {unknown}" in message
    assert not reveals(message)


def test_a_task_that_is_killed_before_it_sends_never_sends(adjust: SandboxServer) -> None:
    task = operator([purchase(1)])
    task.on_kill()
    with pytest.raises(DeliveryStopped, match="the task was killed"):
        task.execute({})
    assert adjust.stats()["requests"] == 0


def purchases_without_end() -> Iterator[dict[str, Any]]:
    """One in nine is refused. Python drops an exception that a signal raises in a collector's callback: then once more."""
    due = time.monotonic() + 3
    for number in itertools.count():
        if time.monotonic() > due:
            due += 3
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        yield purchase(number, revenue="-1") if number % 9 == 0 else purchase(number)


@pytest.mark.parametrize("remembered", [False, pytest.param(True, marks=has_task_state_store)])
def test_a_timeout_is_retried_only_where_the_retry_would_not_send_everything_again(
    adjust: SandboxServer, tmp_path: Path, said: Said, remembered: bool
) -> None:
    """Airflow's timeout arrives as a signal, at any place, and is not an Exception."""
    store = TaskStateStore()
    rejected = tmp_path / "rejected.jsonl"
    task = operator(purchases_without_end())
    task.rejected_path = str(rejected)
    with (
        untraced(),
        pytest.raises(AirflowTaskTimeout if remembered else AirflowFailException) as failure,
        timeout(0.7),
    ):
        task.execute({"task_state_store": store} if remembered else {})
    if not remembered:
        assert "AirflowTaskTimeout: Some events were sent" in str(failure.value)
    assert "Delivery stopped early" in str(said)
    assert task.delivery_result is not None
    assert 0 < task.delivery_result["delivered"] <= adjust.stats()["recorded"]
    assert task.delivery_result["rejected_path"] == str(rejected)
    assert {line["reason"] for line in lines(rejected)} <= {"invalid_revenue", "delivery_stopped"}
    assert bool(store.state) is remembered


@has_task_state_store
def test_a_checkpoint_knows_each_line_of_the_rejected_file_or_none_that_a_retry_writes_again(
    adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0)  # after each event, not each second
    states: list[dict[str, Any]] = []

    class Store(TaskStateStore):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            states.append(value)

    rows = [purchase(number, revenue="-1") for number in range(20)]
    send(rows, {"task_state_store": Store()}, rejected_path=str(tmp_path / "rejected.jsonl"), max_rejected=20)
    written = [(state["settled"]["outcomes"].get("invalid", 0), state["rejected_lines"]) for state in states]
    assert written[-1] == (20, 20)
    assert all(settled == listed for settled, listed in written), written


def test_an_error_while_closing_hides_neither_the_failure_nor_the_counts(
    adjust: SandboxServer, connect: Connect, said: Said
) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        try:
            yield from (purchase(number) for number in range(1000))
        finally:
            raise ConnectionError("closed by postgres://user:password@warehouse")

    connect(adjust.url, token="wrong")
    task = AdjustEventsDecoratedOperator(task_id="send", python_callable=rows, op_args=[], op_kwargs={}, **EVENT)
    with pytest.raises(AirflowFailException, match=r"DeliveryHalted.*not_authorized"):
        task.execute({})
    assert "Not everything could be closed after the failure (ConnectionError)" in str(said)
    assert "user:password" not in str(said)
    assert task.delivery_result is not None


def test_what_cannot_be_closed_at_the_end_fails_the_task_and_is_counted_first(adjust: SandboxServer) -> None:
    class Unclosable(AdjustSendEventsOperator):
        def rows(self, context: Any, stack: ExitStack) -> Any:
            stack.callback(self.break_off)
            return super().rows(context, stack)

        def break_off(self) -> None:
            raise ConnectionError("the database went away")

    task = Unclosable(task_id="send", events=[purchase(number) for number in range(5)], **EVENT)
    with pytest.raises(AirflowFailException, match="ConnectionError: Some events were sent"):
        task.execute({})
    assert task.delivery_result is not None
    assert task.delivery_result["delivered"] == adjust.stats()["recorded"] == 5


@pytest.mark.parametrize(
    ("settings", "state", "error"),
    [
        ({}, "success", ""),
        ({"unknown_devices": [device(1)]}, "failed", "RejectedBudgetExceeded: 1 of 2 events were refused"),
        ({"tokens": ["another"]}, "failed", "DeliveryHalted: "),
        ({"faults": "503=1", "retry_after": 900.0}, "failed", "AdjustUnreachable: "),
    ],
)
def test_the_ledger_knows_how_the_try_ended(
    adjust: SandboxServer, ledger: sa.Engine, settings: dict[str, Any], state: str, error: str
) -> None:
    adjust.configure(**settings)
    with suppress(Exception):
        send([purchase(1), purchase(2)], ledger_conn_id="adjust_ledger")
    with ledger.connect() as connection:
        [end] = connection.execute(sa.select(tries.c.state, tries.c.error)).all()
    assert end.state == state
    assert end.error.startswith(error)
    assert bool(end.error) is bool(error)
