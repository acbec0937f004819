"""What a run counts and says, and when it fails."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s2s_case import GPS_ADID, NOW, parse

from airflow_provider_adjust.s2s.account.budget import FailureBudget
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import (
    advice_lines,
    missing_line,
    progress_line,
    summary_report,
    summary_table,
)
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, UNDELIVERED, UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    CountsMismatch,
    EventsUnresolved,
    RejectedBudgetExceeded,
)

DUPLICATES = frozenset({"duplicate"})


def _receipt(outcome: str, reason: str = "", **changes: Any) -> Receipt:
    event = None if outcome == "invalid" else parse(**changes)
    return Receipt(Outcome(outcome), reason, "an-id", 1, "Device not found", event=event, row={"gps_adid": GPS_ADID})


def _summary(*receipts: Receipt, read: int | None = None) -> DeliverySummary:
    summary = DeliverySummary(read=len(receipts) if read is None else read)
    for receipt in receipts:
        summary.add(receipt)
    return summary


def _counted(**outcomes: int) -> DeliverySummary:
    """A summary of so many receipts of each outcome, of 100 rows and more if it must be."""
    receipts = [_receipt(outcome, f"{outcome}_reason") for outcome, count in outcomes.items() for _ in range(count)]
    return _summary(*receipts, *[_receipt("delivered")] * (100 - len(receipts)))


# --- counts -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_adds_up_what_it_would_send_by_currency() -> None:
    dry = [_receipt("skipped", "dry_run", revenue="2.50", currency="USD")] * 2
    summary = _summary(*dry, _receipt("skipped", "delivered_before"))
    assert DeliverySummary.from_state(summary.as_state()) == summary
    assert "skipped       3  1 settled by earlier runs" in summary_table(summary)
    summary = _summary(*dry, _receipt("skipped", "dry_run", revenue="1.005", currency="EUR"))
    assert "skipped       3  1.005 EUR, 5.00 USD" in summary_table(summary)
    before = summary.as_state()
    del before["unsent_revenue"]  # an older version's checkpoint
    assert DeliverySummary.from_state(before).unsent_revenue == {}


def test_a_summary_counts_outcomes_reasons_revenue_and_times() -> None:
    summary = _summary(
        _receipt("delivered", revenue="0.10", currency="USD", created_at=NOW - timedelta(hours=2)),
        _receipt("delivered", revenue="0.20", currency="USD"),
        _receipt("delivered", revenue=5, currency="EUR", created_at=NOW - timedelta(hours=1)),
        _receipt("delivered", ip_address="::1", idfa="0000"),
        _receipt("delivered", ip_address="::1"),
        _receipt("duplicate", "earlier_unique_event", revenue=1, currency="USD"),
        _receipt("rejected", "device_not_found", revenue="7.00", currency="USD"),
        _receipt("held", "lane_held", revenue="2.50", currency="USD", created_at=NOW - timedelta(days=3)),
        _receipt("invalid", "missing_device_id"),
    )
    summary.check()
    assert summary.settled == 9
    assert summary.revenue == {"USD": Decimal("0.30"), "EUR": Decimal(5)}
    assert summary.revenue_by_reason == {
        ("rejected", "device_not_found"): {"USD": Decimal("7.00")},
        ("held", "lane_held"): {"USD": Decimal("2.50")},
    }
    assert (summary.adjusted, summary.left_out) == (2, Counter(ip_address=2, idfa=1))
    assert (summary.first_event_at, summary.last_event_at) == (NOW - timedelta(hours=2), NOW)


def test_the_result_is_small_and_of_jsons_types() -> None:
    summary = _summary(
        _receipt("delivered", revenue="1E+3", currency="USD"),
        _receipt("rejected", "device_not_found"),
        _receipt("rejected", "device_not_found"),
        _receipt("invalid", "missing_device_id"),
    )
    result = summary.as_result(seconds=1.23456, rejected_path="s3://bucket/rejected.jsonl")
    assert json.loads(json.dumps(result)) == result
    assert result == {
        "read": 4,
        "delivered": 1,
        "duplicate": 0,
        "skipped": 0,
        "rejected": 2,
        "invalid": 1,
        "expired": 0,
        "in_doubt": 0,
        "held": 0,
        "adjusted": 0,
        "by_reason": {"device_not_found": 2, "missing_device_id": 1},
        "revenue": {"USD": "1000"},
        "not_delivered": [
            {"outcome": "rejected", "reason": "device_not_found", "events": 2, "revenue": {}},
            {"outcome": "invalid", "reason": "missing_device_id", "events": 1, "revenue": {}},
        ],
        "first_event_at": "2026-05-01T12:00:00+00:00",
        "last_event_at": "2026-05-01T12:00:00+00:00",
        "seconds": 1.235,
        "rejected_path": "s3://bucket/rejected.jsonl",
        "environment": None,
    }


def test_the_result_of_nothing() -> None:
    result = DeliverySummary().as_result(seconds=0, rejected_path=None)
    assert (result["read"], result["revenue"], result["first_event_at"]) == (0, {}, None)


@pytest.mark.parametrize("read", [0, 1, 3])
def test_counts_that_do_not_add_up_are_a_defect(read: int) -> None:
    summary = _summary(_receipt("delivered"), _receipt("delivered"), read=read)
    with pytest.raises(CountsMismatch, match=f"{read} rows were read but 2 have an outcome"):
        summary.check()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FINAL_OUTCOMES), st.sampled_from(["", "a", "b"]), st.decimals("0.001", "1e9", places=3)
        )
    )
)
def test_whatever_happens_counts_and_revenue_add_up(ends: list[tuple[Outcome, str, Decimal]]) -> None:
    receipts = [_receipt(outcome.value, reason, revenue=amount, currency="USD") for outcome, reason, amount in ends]
    summary = _summary(*receipts)
    summary.check()
    result = summary.as_result(seconds=1, rejected_path=None)
    assert sum(result[outcome.value] for outcome in FINAL_OUTCOMES) == len(ends)
    delivered = sum((amount for outcome, _, amount in ends if outcome is Outcome.DELIVERED), Decimal(0))
    assert Decimal(result["revenue"].get("USD", 0)) == delivered
    missing = sum((sum(amounts.values()) for amounts in summary.revenue_by_reason.values()), Decimal(0))
    lost = (amount for outcome, _, amount in ends if outcome in UNDELIVERED - {Outcome.INVALID})
    assert missing == sum(lost, Decimal(0))
    # A copy goes through JSON, as a checkpoint does.
    assert DeliverySummary.from_state(json.loads(json.dumps(summary.as_state()))) == summary


def test_a_copy_counts_on_its_own() -> None:
    summary = _summary(_receipt("delivered", revenue=1, currency="USD"))
    copy = summary.copy()
    summary.add(_receipt("delivered", revenue=1, currency="USD"))
    assert (copy.settled, copy.revenue) == (1, {"USD": Decimal(1)})
    assert DeliverySummary().copy() == DeliverySummary()


def test_a_receipt_takes_another_row_and_shows_none() -> None:
    receipt = _receipt("delivered")
    assert receipt.with_row({"a": 1}).row == {"a": 1}
    assert receipt.with_row({"a": 1}).event is receipt.event
    assert GPS_ADID not in repr(receipt)


def test_outcomes_are_sorted_into_final_undelivered_and_unresolved() -> None:
    assert set(FINAL_OUTCOMES) == set(Outcome) - {Outcome.RETRY, Outcome.HALT}
    assert UNRESOLVED < UNDELIVERED < set(FINAL_OUTCOMES)
    assert set(FINAL_OUTCOMES) - UNDELIVERED == {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.SKIPPED}


@pytest.mark.parametrize(
    ("outcomes", "tolerated", "count"),
    [
        pytest.param(UNDELIVERED, set(), 6, id="all"),
        pytest.param(UNDELIVERED, {"rejected"}, 3, id="less an outcome"),
        pytest.param(UNDELIVERED, {"device_not_found"}, 4, id="less a reason"),
        pytest.param(UNDELIVERED, {"rejected", "device_not_found"}, 3, id="an outcome and its reason count once"),
        pytest.param({Outcome.HELD}, {"device_not_found"}, 1, id="a reason of another outcome"),
    ],
)
def test_counting_with_tolerance(outcomes: Any, tolerated: set[str], count: int) -> None:
    summary = _summary(
        _receipt("delivered"),
        _receipt("rejected", "device_not_found"),
        _receipt("rejected", "device_not_found"),
        _receipt("rejected", "device_opted_out"),
        _receipt("expired", "expired"),
        _receipt("invalid", "missing_device_id"),
        _receipt("held", "lane_held"),
    )
    assert summary.count(frozenset(outcomes), frozenset(tolerated)) == count


# --- the budget -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_rejected", "read", "allowed"),
    [
        (0, 100, 0),
        (5, 100, 5),
        (5, 1, 5),
        (0.0, 100, 0),
        (0.02, 100, 2),
        (0.02, 149, 2),
        (0.02, 49, 0),
        (0.29, 100, 29),
        (0.999, 1000, 999),
        (1.0, 100, 1),
        (3.0, 100, 3),
        (0.5, 0, 0),
    ],
)
def test_max_rejected_is_a_count_or_a_share(max_rejected: float, read: int, allowed: int) -> None:
    assert FailureBudget(max_rejected).allowed(read) == allowed


@pytest.mark.parametrize(
    "max_rejected", [-1, -0.1, 1.5, True, "5", None, float("nan"), float("inf"), Decimal(1)], ids=repr
)
def test_max_rejected_that_means_nothing(max_rejected: Any) -> None:
    with pytest.raises(AdjustConfigurationError, match="max_rejected is a count"):
        FailureBudget(max_rejected)


def test_tolerate_is_a_list() -> None:
    assert FailureBudget.of(2, ["duplicate", "expired"]) == FailureBudget(2, frozenset({"duplicate", "expired"}))
    with pytest.raises(AdjustConfigurationError, match=r"such as \['duplicate'\]"):
        FailureBudget.of(0, "duplicate")


REFUSED, UNSETTLED = RejectedBudgetExceeded, EventsUnresolved


@pytest.mark.parametrize(
    ("outcomes", "budget", "error"),
    [
        pytest.param({}, {}, None, id="all delivered"),
        pytest.param({"duplicate": 50}, {}, None, id="duplicates are tolerated by default"),
        pytest.param({"duplicate": 1}, {"tolerate": frozenset()}, REFUSED, id="unless they are not"),
        pytest.param({"skipped": 50}, {"tolerate": frozenset()}, None, id="skipped is delivered already"),
        pytest.param({"rejected": 1}, {}, REFUSED, id="one rejected"),
        pytest.param({"invalid": 1}, {}, REFUSED, id="one invalid"),
        pytest.param({"expired": 1}, {}, REFUSED, id="one expired"),
        pytest.param({"rejected": 1, "invalid": 1, "expired": 1}, {"max_rejected": 3}, None, id="as many as allowed"),
        pytest.param({"rejected": 2, "invalid": 1, "expired": 1}, {"max_rejected": 3}, REFUSED, id="one more"),
        pytest.param({"rejected": 2}, {"max_rejected": 0.02}, None, id="the share allowed"),
        pytest.param({"rejected": 3}, {"max_rejected": 0.02}, REFUSED, id="above the share"),
        pytest.param({"rejected": 9}, {"tolerate": DUPLICATES | {"rejected"}}, None, id="a tolerated outcome"),
        pytest.param({"rejected": 9}, {"tolerate": DUPLICATES | {"rejected_reason"}}, None, id="a tolerated reason"),
        pytest.param({"rejected": 9}, {"tolerate": frozenset({"invalid"})}, REFUSED, id="another tolerated"),
        pytest.param({"held": 1}, {"max_rejected": 50}, UNSETTLED, id="held is no refusal"),
        pytest.param({"in_doubt": 1}, {"max_rejected": 50}, UNSETTLED, id="nor is in doubt"),
        pytest.param({"in_doubt": 1}, {"tolerate": frozenset({"in_doubt"})}, None, id="in doubt tolerated by name"),
        pytest.param({"held": 1, "rejected": 1}, {}, UNSETTLED, id="a retry may help, so unresolved goes first"),
        pytest.param(
            {"held": 1, "rejected": 1}, {"tolerate": frozenset({"held"})}, REFUSED, id="held tolerated, rejected not"
        ),
    ],
)
def test_when_a_run_fails(outcomes: dict[str, int], budget: dict[str, Any], error: type[Exception] | None) -> None:
    summary = _counted(**outcomes)
    if error is None:
        FailureBudget(**budget).check(summary, rejected_path=None)
    else:
        with pytest.raises(error):
            FailureBudget(**budget).check(summary, rejected_path=None)


def test_the_error_says_what_is_missing_and_what_to_do() -> None:
    summary = _summary(
        *[_receipt("rejected", "device_not_found", revenue="7.50", currency="USD")] * 3, _receipt("delivered")
    )
    with pytest.raises(RejectedBudgetExceeded) as caught:
        FailureBudget(0.25).check(summary, rejected_path="s3://bucket/rejected.jsonl")
    message = str(caught.value)
    assert message.startswith("3 of 4 events were refused; max_rejected allows 1.\n")
    assert "3 device_not_found, 22.50 USD: a retry cannot help; check the environment and the app token" in message
    assert "first: row 1 (event an-id): Device not found" in message
    assert "send the rejected file again" in message
    assert "they are in s3://bucket/rejected.jsonl" in message
    assert GPS_ADID not in message


def test_the_error_of_unresolved_events_says_that_a_retry_may_help() -> None:
    with pytest.raises(EventsUnresolved) as caught:
        FailureBudget().check(_counted(held=2, in_doubt=1, rejected=4), rejected_path=None)
    message = str(caught.value)
    assert message.startswith("3 of 100 events are held or in doubt, 4 were refused.\n")
    assert "retry the task; events in doubt may already be in Adjust" in message
    assert "set rejected_path" in message


@pytest.mark.parametrize("path", [None, "s3://bucket/night.try2.jsonl"])
def test_a_file_that_was_deleted_before_the_retry_is_named(path: str | None) -> None:
    with pytest.raises(RejectedBudgetExceeded) as failure:
        FailureBudget().check(_counted(rejected=4), rejected_path=path, deleted_path="s3://bucket/night.jsonl")
    message = str(failure.value)
    assert "the list of an earlier try, s3://bucket/night.jsonl, was deleted" in message
    assert "set rejected_path" not in message
    assert (path is None) or (f"they are in {path};" in message)


# --- words ------------------------------------------------------------------------------------------------------------


def test_the_table_of_a_run() -> None:
    summary = _summary(
        *[_receipt("delivered", revenue="1234.50", currency="USD")] * 2,
        _receipt("delivered", revenue="3", currency="EUR", ip_address="::1", created_at=NOW - timedelta(hours=1)),
        *[_receipt("rejected", "device_not_found", revenue="7", currency="USD")] * 2,
        _receipt("invalid", "missing_device_id"),
    )
    assert summary_table(summary).splitlines() == [
        "outcome    events  revenue",
        "---------  ------  ----------------------",
        "read            6",
        "delivered       3  3 EUR, 2,469.00 USD",
        "rejected        2",
        "invalid         1",
        "adjusted        1  left out: ip_address 1",
        "",
        "reason                      events  revenue affected",
        "--------------------------  ------  ----------------",
        "rejected: device_not_found       2  14 USD",
        "invalid: missing_device_id       1",
        "delivered events from 2026-05-01T11:00:00+00:00 to 2026-05-01T12:00:00+00:00",
    ]


def test_the_advice_of_a_bad_night_begins_with_the_largest_revenue() -> None:
    summary = _summary(
        *[_receipt("invalid", "missing_device_id")] * 9,
        *[_receipt("rejected", "device_not_found", revenue="2.00", currency="EUR")] * 3,
        *[_receipt("rejected", "bad_event_state", revenue="3500.75", currency="USD")] * 2,
        _receipt("held", "lane_held", revenue=1, currency="USD"),
        _receipt("duplicate", "earlier_unique_event", revenue=9, currency="USD"),
        _receipt("delivered"),
    )
    lines = advice_lines(summary)
    assert [line.partition(":")[0] for line in lines[::2]] == [
        "2 bad_event_state, 7,001.50 USD",
        "3 device_not_found, 6.00 EUR",
        "1 lane_held, 1 USD",
        "9 missing_device_id",
    ]
    assert lines[0].endswith(f": {reason_of('bad_event_state').advice}")
    assert ": a retry may help; " in lines[4]
    assert summary_report(summary) == summary_table(summary) + "\n\n" + "\n".join(lines)


@pytest.mark.parametrize(("reasons", "last"), [(6, "  first: row 1 "), (7, "and 1 more"), (40, "and 34 more")])
def test_advice_is_on_six_reasons_at_most(reasons: int, last: str) -> None:
    lines = advice_lines(_summary(*(_receipt("invalid", f"reason_{number}") for number in range(reasons))))
    assert len([line for line in lines if line.startswith("1 reason_")]) == 6
    assert lines[-1].startswith(last)


def test_the_advice_omits_the_first_row_if_a_checkpoint_had_no_room_for_it() -> None:
    summary = _summary(_receipt("expired", "expired"))
    summary.first_details.clear()
    assert advice_lines(summary) == [f"1 expired: {reason_of('expired').advice}"]


def test_a_failure_advises_on_nothing_that_is_tolerated() -> None:
    summary = _summary(
        *[_receipt("rejected", "device_not_found", revenue="9.00", currency="EUR")] * 3,
        _receipt("expired", "expired"),
        _receipt("rejected", "bad_event_state"),
    )
    with pytest.raises(RejectedBudgetExceeded) as caught:
        FailureBudget(tolerate=frozenset({"device_not_found", "expired"})).check(summary, rejected_path=None)
    assert "\n1 bad_event_state: a retry cannot help; " in str(caught.value)
    assert "3 device_not_found, 27.00 EUR: " not in str(caught.value)
    assert "1 expired: " not in str(caught.value)
    # The tables of the log have them all the same.
    assert "rejected: device_not_found" in summary_report(summary)


def test_a_success_says_what_is_missing_in_events_and_money() -> None:
    assert missing_line(_summary(_receipt("delivered"), _receipt("duplicate", "earlier_unique_event"))) == ""
    summary = _summary(
        _receipt("delivered", revenue="5.00", currency="EUR"),
        _receipt("expired", "expired"),
        *[_receipt("rejected", "device_not_found", revenue="600.00", currency="EUR")] * 2,
        _receipt("rejected", "bad_event_state", revenue="700.50", currency="USD"),
        _receipt("skipped", "differs_from_delivered", revenue="1.00", currency="EUR"),
    )
    assert missing_line(summary) == (
        "5 of 6 events, 1,201.00 EUR, 700.50 USD, were not delivered, although the task succeeds (max_rejected, tolerate): "
        "2 device_not_found, 1 bad_event_state, 1 differs_from_delivered, 1 expired"
    )


def test_a_night_that_is_all_delivered_needs_no_advice() -> None:
    summary = _summary(_receipt("delivered"), _receipt("duplicate", "earlier_unique_event"))
    assert summary_report(summary) == summary_table(summary)


def test_the_first_row_of_each_reason_is_kept_and_shown_on_one_line() -> None:
    summary = _summary(
        Receipt(Outcome.INVALID, "invalid_revenue", "o-1", 7, "revenue 'x' is not\x1b a number"),
        Receipt(Outcome.INVALID, "invalid_revenue", "o-2", 8, "revenue 'y' is not a number"),
        Receipt(Outcome.INVALID, "not_a_row", None, 1_234),
        Receipt(Outcome.INVALID, "too_large", "e" * 99, 9, "x" * 999),
    )
    long_one = f"row 9 (event {'e' * 39}…): {'x' * 199}…"
    assert list(summary.first_details.values()) == [
        "row 7 (event o-1): revenue 'x' is not\\x1b a number",
        "row 1,234",
        long_one,
    ]
    assert summary.copy().first_details == summary.first_details


@pytest.mark.parametrize(
    ("reasons", "tolerate", "advice"),
    [
        ({"too_many_resends": 1}, (), "look up the events in doubt in Adjust; a retry does not send them"),
        ({"too_many_resends": 1, "no_answer": 1}, (), "retry the task"),
        ({"too_many_resends": 1, "no_answer": 1}, ("no_answer",), "look up the events in doubt"),
    ],
)
def test_a_retry_is_advised_only_where_it_can_help(
    reasons: dict[str, int], tolerate: tuple[str, ...], advice: str
) -> None:
    summary = _summary(*[_receipt("in_doubt", reason) for reason in reasons])
    with pytest.raises(EventsUnresolved, match=f"What to do: {advice}"):
        FailureBudget(tolerate=frozenset(tolerate)).check(summary, rejected_path=None)


@pytest.mark.parametrize("outcome", sorted(set(FINAL_OUTCOMES) - {Outcome.DELIVERED, Outcome.INVALID}))
def test_the_times_are_those_of_delivered_events(outcome: str) -> None:
    """They are the days for which Adjust's report is waited for."""
    long_ago, later = NOW - timedelta(days=9), NOW - timedelta(hours=1)
    other = _receipt(outcome, "some_reason", created_at=long_ago)
    assert (_summary(other).first_event_at, _summary(other).last_event_at) == (None, None)
    summary = _summary(other, _receipt("delivered", created_at=later), _receipt("delivered"), other)
    assert (summary.first_event_at, summary.last_event_at) == (later, NOW)


