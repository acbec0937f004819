"""What an operator and a hook make of hostile rows, columns and answers: no line of a log is forged, nothing hangs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from operators.adjust_account import Connect, Said
from s2s.raw_server import Connection, RawServer
from s2s.s2s_case import row

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sql_rows import column_names


def test_a_dry_run_forges_no_line(said: Said, connect: Connect) -> None:
    connect("https://s2s.adjust.com")
    hostile = {"order_id": "o-1\nERROR", "device_name": "x\n[2026-05-01] ERROR \x1b[2J", "e\n1": "2\n3"}
    rows = [row(created_at=datetime.now(UTC), **hostile)]
    operator = AdjustSendEventsOperator(
        task_id="send", events=rows, id_field="order_id", extra_params=["e\n1"], dry_run=True
    )
    operator.execute({})
    lines = str(said).splitlines()
    assert [line for line in lines if "would be sent as event" in line]
    assert not [line for line in lines if line.startswith(("ERROR", "[2026", "1=", "3"))]
    assert "\x1b" not in "".join(lines)


def test_two_columns_of_one_hostile_name_forge_no_line() -> None:
    with pytest.raises(AdjustConfigurationError) as refused:
        column_names([("a\nERROR",), ("a\nERROR",)])
    assert str(refused.value).isprintable()


def test_the_connection_test_ends_although_the_answer_does_not(connect: Connect) -> None:
    over = threading.Event()

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.02):
            connection.send(b"X: y\r\n")

    with RawServer(script) as server, ThreadPoolExecutor(1) as worker:
        connect(server.url.removesuffix("/event"))
        try:
            passed, message = worker.submit(AdjustS2SHook(timeout=(0.3, 0.5)).test_connection).result(timeout=60)
        finally:
            over.set()
    assert not passed
    assert "gave no readable answer" in message


def test_the_connection_test_shows_the_status_and_no_word_of_an_answer(connect: Connect) -> None:
    """Whoever may name the endpoint could read by it what a service on this machine answers."""
    for status in (200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503):
        for body in (
            b"<html>nginx forbidden hunter2",
            b'{"error": "forbidden hunter2"}',
            b'{"forbidden": hunter2',
            b"forbidden",
        ):
            head = b"HTTP/1.1 %d X\r\nContent-Type: text/forbidden\r\nContent-Length: %d\r\n\r\n" % (status, len(body))

            def script(connection: Connection, answer: bytes = head + body) -> None:
                connection.read()
                connection.send(answer)

            with RawServer(script) as server:
                url = server.url.removesuffix("/event")
                connect(url, api_token="an-api-token", report_endpoint=url)
                _, message = AdjustS2SHook(timeout=(2, 2)).test_connection()
            assert "forbidden" not in message, (status, body)
            assert "hunter2" not in message
            assert str(status) in message or "unreadable_answer" in message or "no_answer" in message, message
