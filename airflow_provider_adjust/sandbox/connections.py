"""Misbehaviour below HTTP: what a web framework takes care never to do to a client, done on purpose."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from http import HTTPStatus

# l_onoff=1, l_linger=0: closing discards what is unsent and answers with RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_MISSING_BYTES = 64


def reset(transport: asyncio.Transport) -> None:
    """Break the connection so that the client meets a TCP reset and not an orderly end."""
    number = transport.get_extra_info("socket").fileno()
    if number >= 0:
        # asyncio and uvloop hand out different socket objects. A duplicate of the descriptor is the same to both.
        with socket.socket(fileno=os.dup(number)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def send_truncated(transport: asyncio.Transport, status: int, body: bytes) -> None:
    """Answer with half of the body and a Content-Length that promises more, then close."""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body) + _MISSING_BYTES}\r\n\r\n"
    )
    transport.write(head.encode() + body[: len(body) // 2])
    transport.close()


def client_has_left(transport: asyncio.Transport) -> bool:
    """Tell whether the client closed its end, even when the event loop has not yet been told."""
    if transport.is_closing():
        return True
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return True
    with socket.socket(fileno=os.dup(number)) as connection:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