def test_what_earlier_runs_have_settled_is_one_line() -> None:
    known = [_receipt("skipped", "delivered_before")] * 3 + [_receipt("skipped", "refused_before")]
    summary = _summary(*known, _receipt("skipped", "another_reason"), _receipt("rejected", "device_not_found"))
    assert (summary.read, summary.known, summary.new) == (6, 4, 2)
    assert summary_table(summary).splitlines() == [
        "outcome   events  revenue",
        "--------  ------  -------------------------",
        "read           6",
        "skipped        5  4 settled by earlier runs",
        "rejected       1",
        "",
        "reason                      events  revenue affected",
        "--------------------------  ------  ----------------",
        "skipped: another_reason          1",
        "rejected: device_not_found       1",
    ]


@pytest.mark.parametrize(("max_rejected", "fails"), [(0.1, True), (0.5, False), (1, False)])
def test_a_share_is_not_diluted_by_what_earlier_runs_have_settled(max_rejected: float, fails: bool) -> None:
    known = [_receipt("skipped", "delivered_before")] * 98
    summary = _summary(*known, _receipt("delivered"), _receipt("rejected", "device_not_found"))
    budget = FailureBudget(max_rejected)
    if fails:
        message = "1 of 2 new events (98 of 100 were settled by earlier runs) were refused; max_rejected allows 0."
        with pytest.raises(RejectedBudgetExceeded, match=f"^{re.escape(message)}"):
            budget.check(summary, rejected_path=None)
    else:
        budget.check(summary, rejected_path=None)


