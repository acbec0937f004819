"""Middleboxes between a task and Adjust: a firewall with its own page, a server that closes after each answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

_PAGE = b"<!DOCTYPE html><html><head><title>Blocked</title></head><body><h1>Request blocked</h1></body></html>"
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)


class Door:
    """An HTTP/1.1 proxy in front of the stand-in; use it in a `with` statement."""

    def __init__(self, url: str) -> None:
        self._behind = urlsplit(url)
        #: Answer each request with a page, and let none through.
        self.is_shut = False
        #: Close the connection after each answer, without announcing it.
        self.closes = False
        #: Requests that were answered by the page.
        self.refused = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="door", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _message(reader)
                if self.is_shut:
                    self.refused += 1
                    answer, is_whole = _FORBIDDEN, True
                else:
                    answer, is_whole = await self._ask(request)
                if self.closes and hasattr(socket, "TCP_CORK"):
                    # Answer and close are sent in one packet, so that the connection never seems open.
                    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                writer.write(answer)
                if self.closes:
                    writer.write_eof()
                await writer.drain()
                if not is_whole:
                    writer.transport.abort()
                if self.closes or not is_whole:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the task has left
        finally:
            writer.close()

    async def _ask(self, request: bytes) -> tuple[bytes, bool]:
        """The stand-in's answer, and whether it is complete."""
        reader, writer = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        try:
            writer.write(request)
            return await _message(reader), True
        except asyncio.IncompleteReadError as error:
            return error.partial, False
        except ConnectionError:
            return b"", False
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer, head and body.

    :raises asyncio.IncompleteReadError: it ends before its end; the error has what came.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    try:
        return head + await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise asyncio.IncompleteReadError(head + error.partial, error.expected) from None
