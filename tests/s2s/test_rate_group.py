"""Tasks that share a limit: their parts never add up to more, and nothing of it is left unused for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from effort import examples
from fake_transport import FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from s2s_case import NOW, row

from airflow_provider_adjust.s2s import Route, Sender, SendOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger import lease, rate_group
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.rate_group import BEAT, KNOWN_FOR, RateShare, members
from airflow_provider_adjust.s2s.ledger.schema import tries
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.sandbox import SandboxServer

#: The database's time at second 0 of the tests' clock.
START = datetime(2026, 5, 1)
#: Seconds between two looks at the parts.
STEP = 0.5


class Simulated:
    """A try on a clock that a test moves; the ledger's table is real."""

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self.connection = connection
        self.share = RateShare()
        self.beats_at = now
        task = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
        rest = {"state": "running", "is_latest": True, "read": 0, "error": "", "rejected_path": ""}
        at = START + timedelta(seconds=now)
        times = {"started_at": at, "heartbeat_at": at, "lease_until": at}
        made = connection.execute(tries.insert().values(**task, **rest, **times, rate_group="adjust"))
        self.id = made.inserted_primary_key[0]  # type: ignore[index]

    def beat(self, now: float, answer_takes: float) -> None:
        """As ``Lease.renew`` does it; the database reads its clock some time after the question."""
        at = START + timedelta(seconds=now + answer_takes / 2)
        self.connection.execute(tries.update().where(tries.c.id == self.id).values(heartbeat_at=at))
        begin_in = members(self.connection, "adjust", at)
        self.share.see(begin_in, asked_at=now, now=now + answer_takes)
        self.beats_at = now + BEAT

    def end(self, now: float) -> None:
        values = {"ended_at": START + timedelta(seconds=now)}
        self.connection.execute(tries.update().where(tries.c.id == self.id).values(values))


@pytest.fixture(scope="module")
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    prepare(engine)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


#: What befalls the group at a step: a try comes, ends, is killed, or hangs for some seconds.
_happenings = st.lists(
    st.tuples(
        st.integers(0, 80),
        st.sampled_from(["comes", "comes", "ends", "is killed", "hangs"]),
        st.integers(0, 7),
        st.floats(1.0, 20.0),
    ),
    min_size=1,
    max_size=16,
)


@settings(max_examples=examples(60), deadline=None)
@given(happenings=_happenings, answer_takes=st.floats(0.0, 0.4))
def test_the_parts_never_add_up_to_more_than_the_limit(
    connection: sa.Connection, happenings: list[Any], answer_takes: float
) -> None:
    """Whatever comes, ends, is killed or hangs, and when: each moment the parts are at most the whole. A while after the
    last change they are the whole, and equal."""
    connection.execute(tries.delete())
    alive: list[Simulated] = []
    for step in range(80 + int(3 * KNOWN_FOR / STEP)):
        now = 100.0 + step * STEP
        for _, what, which, seconds in (each for each in happenings if each[0] == step):
            if what == "comes":
                alive.append(Simulated(connection, now))
            elif alive and step < 80:
                each = alive[which % len(alive)]
                if what == "hangs":
                    each.beats_at = min(now + seconds, 140.0)
                    continue
                alive.remove(each)
                if what == "ends":
                    each.end(now)
        for each in alive:
            if now >= each.beats_at:
                each.beat(now, answer_takes)
        parts = [each.share.at(now + answer_takes) for each in alive]
        assert sum(parts) <= 1 + 1e-9, now
    assert parts == pytest.approx([1 / max(1, len(alive))] * len(alive))


