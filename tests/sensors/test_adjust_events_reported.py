"""AdjustEventsReportedSensor: what it waits for, in which modes, and what it says when it gives up."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from reconcile.reading_account import S2S_TOKEN, Connect
from reconcile.report_case import API_TOKEN, DAY, EVENT_TOKEN, receive

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor
from airflow_provider_adjust.triggers.adjust_events_reported import AdjustEventsReportedTrigger

EXPECTED = {"day": DAY.isoformat(), "event_token": EVENT_TOKEN, "events": 3, "revenue": "3.75", "currency": "EUR"}
BOOKED = {
    "period": DAY.isoformat(), "event_token": EVENT_TOKEN, "events": 3, "revenue": "3.75", "currency": "EUR",
}  # fmt: skip


@pytest.fixture(autouse=True)
def adjust(reporting: SandboxServer, connect_reader: Connect) -> SandboxServer:
    return reporting


def sensor(**arguments: Any) -> AdjustEventsReportedSensor:
    return AdjustEventsReportedSensor(
        **({"task_id": "wait", "expected": EXPECTED, "mode": "poke", "timeout": 0} | arguments)
    )


def test_it_passes_when_the_report_shows_enough(adjust: SandboxServer) -> None:
    receive(adjust, 3)
    assert sensor().execute({}) == [BOOKED]


CASES: dict[str, tuple[int, dict[str, Any], bool]] = {
    # events received; the sensor's arguments; whether that is enough
    "one less": (2, {}, False),
    "one more": (4, {}, True),
    "one less is tolerated": (2, {"tolerance": 1, "revenue_tolerance": "1.25"}, True),
    "one less is tolerated, its revenue is not": (2, {"tolerance": 1}, False),
    "a share": (2, {"tolerance": 0.34, "revenue_tolerance": 0.34}, True),
    "events alone": (3, {"expected": EXPECTED | {"revenue": "100"}, "with_revenue": False}, True),
    "too little revenue": (3, {"expected": EXPECTED | {"revenue": "3.77"}}, False),
    "another environment": (3, {"environment": "production"}, False),
    "another day in another zone": (3, {"timezone": "Pacific/Kiritimati"}, False),
    "a baseline is not counted": (5, {"baseline": [EXPECTED]}, False),
    "what comes on top of a baseline is": (6, {"baseline": [BOOKED]}, True),
    "JSON text, as a template renders": (3, {"expected": json.dumps([EXPECTED]), "baseline": ""}, True),
    "nothing is expected": (0, {"expected": []}, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_enough(adjust: SandboxServer, name: str) -> None:
    count, arguments, enough = CASES[name]
    receive(adjust, count)
    assert sensor(**arguments).poke({}).is_done is enough


def test_it_waits_for_what_was_sent(adjust: SandboxServer) -> None:
    """The loop: a task sends, and the sensor takes the task's own result."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    rows = [
        {"gps_adid": f"device-{number}", "created_at": start, "revenue": "1.25", "currency": "EUR"}
        for number in range(4)
    ]
    result = AdjustSendEventsOperator(task_id="send", events=rows, event_token=EVENT_TOKEN).execute({})
    adjust.configure(report_delay=3600)
    waiting = sensor(expected=result, event_token=EVENT_TOKEN)
    assert not waiting.poke({}).is_done
    adjust.configure(report_delay=0)
    assert waiting.poke({}).xcom_value[0]["events"] == 4


def test_a_result_of_several_event_tokens_is_refused() -> None:
    result = {"delivered": 3, "revenue": {}, "first_event_at": None, "last_event_at": None}
    with pytest.raises(
        AirflowFailException, match=r"AdjustConfigurationError: .* name the one that it sent as event_token"
    ):
        sensor(expected=result).poke({})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_timeout_shows_expected_against_reported(adjust: SandboxServer, mode: str) -> None:
    receive(adjust, 2)
    waiting = sensor(expected=[EXPECTED, EXPECTED | {"event_token": "abc123", "events": 1, "revenue": "0"}], mode=mode)
    ti = type("Ti", (), {"get_first_reschedule_date": lambda self, context: datetime.now(UTC) - timedelta(hours=1)})
    with pytest.raises(AirflowSensorTimeout) as timeout:
        waiting.execute({"ti": ti()})
    lines = [" ".join(line.split()) for line in str(timeout.value).splitlines()]
    assert "Adjust's report shows less than expected in 2 of 2 lines" in lines
    assert f"{DAY} f0ob4r 3 2 3.75 2.50 EUR 1 event and 1.25 EUR missing in Adjust" in lines
    assert f"{DAY} abc123 1 0 0.00 0.00 EUR 1 event missing in Adjust" in lines


