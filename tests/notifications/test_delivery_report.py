"""The report on a delivery: one for each end of a try, without any device id."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_adjust.notifications.delivery_report import DeliveryReport
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.errors import DeliveryHalted, RejectedBudgetExceeded

LOG_URL = "https://airflow.example.com/dags/revenue/runs/night/tasks/send?try_number=2"
RESULT = DeliverySummary().as_result(seconds=1.0, rejected_path=None) | {
    "read": 1500,
    "delivered": 1490,
    "duplicate": 2,
    "rejected": 8,
    "by_reason": {"device_not_found": 8, "already_tracked": 2},
    "revenue": {"EUR": "99.50", "USD": "1250.00"},
    "rejected_path": "s3://bucket/night & day.jsonl",
}


class AirflowFailException(Exception):
    """A stand-in for Airflow's exception, which an operator raises with the kind before the message."""


def report(result: Any = RESULT, exception: Any = None, **ti: Any) -> DeliveryReport:
    known = {"dag_id": "revenue", "task_id": "send", "run_id": "night", "map_index": -1, "try_number": 2}
    instance = SimpleNamespace(**(known | {"log_url": LOG_URL} | ti))
    return DeliveryReport.of({"ti": instance, "task": SimpleNamespace(delivery_result=result), "exception": exception})


def test_a_success_as_text() -> None:
    assert report().text == (
        "Adjust: revenue.send succeeded, 1,490 of 1,500 events delivered (99.50 EUR, 1250.00 USD)\n"
        "Run night, try 2\n"
        "\n"
        "outcome    events  revenue\n"
        "---------  ------  ----------------------\n"
        "read        1,500\n"
        "delivered   1,490  99.50 EUR, 1250.00 USD\n"
        "duplicate       2\n"
        "rejected        8\n"
        "\n"
        "reason            events\n"
        "----------------  ------\n"
        "device_not_found       8\n"
        "already_tracked        2\n"
        "\n"
        f"Log: {LOG_URL}\n"
        "Not delivered: s3://bucket/night & day.jsonl"
    )


KNOWN = RESULT | {"read": 7923, "skipped": 7923, "delivered": 0, "duplicate": 0, "rejected": 0, "revenue": {}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"by_reason": {"delivered_before": 7923}},
            "succeeded, nothing new, 7,923 events were settled by earlier runs",
            id="a rerun",
        ),
        pytest.param(
            {"by_reason": {"delivered_before": 7900, "refused_before": 20}, "skipped": 7920, "delivered": 3},
            "succeeded, 3 of 3 events delivered",
            id="a lookback",
        ),
    ],
)
def test_the_headline_is_about_what_is_new(changes: dict[str, Any], words: str) -> None:
    told = report(KNOWN | changes)
    assert told.subject == f"Adjust: revenue.send {words}"
    skipped = next(line for line in told.text.splitlines() if line.startswith("skipped"))
    assert skipped.endswith("settled by earlier runs")
    assert "delivered_before" not in told.text


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        (
            AirflowFailException(
                "RejectedBudgetExceeded: 10 of 1,500 events were refused; none is allowed.\nthe table"
            ),
            "RejectedBudgetExceeded: 10 of 1,500 events were refused; none is allowed.",
        ),
        (DeliveryHalted("the token is wrong"), "DeliveryHalted: the token is wrong"),
        (RejectedBudgetExceeded("1 < 2\nmore"), "RejectedBudgetExceeded: 1 < 2"),
        (ValueError("no device 38400000-8cf0-11bd-b23e-10b96e40000d"), "ValueError; see the log"),
        ("lost, 38400000-8cf0-11bd-b23e-10b96e40000d", "str; see the log"),
    ],
)
def test_a_failure_is_one_line_and_shows_only_our_messages(exception: Any, words: str) -> None:
    told = report(exception=exception)
    assert told.failure == words
    assert told.subject.startswith("Adjust: revenue.send failed, 1,490 of 1,500 events delivered")
    assert words in told.text
    assert words.replace("<", "&lt;") in told.slack
    assert words.replace("<", "&lt;") in told.html


@pytest.mark.parametrize(
    ("state", "failure"), [("failed", True), ("up_for_retry", True), ("success", False), (None, False)]
)
def test_a_failed_task_without_an_exception_counts_as_failed(state: str | None, failure: bool) -> None:
    assert bool(report(state=state).failure) is failure


def test_a_try_that_ended_before_it_counted_anything() -> None:
    told = report(result=None, exception=DeliveryHalted("the token is wrong"))
    assert told.subject == "Adjust: revenue.send failed, before anything was counted"
    assert told.text == (f"{told.subject}\nRun night, try 2\n\nDeliveryHalted: the token is wrong\n\nLog: {LOG_URL}")
    assert "<table" not in told.html


def test_a_mapped_task_is_named_with_its_index() -> None:
    assert report(map_index=3).subject.startswith("Adjust: revenue.send [3] succeeded")


def test_html_and_slack_markup_are_escaped() -> None:
    told = report(run_id="<b>&</b>")
    assert "Run &lt;b&gt;&amp;&lt;/b&gt;, try 2" in told.html
    assert "Run &lt;b&gt;&amp;&lt;/b&gt;, try 2" in told.slack
    assert "Not delivered: s3://bucket/night &amp; day.jsonl" in told.html
    assert f'<a href="{LOG_URL}">' in told.html


def test_html_has_what_the_text_has() -> None:
    html = report().html
    for cell in ("read", "1,500", "delivered", "99.50 EUR, 1250.00 USD", "device_not_found"):
        assert f">{cell}</td>" in html
    assert html.count("<table") == html.count("</table>") == 2
    assert html.count("<tr>") == html.count("</tr>") == 4 + 1 + 2 + 1
