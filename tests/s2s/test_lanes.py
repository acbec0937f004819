"""Which event may be sent now: examples, then a slow model that decides the same by looking at everything each time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from s2s_case import pending as job

from airflow_provider_adjust.s2s.delivery.lanes import Pending, Schedule


def _ready(schedule: Schedule) -> list[int]:
    """Take everything that may be sent now; the positions in the order in which it is offered."""
    positions = []
    while (taken := schedule.next_ready()) is not None:
        positions.append(taken.position)
    return positions


def _filled(*jobs: Pending) -> Schedule:
    schedule = Schedule()
    for each in jobs:
        assert schedule.add(each)
    return schedule


def test_nothing_is_ready_in_an_empty_schedule() -> None:
    assert Schedule().next_ready() is None
    assert len(Schedule()) == 0


def test_a_lane_has_one_event_in_flight_and_keeps_its_order() -> None:
    first, second, third = job(1, "a"), job(2, "a"), job(3, "a")
    schedule = _filled(first, second, third)
    assert _ready(schedule) == [1]
    schedule.settle(first)
    assert _ready(schedule) == [2]
    schedule.settle(second)
    assert _ready(schedule) == [3]
    schedule.settle(third)
    assert len(schedule) == 0


def test_lanes_do_not_wait_for_one_another() -> None:
    assert _ready(_filled(job(1, "a"), job(2, "b"), job(3, "a"), job(4, "c"))) == [1, 2, 4]


def test_one_device_under_another_event_token_is_another_lane() -> None:
    assert _ready(_filled(job(1, "a"), job(2, "a", token="other1"))) == [1, 2]


def test_an_event_with_several_ids_waits_for_all_of_them() -> None:
    first, second, both = job(1, "a"), job(2, "b"), job(3, "a", "b")
    schedule = _filled(first, second, both)
    assert _ready(schedule) == [1, 2]
    schedule.settle(first)
    assert _ready(schedule) == []
    schedule.settle(second)
    assert _ready(schedule) == [3]


def test_an_event_with_several_ids_blocks_all_of_them() -> None:
    both, first, second = job(1, "a", "b"), job(2, "a"), job(3, "b")
    schedule = _filled(both, first, second)
    assert _ready(schedule) == [1]
    schedule.settle(both)
    assert _ready(schedule) == [2, 3]


def test_two_events_that_share_two_ids_are_released_once() -> None:
    first, second = job(1, "a", "b"), job(2, "b", "a")
    schedule = _filled(first, second)
    assert _ready(schedule) == [1]
    schedule.settle(first)
    assert _ready(schedule) == [2]


def test_while_an_event_waits_for_a_retry_its_lane_waits_with_it() -> None:
    first, second, other = job(1, "a"), job(2, "a"), job(3, "b")
    schedule = _filled(first, second)
    assert _ready(schedule) == [1]
    assert _ready(schedule) == []
    schedule.add(other)
    schedule.make_ready(first)
    assert _ready(schedule) == [1, 3]


def test_the_event_that_was_added_first_is_offered_first_wherever_its_row_stood() -> None:
    first = job(3, "a")
    schedule = _filled(first, job(2, "b"))
    assert schedule.next_ready() is first
    schedule.add(job(1, "c"))
    schedule.make_ready(first)
    assert _ready(schedule) == [3, 2, 1]


def test_holding_an_event_returns_what_waited_behind_it_in_order() -> None:
    first = job(1, "a")
    schedule = _filled(first, job(2, "a"), job(3, "b"), job(4, "a"))
    assert _ready(schedule) == [1, 3]
    assert [held.position for held in schedule.hold(first)] == [2, 4]
    assert len(schedule) == 1
    assert _ready(schedule) == []


def test_a_held_lane_takes_no_more_events_and_others_do() -> None:
    first = job(1, "a")
    schedule = _filled(first)
    assert _ready(schedule) == [1]
    schedule.hold(first)
    assert not schedule.add(job(2, "a"))
    assert schedule.add(job(3, "b"))
    assert len(schedule) == 1
    assert _ready(schedule) == [3]


def test_an_event_held_in_one_lane_closes_its_others() -> None:
    first, between = job(1, "a"), job(2, "a", "b")
    schedule = _filled(first, between, job(3, "b"), job(4, "b", "c"), job(5, "c"), job(6, "d"))
    assert _ready(schedule) == [1, 6]
    assert [held.position for held in schedule.hold(first)] == [2, 3, 4, 5]
    for closed in "abc":
        assert not schedule.add(job(7, closed))


def test_an_event_refused_by_a_held_lane_closes_its_others_too() -> None:
    first = job(1, "a")
    schedule = _filled(first)
    assert _ready(schedule) == [1]
    schedule.hold(first)
    assert not schedule.add(job(2, "a", "b"))
    assert not schedule.add(job(3, "b"))


def test_an_event_that_is_not_to_be_sent_closes_the_lanes_behind_it() -> None:
    earlier = job(1, "a")
    schedule = _filled(earlier)
    schedule.close(job(2, "a", "b"))
    assert len(schedule) == 1
    for closed in "ab":
        assert not schedule.add(job(3, closed))
    assert schedule.ready
    assert _ready(schedule) == [1]
    assert not schedule.ready
    schedule.settle(earlier)
    assert len(schedule) == 0


def test_the_events_before_a_held_event_in_its_other_lane_continue() -> None:
    earlier, first, both = job(1, "b"), job(2, "a"), job(3, "a", "b")
    schedule = _filled(earlier, first, both)
    assert _ready(schedule) == [1, 2]
    assert [held.position for held in schedule.hold(first)] == [3]
    schedule.settle(earlier)
    assert len(schedule) == 0


def test_settling_out_of_order_is_a_defect_that_is_not_passed_over() -> None:
    schedule = _filled(job(1, "a"), second := job(2, "a"))
    with pytest.raises(AssertionError, match="before the older ones"):
        schedule.settle(second)


@dataclass
class SlowModel:
    """The rules as they are written down, each time over all events; ``lanes`` of an event by its position."""

    lanes: dict[int, frozenset[str]] = field(default_factory=dict)
    state: dict[int, str] = field(default_factory=dict)  # waiting, in flight, settled, held

    def add(self, position: int, devices: frozenset[str]) -> bool:
        held = any(self.lanes[other] & devices for other, state in self.state.items() if state == "held")
        self.lanes[position] = devices
        self.state[position] = "held" if held else "waiting"
        return not held

    def open(self) -> list[int]:
        return [position for position, state in self.state.items() if state in {"waiting", "in flight"}]

    def ready(self) -> list[int]:
        return [
            position
            for position, state in sorted(self.state.items())
            if state == "waiting"
            and not any(other < position and self.lanes[other] & self.lanes[position] for other in self.open())
        ]

    def in_flight(self) -> list[int]:
        return [position for position, state in self.state.items() if state == "in flight"]

    def hold(self, position: int) -> list[int]:
        held = {position}
        while True:
            more = {
                later
                for later in self.open()
                if later not in held and any(later > h and self.lanes[later] & self.lanes[h] for h in held)
            }
            if not more:
                break
            held |= more
        for each in held:
            self.state[each] = "held"
        return sorted(held - {position})


@settings(max_examples=examples(300))
@given(st.data())
def test_the_schedule_does_what_the_slow_model_does(data: st.DataObject) -> None:
    schedule, model = Schedule(), SlowModel()
    jobs: dict[int, Pending] = {}
    to_add = data.draw(
        st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True), min_size=1, max_size=14),
        label="events",
    )
    waiting = list(enumerate(to_add, start=1))
    while waiting or model.open():
        actions = (
            ["add"] * bool(waiting)
            + ["take"] * bool(model.ready())
            + ["settle", "hold", "retry"] * bool(model.in_flight())
        )
        action = data.draw(st.sampled_from(actions), label="action")
        if action == "add":
            position, devices = waiting.pop(0)
            jobs[position] = job(position, *devices)
            assert schedule.add(jobs[position]) == model.add(position, frozenset(devices))
        elif action == "take":
            taken = schedule.next_ready()
            assert taken is not None
            assert taken.position == model.ready()[0]
            model.state[taken.position] = "in flight"
        else:
            position = data.draw(st.sampled_from(model.in_flight()), label="position")
            if action == "settle":
                schedule.settle(jobs[position])
                model.state[position] = "settled"
            elif action == "hold":
                assert [held.position for held in schedule.hold(jobs[position])] == model.hold(position)
            else:
                schedule.make_ready(jobs[position])
                model.state[position] = "waiting"
        flying = [lane for position in model.in_flight() for lane in jobs[position].event.lanes]
        assert len(flying) == len(set(flying))
        assert len(schedule) == len(model.open())
        if not model.ready():
            assert schedule.next_ready() is None
    assert schedule.next_ready() is None
    assert set(model.state.values()) <= {"settled", "held"}
    assert schedule._lanes == {}
