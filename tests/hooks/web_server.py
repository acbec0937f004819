"""A server that is not Adjust: it answers everything with one status and a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from serving import serving


class _Page(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        page = b"<html><body>Please log in</body></html>"
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web_server(status: int) -> Iterator[str]:
    """A web server that is not Adjust, such as a proxy's log-in page."""
    with serving(HTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"status": status}))) as url:
        yield url
