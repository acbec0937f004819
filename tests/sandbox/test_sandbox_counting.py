"""Counts over many requests."""

from __future__ import annotations

from sandbox_event import Send

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sandbox.faults import FaultSource


def test_revenue_is_summed_without_rounding(sandbox: SandboxServer, send: Send) -> None:
    for revenue in ("99999999999.123456789", "0.1", "0.2"):
        assert send(revenue=revenue, currency="EUR").status_code == 200
    assert sandbox.stats()["revenue"] == {"EUR": "99999999999.423456789"}


def test_consecutive_requests_are_not_concurrent(sandbox: SandboxServer, send: Send) -> None:
    for _ in range(5):
        assert send().status_code == 200
    stats = sandbox.stats()
    assert (stats["max_concurrent"], stats["max_concurrent_per_lane"]) == (1, 1)


def test_every_fault_gets_its_own_share() -> None:
    source = FaultSource({"503": 0.2, "429": 0.2, "reset_after": 0.2}, (), seed=1)
    met = [source.next() for _ in range(5000)]
    for kind in ("503", "429", "reset_after"):
        assert 0.17 < met.count(kind) / len(met) < 0.23