def test_a_new_try_takes_nothing_from_the_others_before_it_sends(connection: sa.Connection) -> None:
    """And when it begins, they make room in the same moment."""
    connection.execute(tries.delete())
    first, second = Simulated(connection, 0.0), None
    seen = []
    for step in range(100):
        now = step * 0.25
        if now == 10.0:
            second = Simulated(connection, now)
        for each in filter(None, (first, second)):
            if now >= each.beats_at:
                each.beat(now, 0.0)
        seen.append((now, first.share.at(now), second.share.at(now) if second else None))
    assert {parts for now, *parts in [(at, (one, two)) for at, one, two in seen] for parts in parts} == {
        (0.0, None),
        (1.0, None),
        (1.0, 0.0),
        (0.5, 0.5),
    }
    assert next(now for now, _, part in seen if part) == 10.0 + KNOWN_FOR


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats that a test can wait for."""
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(rate_group, "KNOWN_FOR", 1.0)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("quick")
def test_tries_of_a_group_share_its_limit_and_others_do_not(ledger_engine: sa.Engine) -> None:
    def ledger(run: str, group: str) -> Ledger:
        made = Ledger(ledger_engine, TaskInstanceId("dag", run, "send"))
        made.attach({}, rate_group=group)
        return made

    alone, of_another_group = ledger("alone", ""), ledger("b", "another")
    one = ledger("one", "adjust")
    assert (alone.rate_share(), one.rate_share()) == (1.0, 0.0)
    wait_until(lambda: one.rate_share() == of_another_group.rate_share() == 1.0)
    two = ledger("two", "adjust")
    wait_until(lambda: one.rate_share() == two.rate_share() == 0.5)
    two.end()
    wait_until(lambda: one.rate_share() == 1.0)
    for each in (alone, of_another_group, one, two):
        each.close()


@pytest.mark.usefixtures("quick")
def test_a_task_of_a_group_sends_when_its_turn_comes(tmp_path: Path, adjust_sandbox: SandboxServer) -> None:
    adjust_sandbox.configure(clock=NOW.timestamp)
    ledger = Ledger(sa.create_engine(f"sqlite:///{tmp_path}/ledger.db"), TaskInstanceId("dag", "run", "send"))
    transport = RequestsTransport(max_in_flight=2, timeout=(5.0, 5.0))
    options = SendOptions(rate_group="adjust", max_events_per_second=1_000.0)
    routes = {None: Route(EventParser(), Target(f"{adjust_sandbox.url}/event", "T"))}
    sender = Sender(routes, transport, options, ledger=ledger, now=lambda: NOW)
    assert [each.outcome.value for each in sender.send([row(gps_adid="a"), row(gps_adid="b")])] == ["delivered"] * 2
    transport.close()
    ledger.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_group": ""}, "rate_group must be a name"),
        ({"rate_group": "x" * 65}, "rate_group must be a name of 1 to 64"),
        ({"rate_group": "a\0b"}, "rate_group must be a name"),
        ({"max_events_per_second": 0}, "max_events_per_second=0 must be a number above 0"),
        ({"max_events_per_second": -5.0}, "above 0"),
        ({"max_events_per_second": float("nan")}, "above 0"),
        ({"max_events_per_second": float("inf")}, "above 0"),
        ({"max_in_flight": 0}, "max_in_flight=0 must be 1 or more"),
        ({"late_param": ""}, "late_param must be"),
    ],
)
def test_an_invalid_limit_or_name_is_refused(options: dict[str, Any], message: str) -> None:
    """Such as a limit that a division of whole numbers has made 0: it would be none at all."""
    routes = {None: Route(EventParser(), Target("https://x/event", "T"))}
    with pytest.raises(AdjustConfigurationError, match=message):
        Sender(routes, FakeTransport(), SendOptions(**{"max_events_per_second": 5.0, **options}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_group": "adjust"}, "rate_group needs max_events_per_second"),
        ({"rate_group": "adjust", "max_events_per_second": 5.0}, "rate_group needs ledger_conn_id"),
    ],
)
def test_a_group_needs_a_limit_and_a_ledger(options: dict[str, Any], message: str) -> None:
    sender = Sender(
        {None: Route(EventParser(), Target("https://x/event", "T"))}, FakeTransport(), SendOptions(**options)
    )
    with pytest.raises(AdjustConfigurationError, match=message):
        list(sender.send([row()]))
