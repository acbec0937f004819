"""The count of concurrent requests when only the kernel knows yet that a client has left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_adjust.sandbox.in_flight import InFlight

LANE = (1,)


class Connection(asyncio.Transport):
    """The server's end of a connection, which does not notice that the client closes its end."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        super().__init__({"socket": server})

    def is_closing(self) -> bool:
        return False

    def end(self) -> None:
        self.client.close()
        self.get_extra_info("socket").close()


@pytest.fixture
def connect() -> Iterator[Callable[[], Connection]]:
    connections: list[Connection] = []

    def connect() -> Connection:
        connections.append(Connection())
        return connections[-1]

    yield connect
    for connection in connections:
        connection.end()


def test_two_open_requests_of_a_lane_are_concurrent(connect: Callable[[], Connection]) -> None:
    in_flight = InFlight()
    in_flight.enter(LANE, connect())
    in_flight.enter(LANE, connect())
    assert (in_flight.max_concurrent, in_flight.max_concurrent_per_lane) == (2, 2)


def test_a_request_of_a_client_that_has_left_is_not_counted(connect: Callable[[], Connection]) -> None:
    in_flight = InFlight()
    given_up, again = connect(), connect()
    in_flight.enter(LANE, given_up)
    given_up.client.close()
    in_flight.enter(LANE, again)
    assert in_flight.max_concurrent_per_lane == 1
    in_flight.leave(LANE, again)
    in_flight.leave(LANE, given_up)
    in_flight.enter(LANE, connect())
    assert in_flight.max_concurrent_per_lane == 1
