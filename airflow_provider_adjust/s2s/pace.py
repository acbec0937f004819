"""How fast events may go: requests in flight, events a second, and what Adjust's 429 and 503 ask for.

The window of requests in flight shrinks when Adjust says that it is too much and grows back while it answers, as TCP's
does: halved on 429, cut by a quarter on 503, one more for every eight good answers. A 503 now and then is one bad
backend, not a full house, so it shrinks nothing until more than a twentieth of the latest answers ask to slow down.
Until the first answer that is no halt the window is one, so that a wrong token costs one request.
"""

from __future__ import annotations

from airflow_provider_adjust.s2s.responses import Verdict

_CUT = {429: 0.5, 503: 0.75}
_GROWTH = 1 / 8
#: The share of 503 among the latest answers that is taken as noise, and how many answers are the latest, about.
_NOISE = 0.05
_LATEST = 64
#: How far a late start may be made up for, in seconds: enough for a busy worker, too little for a burst.
_CATCH_UP = 0.05


class Pace:
    """The brake of one delivery. Times are monotonic seconds, given by the caller."""

    def __init__(self, max_in_flight: int, max_events_per_second: float | None = None) -> None:
        self._most = max_in_flight
        self._window = float(max_in_flight)
        self._answers_to_next_cut = 0
        self._slow_share = 0.0
        self._interval = 1 / max_events_per_second if max_events_per_second else 0.0
        self._next_slot = 0.0
        self._paused_until = 0.0
        self._proven = False

    @property
    def window(self) -> int:
        """Requests that may be in flight now."""
        return int(self._window) if self._proven else 1

    def wait(self, now: float) -> float:
        """Seconds until the next request may start, as far as rate and pauses go; 0 is now."""
        return max(0.0, self._next_slot - now, self._paused_until - now)

    def sent(self, now: float) -> None:
        if self._interval:
            self._next_slot = max(self._next_slot, now - max(_CATCH_UP, self._interval)) + self._interval

    def prove(self) -> None:
        """The first answer has shown that the endpoint and the token work."""
        self._proven = True

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing for that long."""
        self._paused_until = max(self._paused_until, now + seconds)

    def answered(self, verdict: Verdict) -> None:
        """Shrink or grow by the answer. A burst of refusals that were in flight together counts once."""
        self._answers_to_next_cut -= 1
        self._slow_share += (verdict.slow_down - self._slow_share) / _LATEST
        if not verdict.slow_down:
            self._window = min(float(self._most), self._window + _GROWTH)
        elif self._answers_to_next_cut <= 0 and (verdict.http_status == 429 or self._slow_share > _NOISE):
            self._window = max(1.0, self._window * _CUT.get(verdict.http_status or 0, 1.0))
            self._answers_to_next_cut = int(self._window) + 1
