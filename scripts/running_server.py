"""A private server process for a script: started, awaited until it answers, and stopped with the block."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


@contextmanager
def running_server(
    command: Sequence[str], log: Path, connect: Callable[[], object]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once `connect` raises no error.

    :raises RuntimeError: the server has ended, or does not answer; the message ends with its log.
    """
    with log.open("wb") as output:
        # A session of its own: Ctrl-C ends the script, and the script ends the server.
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_for(process, log, connect)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], log: Path, connect: Callable[[], object]) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            connect()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > until:
                written = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{process.args!r} has not started: {error}\n{written}") from error
            time.sleep(0.05)
        else:
            return
