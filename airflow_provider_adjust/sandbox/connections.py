"""Faults below HTTP, on purpose: a connection that is reset, and an answer that is cut off."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from http import HTTPStatus

# l_onoff=1, l_linger=0: a close discards unsent bytes and sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_MISSING_BYTES = 64


def reset(transport: asyncio.Transport) -> None:
    """Break the connection with a TCP reset in place of an orderly end."""
    number = transport.get_extra_info("socket").fileno()
    if number >= 0:
        # asyncio and uvloop return different socket objects. A duplicate of the descriptor works with both.
        with socket.socket(fileno=os.dup(number)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def send_truncated(transport: asyncio.Transport, status: int, body: bytes, content_type: bytes) -> None:
    """Answer with half of the body and a Content-Length above its size, then close the connection."""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"content-type: {content_type.decode()}\r\n"
        f"content-length: {len(body) + _MISSING_BYTES}\r\n\r\n"
    )
    transport.write(head.encode() + body[: len(body) // 2])
    transport.close()


def client_has_left(transport: asyncio.Transport) -> bool:
    """Return whether the client closed its end, even if the event loop does not know yet."""
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
