"""Workers with different clocks: a try replaces its program by one with a time from libfaketime."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MARK = "CAMPAIGN_CLOCK"
_FOLDERS = ("/usr/lib", "/usr/local/lib", "/usr/lib64")
# libfaketime shifts the deadline of a sleep, which Python gives as a time of the monotonic clock.
_PROGRAM = """
import select, sys, time
time.sleep = lambda seconds: select.select([], [], [], max(0, seconds)) and None
from campaign.tries import run_pickled
run_pickled(sys.argv[1])
"""


def faketime_library() -> Path | None:
    """libfaketime for programs with threads; None if it is not installed."""
    patterns = ("faketime/libfaketimeMT.so.1", "*/faketime/libfaketimeMT.so.1")
    return next((path for folder in _FOLDERS for each in patterns for path in Path(folder).glob(each)), None)


def continue_with_another_clock(offset: str, pickled: Path) -> None:
    """Replace this process's program by the same try at another time. Returns only in a process that has that time."""
    if os.environ.get(_MARK) == offset:
        return
    environment = os.environ | {
        _MARK: offset,
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME": offset,
        # Only the wall clock is shifted: deadlines on the monotonic clock stay on the system's.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    os.execve(sys.executable, [sys.executable, "-c", _PROGRAM, str(pickled)], environment)  # noqa: S606
