"""A busy page answers 503 with a text, and takes none of Airflow's threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from deliveries_page.conftest import USERS, Visit

pytestmark = pytest.mark.airflow

#: More than the threads that Airflow's API server has for all requests together.
MANY = 50


class Stop:
    """Keeps each answer of the page in its query until it is let go."""

    def __init__(self, dags_in: Callable[[Any], list[str]]) -> None:
        self._dags_in = dags_in
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, connection: Any) -> list[str]:
        self.begun.release()
        assert self.opened.wait(120)
        return self._dags_in(connection)


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stop]:
    from airflow_provider_adjust.deliveries_page import queries

    made = Stop(queries.dags_in)
    monkeypatch.setattr(queries, "dags_in", made)
    yield made
    made.opened.set()


def use_budget(monkeypatch: pytest.MonkeyPatch, **places: int) -> Any:
    from airflow_provider_adjust.deliveries_page import app
    from airflow_provider_adjust.deliveries_page.budget import Budget

    budget = Budget(**places, patience=120)
    monkeypatch.setattr(app, "budget", budget)
    return budget


def ask_and_leave_open(url: str, token: str) -> socket.socket:
    """Send a request, and do not wait for its answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=60)
    client.sendall(f"GET /adjust/ HTTP/1.1\r\nHost: {host}\r\nCookie: _token={token}\r\n\r\n".encode())
    return client


def test_a_full_page_says_so_and_when_to_come_back(
    visit: Visit, api_server: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    budget = use_budget(monkeypatch, at_once=2, waiting=1, per_user=1)
    clients = [ask_and_leave_open(api_server, tokens[who]) for who in ("ada", "bob")]
    assert all(stop.begun.acquire(timeout=60) for _ in clients)
    for who, reason in (
        ("ada", "You have 1 requests under way"),
        ("root", "Too many people are looking at deliveries"),
    ):
        if who == "root":
            clients.append(ask_and_leave_open(api_server, tokens["max"]))
            while budget.taken() < 3:
                httpx.get(f"{api_server}/api/v2/version").raise_for_status()
        for path in ("/", "/runs", "/events", "/dags/shop_purchases", "/dags/shop_purchases/runs/a"):
            response = visit(who, path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "5"
            assert response.headers["cache-control"] == "no-store"
            assert "The page is busy" in response.text
            assert reason in response.text
    stop.opened.set()
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()
    assert visit("ada").status_code == 200


def test_a_client_that_leaves_frees_its_place(
    visit: Visit, api_server: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    budget = use_budget(monkeypatch, at_once=1, waiting=0, per_user=1)
    ask_and_leave_open(api_server, tokens["ada"]).close()
    assert stop.begun.acquire(timeout=60)
    assert visit("root").status_code == 503
    stop.opened.set()
    answers = (visit("root").status_code for _ in range(1000))
    assert 200 in answers
    assert budget.taken() == 0


def test_requests_that_wait_take_none_of_airflows_threads(
    api_server: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    budget = use_budget(monkeypatch, at_once=1, waiting=MANY, per_user=MANY)
    clients = [ask_and_leave_open(api_server, tokens[USERS[number % 2]]) for number in range(MANY)]
    with httpx.Client(base_url=api_server, timeout=60) as airflow:
        while budget.taken() < MANY:
            airflow.get("/api/v2/version").raise_for_status()
        airflow.get("/api/v2/monitor/health").raise_for_status()
    stop.opened.set()
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()
