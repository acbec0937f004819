"""A journal of a try's requests and answers, one line each. It is unbuffered, so that no kill loses a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campaign.rows import Key


class NotedTransport:
    """A transport that keeps the journal."""

    def __init__(self, transport: Any, journal: int) -> None:
        self._transport = transport
        self._journal = journal
        self.close = transport.close

    def submit(self, key: Any, target: Any, body: str) -> None:
        self._note("sent", key)
        self._transport.submit(key, target, body)

    def poll(self, timeout: float | None) -> list[Any]:
        from airflow_provider_adjust.s2s.answers.classify import judge

        completions: list[Any] = self._transport.poll(timeout)
        for completion in completions:
            self._note(judge(completion).outcome.value, completion.key)
        return completions

    def _note(self, what: str, key: Any) -> None:
        event = key.event
        os.write(self._journal, f"{what} {event.key} {event.event_id}\n".encode())


def keep_journal(path: Path) -> None:
    """Make every delivery of this process keep the journal."""
    from airflow_provider_adjust.hooks import adjust_s2s

    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    open_transport = adjust_s2s.open_transport
    adjust_s2s.open_transport = lambda *names, **settings: NotedTransport(  # type: ignore[assignment]
        open_transport(*names, **settings), journal
    )


def read_journal(path: Path) -> Iterator[tuple[str, Key]]:
    """Yield each step, `sent` or an outcome, and its event."""
    for line in path.read_text().splitlines() if path.exists() else ():
        what, event_token, event_id = line.split(" ", 2)
        yield what, (event_token, event_id)