def test_the_table_of_nothing() -> None:
    assert summary_table(DeliverySummary()).splitlines() == [
        "outcome  events  revenue",
        "-------  ------  -------",
        "read          0",
    ]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        pytest.param({"seconds": 10}, "100 events settled, 98 delivered, 2 not delivered, 10/s", id="length unknown"),
        pytest.param(
            {"seconds": 20, "expected": 200},
            "100 of 200 events settled (50%), 98 delivered, 2 not delivered, 5/s, about 20 s left",
            id="half of it",
        ),
        pytest.param(
            {"seconds": 19.9, "expected": 200},
            "100 of 200 events settled (50%), 98 delivered, 2 not delivered, 5/s",
            id="too early to tell what is left",
        ),
        pytest.param(
            {"seconds": 40, "expected": 200, "settled_before": 80},
            "100 of 200 events settled (50%), 80 of them before this try, 98 delivered, 2 not delivered, 0/s, about "
            "3 min 20 s left",
            id="a try that went on from another",
        ),
        pytest.param(
            {"seconds": 30, "waiting_for": "3 looked up in the Device API"},
            "100 events settled, 98 delivered, 2 not delivered, 3/s, 3 looked up in the Device API",
            id="waiting",
        ),
        pytest.param(
            {"seconds": 100, "expected": 1000},
            "100 of 1,000 events settled (10%), 98 delivered, 2 not delivered, 1/s, about 15 min 0 s left",
            id="minutes left",
        ),
        pytest.param(
            {"seconds": 100, "expected": 10_000, "slowed_to": "4 in flight"},
            "100 of 10,000 events settled (1%), 98 delivered, 2 not delivered, 1/s, slowed down by Adjust to 4 in flight, "
            "about 2 h 45 min left",
            id="hours left, slowed down",
        ),
        pytest.param(
            {"seconds": 20, "expected": 50},
            "100 of 50 events settled (200%), 98 delivered, 2 not delivered, 5/s, about 0 s left",
            id="more than expected",
        ),
        pytest.param(
            {"seconds": 0, "expected": 0}, "100 events settled, 98 delivered, 2 not delivered, 0/s", id="at once"
        ),
        pytest.param(
            {"seconds": 0, "expected": 200},
            "100 of 200 events settled (50%), 98 delivered, 2 not delivered, 0/s",
            id="no rate",
        ),
    ],
)
def test_the_progress_line_of_a_running_delivery(facts: dict[str, Any], line: str) -> None:
    assert progress_line(_counted(rejected=1, held=1), **facts) == line


@pytest.mark.parametrize(("tolerate", "fails"), [((), True), (("differs_from_delivered",), False)])
def test_an_event_that_adjust_has_with_another_content_is_a_refusal_unless_tolerated(
    tolerate: tuple[str, ...], fails: bool
) -> None:
    summary = _summary(_receipt("skipped", "differs_from_delivered", revenue=3, currency="USD"), _receipt("delivered"))
    budget = FailureBudget(tolerate=frozenset(tolerate))
    if fails:
        with pytest.raises(
            RejectedBudgetExceeded, match="1 differs_from_delivered, 3 USD: a retry cannot help; send the difference"
        ):
            budget.check(summary, rejected_path=None)
    else:
        budget.check(summary, rejected_path=None)
