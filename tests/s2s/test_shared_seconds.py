"""Which events share a second with another of their lane is known on reading, from all rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from s2s_case import NOW, event, row, until_raised

from airflow_provider_adjust.s2s import EventParser, RowOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.intake import Intake
from airflow_provider_adjust.s2s.delivery.seconds import mark_shared_seconds
from airflow_provider_adjust.s2s.errors import StreamOutOfOrder
from airflow_provider_adjust.s2s.events.job import Job


def _jobs(*events: tuple[str, float]) -> list[Job | Receipt]:
    """A job for each device and time; several devices have a letter each."""
    return [Job(event(*devices, at=at), position) for position, (devices, at) in enumerate(events, start=1)]


def _marked(items: Any, **options: Any) -> list[int]:
    """The positions of the events that share a second."""
    return [
        item.position for item in mark_shared_seconds(items, **options) if isinstance(item, Job) and item.shares_second
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([("a", 0), ("a", 0)], [1, 2], id="one device"),
        pytest.param([("a", 0.1), ("a", 0.9)], [1, 2], id="parts of a second"),
        pytest.param([("a", 0.9), ("a", 1.0)], [], id="two seconds"),
        pytest.param([("a", 0), ("b", 0), ("c", 0.3), ("a", 0.5)], [1, 4], id="not adjacent"),
        pytest.param([("ab", 0), ("bc", 0), ("c", 0), ("d", 0)], [1, 2, 3], id="one of several devices"),
        pytest.param([("a", 0), ("a", 1), ("a", 2), ("a", 2)], [3, 4], id="the last second"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_what_shares_a_second_in_a_lane(events: list[tuple[str, float]], expected: list[int]) -> None:
    assert _marked(_jobs(*events)) == expected


def test_another_token_is_another_lane() -> None:
    assert _marked([Job(event("a", token="token1"), 1), Job(event("a", token="token2"), 2)]) == []


@settings(max_examples=examples(200))
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "ab", "c"]), st.integers(0, 12), st.booleans()), max_size=30),
    st.none() | st.integers(1, 8),
)
def test_no_event_that_shares_a_second_goes_unmarked(
    given_events: list[tuple[str, int, bool]], most_held_back: int | None
) -> None:
    items: list[Job | Receipt] = []
    for position, (devices, quarters, is_event) in enumerate(sorted(given_events, key=lambda each: each[1]), start=1):
        at = quarters / 4
        refusal = Receipt(Outcome.INVALID, "invalid_revenue", "x", position)
        items.append(Job(event(*devices, at=at), position) if is_event else refusal)
    marked = set(_marked(items, most_held_back=most_held_back))
    jobs = [item for item in items if isinstance(item, Job)]
    sharing = {
        one.position
        for one in jobs
        for other in jobs
        if one is not other
        and int(one.event.occurred_at.timestamp()) == int(other.event.occurred_at.timestamp())
        and set(one.event.lanes) & set(other.event.lanes)
    }
    assert sharing <= marked
    if most_held_back is None:
        assert marked == sharing
    assert [item.position for item in mark_shared_seconds(items, most_held_back)] == list(range(1, len(items) + 1))


def test_a_second_that_holds_too_much_is_shared_by_all_its_events() -> None:
    second = [(letter, 1) for letter in "abcde"]
    assert _marked(_jobs(("a", 0), *second, ("a", 2)), most_held_back=3) == [2, 3, 4, 5, 6]
    assert _marked(_jobs(("a", 0), *second, ("a", 2)), most_held_back=6) == []


def test_rows_are_held_back_for_their_second_only() -> None:
    """A stream that is slow, or endless, is delivered as it comes."""
    read = 0

    def endless() -> Iterator[Job | Receipt]:
        nonlocal read
        while True:
            read += 1
            yield Job(event("a", at=read / 3), read)

    items = mark_shared_seconds(endless())
    for position in range(1, 100):
        assert next(items).position == position
        assert read - position <= 5


def test_what_has_no_time_is_held_back_by_nothing() -> None:
    refusals = [Receipt(Outcome.INVALID, "missing_created_at", None, position) for position in (1, 2)]
    items = mark_shared_seconds(iter([*refusals, *_jobs(("a", 0))]))
    assert [next(items), next(items)] == refusals


def test_an_error_of_the_stream_leaves_its_last_second_untold() -> None:
    """What was read before it is delivered first."""

    def broken() -> Iterator[Job | Receipt]:
        yield from _jobs(("a", 0), ("b", 1))
        raise ConnectionError

    items, _ = until_raised(mark_shared_seconds(broken()), ConnectionError)
    assert [(item.position, item.shares_second) for item in items] == [(1, False), (2, True)]


def _rows(*seconds: float) -> list[dict[str, Any]]:
    return [row(created_at=NOW + timedelta(seconds=at - 100), revenue=at + 1, currency="USD") for at in seconds]


@pytest.mark.parametrize("read", [Intake.sorted, Intake.stream], ids=["list", "stream"])
def test_rows_are_marked_where_events_are_to_be_looked_up(read: Any) -> None:
    for mark_seconds, expected in ((True, [False, True, True, False]), (False, [False] * 4)):
        intake = Intake({None: EventParser(RowOptions())}, mark_seconds=mark_seconds, now=lambda: NOW)
        items = list(read(intake, _rows(1, 2, 2.5, 3)))
        assert [item.shares_second for item in items] == expected
        assert intake.read == 4


def test_a_list_is_marked_whatever_the_order_and_the_number_of_its_rows() -> None:
    intake = Intake({None: EventParser(RowOptions())}, mark_seconds=True, now=lambda: NOW)
    items = list(intake.sorted(_rows(3.5, 1, 2, 3)))
    assert [(item.position, isinstance(item, Job) and item.shares_second) for item in items] == [
        (2, False),
        (3, False),
        (4, True),
        (1, True),
    ]


def test_rows_before_one_that_is_out_of_order_are_handed_on_and_counted() -> None:
    intake = Intake({None: EventParser(RowOptions())}, mark_seconds=True, now=lambda: NOW)
    items, _ = until_raised(intake.stream(_rows(1, 2, 1)), StreamOutOfOrder)
    assert [item.position for item in items] == [1, 2]
    assert intake.read == 2
