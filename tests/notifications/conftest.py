"""A mail server and a stand-in for Slack on this machine, and the connections to them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from operators.adjust_account import adjust, connect

__all__ = ["adjust", "connect"]


class Inbox:
    """Keeps every message that the mail server accepts."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 the library's name
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """Messages to the connection `smtp_default`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield inbox
    controller.stop()


class Slack:
    """Keeps every message by the path that it was posted to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = 200


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """Messages to the connections `slack_webhook` and `slack_api`."""
    slack = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            slack.posts.append((self.path, json.loads(body)))
            webhook = self.path.startswith("/services/")
            answer = b"ok" if webhook else b'{"ok": true}'
            self.send_response(slack.status)
            self.send_header("Content-Type", "text/html" if webhook else "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        webhook = {"conn_type": "slackwebhook", "host": f"{url}/services", "password": "T000/B000/XXXX"}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_WEBHOOK", json.dumps(webhook))
        api = {"conn_type": "slack", "password": "xoxb-1", "extra": {"base_url": f"{url}/api/"}}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_API", json.dumps(api))
        yield slack
        server.shutdown()
