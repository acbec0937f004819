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
    "not_delivered": [
        {"outcome": "rejected", "reason": "device_not_found", "events": 8, "revenue": {"EUR": "1000.00", "USD": "2.50"}}
    ],
    "rejected_path": "s3://bucket/night & day.jsonl",
}


class AirflowFailException(Exception):
    """A stand-in for Airflow's exception, which an operator raises with the kind before the message."""


def report(result: Any = RESULT, exception: Any = None, **ti: Any) -> DeliveryReport:
    known = {"dag_id": "revenue", "task_id": "send", "run_id": "night", "map_index": -1, "try_number": 2}
    instance = SimpleNamespace(**(known | {"log_url": LOG_URL} | ti))
    return DeliveryReport.of({"ti": instance, "task": SimpleNamespace(delivery_result=result), "exception": exception})


def test_a_success_with_something_missing_as_text() -> None:
    assert report().text == (
        "[Adjust] INCOMPLETE: 8 of 1,500 events not delivered, 1,000.00 EUR, 2.50 USD missing (revenue.send)\n"
        "Run night, try 2\n"
        "\n"
        "outcome    events  revenue\n"
        "---------  ------  -----------------------\n"
        "read        1,500\n"
        "delivered   1,490  99.50 EUR, 1,250.00 USD\n"
        "duplicate       2\n"
        "rejected        8\n"
        "\n"
        "8 rejected: device_not_found, 1,000.00 EUR, 2.50 USD\n"
        "  A retry cannot help; check the environment and the app token; if Adjust learned of the install later, "
        "send the event again\n"
        "\n"
        f"Log: {LOG_URL}\n"
        "Rejected file: s3://bucket/night & day.jsonl"
    )


def test_the_subject_begins_with_the_verdict() -> None:
    complete = RESULT | {"read": 1492, "rejected": 0, "not_delivered": [], "by_reason": {"already_tracked": 2}}
    stopped = complete | {"read": 900, "delivered": 898}
    dry = complete | {"delivered": 0, "by_reason": {"dry_run": 1490}, "revenue": {}}
    halted = DeliveryHalted("the token is wrong")
    table: list[tuple[str, Any, Any, str | None]] = [
        ("OK: 1,490 of 1,492 events delivered, 99.50 EUR, 1,250.00 USD", complete, None, "success"),
        ("INCOMPLETE: 8 of 1,500 events not delivered, 1,000.00 EUR, 2.50 USD missing", RESULT, None, "success"),
        ("FAILED: 8 of 1,500 events not delivered, 1,000.00 EUR, 2.50 USD missing", RESULT, halted, None),
        ("FAILED: stopped after 900 rows, 898 events delivered, 99.50 EUR, 1,250.00 USD", stopped, halted, None),
        ("FAILED: nothing was counted", None, halted, None),
        ("KILLED: what it had delivered is not known", None, None, None),
        ("SKIPPED: nothing was counted", None, None, "skipped"),
        ("DRY RUN: would have sent 1,490 of 1,492 events", dry, None, "success"),
    ]
    for subject, result, exception, state in table:
        told = report(result, exception, state=state)
        assert told.subject == f"[Adjust] {subject} (revenue.send)"


def test_it_links_to_the_task_on_the_deliveries_page() -> None:
    """Where the task has a ledger; below the address at which Airflow is served."""
    task = SimpleNamespace(delivery_result=RESULT, ledger_conn_id="memory")
    at = {"dag_id": "revenue", "task_id": "send", "run_id": "night 1", "map_index": 3, "try_number": 2}
    for log_url, page in (
        (
            "https://a.example/air/dags/revenue/runs/x",
            "https://a.example/air/adjust/?ledger=memory&dag_id=revenue&run_id=",
        ),
        ("", ""),
    ):
        told = DeliveryReport.of({"ti": SimpleNamespace(**at, log_url=log_url, state="success"), "task": task})
        assert told.page_url.startswith(page)
        assert bool(told.page_url) is bool(page)
    assert report().page_url == ""


KNOWN = RESULT | {"read": 7923, "skipped": 7923, "delivered": 0, "duplicate": 0, "rejected": 0}
KNOWN |= {"revenue": {}, "not_delivered": []}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"by_reason": {"delivered_before": 7923}},
            "OK: nothing new, 7,923 events were settled by earlier runs",
            id="a rerun",
        ),
        pytest.param(
            {"by_reason": {"delivered_before": 7900, "refused_before": 20}, "skipped": 7920, "delivered": 3},
            "OK: 3 of 3 events delivered",
            id="a lookback",
        ),
    ],
)
def test_the_headline_is_about_what_is_new(changes: dict[str, Any], words: str) -> None:
    told = report(KNOWN | changes)
    assert told.subject == f"[Adjust] {words} (revenue.send)"
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
    assert told.verdict == "FAILED"
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
    assert told.subject == "[Adjust] FAILED: nothing was counted (revenue.send)"
    assert told.text == (f"{told.subject}\nRun night, try 2\n\nDeliveryHalted: the token is wrong\n\nLog: {LOG_URL}")
    assert "<table" not in told.html


def test_a_mapped_task_is_named_with_its_index() -> None:
    assert report(map_index=3).subject.endswith("(revenue.send [3])")


def test_html_and_slack_markup_are_escaped() -> None:
    told = report(run_id="<b>&</b>")
    assert "Run &lt;b&gt;&amp;&lt;/b&gt;, try 2" in told.html
    assert "Run &lt;b&gt;&amp;&lt;/b&gt;, try 2" in told.slack
    assert "Rejected file: s3://bucket/night &amp; day.jsonl" in told.html
    assert f'<a href="{LOG_URL}">' in told.html


def test_html_has_what_the_text_has() -> None:
    html = report().html
    for cell in ("read", "1,500", "delivered", "99.50 EUR, 1,250.00 USD"):
        assert f">{cell}</td>" in html
    assert "<strong>8 rejected: device_not_found, 1,000.00 EUR, 2.50 USD</strong><br>A retry cannot help; " in html
    assert html.count("<table") == html.count("</table>") == 1
    assert html.count("<tr>") == html.count("</tr>") == 4 + 1
    # An address is a link with a name, since a phone is narrow.
    assert f">{LOG_URL}<" not in html
    assert f'<a href="{LOG_URL}">Log</a>' in html
