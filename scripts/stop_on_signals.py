"""Stop a script in the background like one at a terminal: in order, with everything that it has started."""

from __future__ import annotations

import signal
from types import FrameType


def stop_on_signals() -> None:
    """Let `kill` end the script as Ctrl-C does, and Ctrl-C also where a shell started it in the background."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
