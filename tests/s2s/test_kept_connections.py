"""When a connection is kept for the next request, and how its end is noticed."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from airflow_provider_adjust.s2s.transports import kept
from airflow_provider_adjust.s2s.transports.kept import Keeping, WatchedSockets


@pytest.fixture(params=["as on this machine", "poll"], autouse=True)
def way_to_watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no epoll."""
    if request.param == "poll":
        monkeypatch.setattr(kept, "_Watch", select.poll)
        monkeypatch.setattr(kept, "_units_a_second", 1000)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_an_open_socket_has_not_ended_whatever_there_is_to_read(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    watched = WatchedSockets()
    watched.add(ours.fileno())
    assert not watched.any_ended(0)
    theirs.send(b"x")
    assert not watched.any_ended(0.001)


@pytest.mark.parametrize("last_words", [b"", b"x"], ids=["nothing", "something"])
def test_the_end_of_a_socket_is_seen_once(ends: tuple[socket.socket, socket.socket], last_words: bytes) -> None:
    ours, theirs = ends
    watched = WatchedSockets()
    watched.add(ours.fileno())
    theirs.send(last_words)
    theirs.close()
    assert watched.any_ended(10)
    assert not watched.any_ended(0)
    assert len(watched) == 0


def test_a_socket_that_was_closed_here_has_not_ended(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    watched = WatchedSockets()
    watched.add(ours.fileno())
    ours.close()
    assert not watched.any_ended(0)


def test_the_number_of_a_closed_socket_may_be_another_files(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    watched = WatchedSockets()
    watched.add(ours.fileno())
    other, gone = socket.socketpair()
    gone.close()
    with other:
        os.dup2(other.fileno(), ours.fileno())
        assert not watched.any_ended(0)


def test_a_socket_that_is_not_open_is_not_watched_for_its_end() -> None:
    watched = WatchedSockets()
    with socket.socket() as sock:
        number = sock.fileno()
    watched.add(number)
    assert not watched.any_ended(0)


def test_the_first_connection_is_watched_and_the_next_are_not() -> None:
    keeping = Keeping()
    assert (keeping.is_proven, keeping.is_allowed(0.0)) == (False, True)
    assert keeping.watch_seconds > 0
    keeping.stood(0.0)
    assert (keeping.is_proven, keeping.watch_seconds) == (True, 0.0)


def test_nothing_is_kept_for_a_while_after_an_end_and_longer_each_time() -> None:
    keeping, now = Keeping(), 1000.0
    for pause in (1.1, 2.2, 4.4, 8.8, 17.6, 35.2, 60.0, 60.0):
        keeping.stood(now)
        keeping.ended(now)
        keeping.ended(now)  # another of the same moment
        assert not keeping.is_proven
        assert not keeping.is_allowed(now + pause - 0.01)
        now += pause + 0.01
        assert keeping.is_allowed(now)


def test_connections_that_stood_for_long_let_the_while_be_short_again() -> None:
    keeping = Keeping()
    keeping.ended(0.0)
    for now in (100.0, 130.0):
        keeping.stood(now)
    keeping.ended(161.0)
    assert keeping.is_allowed(162.2)
