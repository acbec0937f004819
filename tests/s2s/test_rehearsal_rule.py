"""What is revenue, and what a rehearsal: by the host that events went to, in Python and in a query alike."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_adjust.s2s import AllowedHosts
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.rehearsals import environment_at, set_up_environment, shown_environment
from airflow_provider_adjust.s2s.ledger.schema import scopes, totals, tries

HOSTS = AllowedHosts.parse(
    ["*.adjust.com", "s2s_gate.example.com:8443", "10.1.2.3", "[2001:db8::1]", "127.0.0.1", "localhost", "loopback"]
)
REAL = ("s2s.adjust.com", "s2s.eu.adjust.com", "s2s_gate.example.com", "10.1.2.3", "2001:db8::1", "")
NOT_REAL = (
    *("127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1", "adjust.com", "evil-adjust.com"),
    *(
        "s2s.adjust.com.example.com",
        "s2sxgate.example.com",
        "x.s2s_gate.example.com",
        "10.1.2.30",
        "stand-in.example.com",
    ),
)


def test_only_adjust_and_the_gateways_that_are_allowed_are_real(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    expected = {(host, name): name for host in REAL for name in ("production", "sandbox")}
    expected |= {(host, name): "rehearsal" for host in NOT_REAL for name in ("production", "sandbox")}
    rows = [
        {"destination": host, "app_token": "a", "endpoint": "event", "event_key": "t", "environment": name}
        for host, name in expected
    ]
    with ledger_engine.begin() as connection:
        connection.execute(scopes.insert(), rows)
        query = sa.select(scopes.c.destination, scopes.c.environment, shown_environment(HOSTS))
        found = {(host, name): shown for host, name, shown in connection.execute(query)}
    assert found == expected
    assert {(host, name): environment_at(host, name, HOSTS) for host, name in expected} == expected


def test_what_is_being_sent_is_a_rehearsal_on_this_machine_only() -> None:
    """The hook has checked the host of everything else."""
    for host in ("127.0.0.1", "localhost", "::1"):
        assert environment_at(host, "production") == "rehearsal"
    for host in ("s2s.adjust.com", "gateway.example.com"):
        assert environment_at(host, "sandbox") == "sandbox"


def test_a_try_that_has_only_rehearsed_was_set_up_for_that(ledger_engine: sa.Engine) -> None:
    """Also one of an older provider, which wrote production: its rows that could not be read are of no scope."""
    prepare(ledger_engine)
    hosts = {1: "s2s.adjust.com", 2: "127.0.0.1"}
    scopes_of_tries: dict[int, tuple[int | None, ...]] = {1: (1, None), 2: (2, None), 3: (1, 2), 4: (None,), 5: ()}
    with ledger_engine.begin() as connection:
        for number, host in hosts.items():
            scope = {"app_token": "a", "endpoint": "event", "event_key": "t", "environment": "production"}
            connection.execute(scopes.insert().values(id=number, destination=host, **scope))
        for number, scope_ids in scopes_of_tries.items():
            task = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": number, "try_number": 1}
            moments = dict.fromkeys(("started_at", "heartbeat_at", "lease_until"), sa.func.current_timestamp())
            rest = {"state": "success", "is_latest": True, "read": 0, "error": "", "rejected_path": ""}
            connection.execute(tries.insert().values(id=number, environment="production", **task, **moments, **rest))
            for place, scope_id in enumerate(scope_ids):
                total = {"try_id": number, "number": place, "scope_id": scope_id, "outcome": "invalid", "reason": ""}
                connection.execute(totals.insert().values(events=1, **total))
        query = sa.select(tries.c.id, set_up_environment(HOSTS)).order_by(tries.c.id)
        found = [tuple(each) for each in connection.execute(query)]
    assert dict(found) == {1: "production", 2: "rehearsal", 3: "production", 4: "production", 5: "production"}