def test_soft_fail_skips(adjust: SandboxServer) -> None:
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).execute({})


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"api_token": "another"}, {}, "ReportRefused: the Report Service refuses the API token"),
        ({"api_token": None}, {}, "needs an API token"),
        ({}, {"timezone": "Mars/Olympus"}, "is not an IANA name"),
        ({}, {"expected": EXPECTED | {"event_token": "xyz789"}}, "knows no event xyz789"),
        ({}, {"tolerance": -1}, "tolerance is -1"),
        # An upstream task that returned nothing must not pass for one that sent nothing.
        ({}, {"expected": None}, "expected must be rows"),
    ],
)
def test_what_waiting_cannot_change_fails_at_once(
    connect_reader: Connect, changes: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    connect_reader(**changes)
    with pytest.raises(AirflowFailException, match=words):
        sensor(timeout=3600, **arguments).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("flag", ["soft_fail", "never_fail"])
def test_a_sensor_that_may_skip_skips_in_every_mode(connect_reader: Connect, flag: str, deferrable: bool) -> None:
    connect_reader(api_token="another")
    with pytest.raises(AirflowSkipException):
        sensor(timeout=3600, deferrable=deferrable, **{flag: True}).execute({})


def test_a_busy_report_service_is_not_a_failure(adjust: SandboxServer) -> None:
    adjust.configure(report_fault_plan=["429"] * 5, retry_after=0)
    receive(adjust, 3)
    waiting = sensor()
    assert not waiting.poke({}).is_done
    assert waiting.poke({}).is_done


def test_it_gives_its_slot_back_between_two_polls_unless_told_otherwise() -> None:
    waiting = AdjustEventsReportedSensor(task_id="wait", expected=EXPECTED)
    assert (waiting.mode, waiting.deferrable, waiting.poke_interval) == ("reschedule", False, 300)


def deferred(**arguments: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferral:
        sensor(deferrable=True, timeout=3600, poke_interval=60, **arguments).execute({})
    return deferral.value


def test_it_is_not_deferred_when_all_is_there(adjust: SandboxServer) -> None:
    receive(adjust, 3)
    assert sensor(deferrable=True).execute({}) == [BOOKED]


def test_its_trigger_carries_no_secret_and_knows_when_to_give_up(adjust: SandboxServer) -> None:
    deferral = deferred(baseline=[EXPECTED], revenue_tolerance=0.02)
    path, arguments = deferral.trigger.serialize()
    assert path == f"{AdjustEventsReportedTrigger.__module__}.AdjustEventsReportedTrigger"
    assert arguments.pop("until") == pytest.approx(time.time() + 3600, abs=60)
    assert arguments == {
        "adjust_conn_id": "adjust_default",
        "app_token": None,
        "environment": None,
        "expected": [BOOKED],
        "baseline": [BOOKED],
        "tolerance": 0,
        "revenue_tolerance": 0.02,
        "timezone": "UTC",
        "poke_interval": 60,
    }
    assert json.loads(json.dumps(arguments)) == arguments
    assert not any(secret in repr(deferral.trigger) for secret in (API_TOKEN, S2S_TOKEN))
    # Airflow's own limit comes after the trigger's.
    assert deferral.timeout == timedelta(hours=2)


EVENTS: dict[str, tuple[dict[str, Any], type[Exception] | None]] = {
    "done": ({"status": "done", "message": "all there", "value": [BOOKED]}, None),
    "timeout": ({"status": "timeout", "message": "2 of 3", "value": None}, AirflowSensorTimeout),
    "refused": ({"status": "refused", "message": "ReportRefused: no", "value": None}, AirflowFailException),
}


@pytest.mark.parametrize("name", EVENTS)
def test_the_task_ends_with_the_result_of_the_trigger(name: str) -> None:
    event, failure = EVENTS[name]
    if failure is None:
        assert sensor().execute_complete({}, event) == [BOOKED]
    else:
        with pytest.raises(failure, match=event["message"]):
            sensor().execute_complete({}, event)


def test_the_hook_makes_the_baseline(adjust: SandboxServer) -> None:
    receive(adjust, 7)
    baseline = AdjustS2SHook().booked_events([EVENT_TOKEN], DAY, currency="EUR")
    receive(adjust, 3, at=datetime.combine(DAY, datetime.min.time(), UTC))
    assert sensor(baseline=baseline).execute({}) == [BOOKED]
