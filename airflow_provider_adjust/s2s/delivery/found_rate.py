"""Find the rate that the server accepts, from its answers.

A server that refuses requests above its limit reveals the limit by the number that it accepts. So the rate becomes the
accepted rate less two percent, and is increased a little only after a while. It is never halved, so it does not oscillate. A
few 429 among many answers delay only their own events. If a cut does not reduce the refusals, the rate is not their cause, and
is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The share of 429 among the latest answers up to which they affect only their own events. Twice that share after a cut
#: without effect.
_NOISE = 0.03
_MORE_NOISE = 2.0
#: Refusals before a limit is assumed.
_CERTAIN = 8
#: Once a rate is known, all events wait if for this many seconds more requests were refused than accepted. A shorter time is
#: the end of a second in which the share is used up.
_LONG = 0.5
#: The margin by which a limit is set below the measured rate.
_BELOW = 0.98
#: The smallest share of itself to which a rate falls in one cut, however little was accepted; and the lowest rate.
_LEAST_SHARE = 0.25
_LEAST_RATE = 0.1
#: How long a rate is kept after a refusal, in seconds. It doubles each time the same limit is found.
_FIRST_HOLD = 5.0
_LONGEST_HOLD = 60.0
#: The growth of a rate in each span; and how far beyond the last limit it grows so, before its steps double.
_GROWTH = 0.01
_FIRST_GROWTH = 0.1
_MOST_GROWTH = 0.5
_SAME_LIMIT = 0.1
#: A span uses the rate if at least this share of it was sent.
_USED = 0.9
_FEW = 0.25
#: The least number of answers in a span, unless it is very long; fewer while the limit is only an estimate and nothing is
#: refused.
_SPAN_ANSWERS = 50
_SPAN_ANSWERS_FOR_A_GUESS = 4
_LONGEST_SPAN = 10


@dataclass(slots=True)
class _Span:
    """Whole seconds and their answers, since a server may count by the second. Pauses are excluded."""

    began: float
    taken: int = 0
    refused: int = 0

    seconds: int = 1

    @property
    def share(self) -> float:
        """The refused share. Call it only after an answer."""
        return self.refused / (self.taken + self.refused)

    def is_over(self, now: float, answers: int) -> bool:
        if now - self.began < self.seconds:
            return False
        self.seconds += 1
        return self.taken + self.refused >= answers or self.seconds > _LONGEST_SPAN


class FoundRate:
    """The rate in events a second that the server accepts; None until it has refused some. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.rate: float | None = None
        #: Whether there are so many refusals that all events must wait, rather than only the refused ones.
        self.is_refusing = False
        #: The time at which the events accepted at full speed would have been sent at the found rate.
        self.not_before = float("-inf")
        self._span: _Span | None = None
        #: Seconds, accepted and refused answers of the previous span.
        self._before = (0.0, 0, 0)
        #: Pending answers of requests that were sent before the rate was cut; and the end of the second that they have used up.
        self._stale = 0
        self._stale_until = float("-inf")
        #: The share of refusals at the previous cut, if any.
        self._share_before = 0.0
        self._noise = _NOISE
        self._limit = 0.0
        self._hold = _FIRST_HOLD
        self._held_until = 0.0
        self._growth = _GROWTH

    def paused(self, seconds: float) -> None:
        """Exclude a pause, in which nothing is sent or accepted."""
        if self._span is not None:
            self._span.began += seconds

    def answered(self, now: float, is_refused: bool, in_flight: int) -> None:
        """Count an answer. ``in_flight`` are the requests that still wait for theirs."""
        if self._stale > 0 or now < self._stale_until:
            self._stale -= 1
            return
        span = self._span
        if span is None:
            span = self._span = _Span(now)
        if not is_refused:
            span.taken += 1
        elif self.rate is None:
            span.refused += 1
            self._meet_the_first_limit(span, now, in_flight)
            return
        else:
            span.refused += 1
            self.is_refusing = span.refused > max(_CERTAIN, span.taken) and now - span.began >= _LONG
        if span.is_over(now, _SPAN_ANSWERS if self._limit or span.refused else _SPAN_ANSWERS_FOR_A_GUESS):
            self._end_span(span, now, in_flight)

    def _meet_the_first_limit(self, span: _Span, now: float, in_flight: int) -> None:
        """At full speed: assume that the server accepts per second what it has accepted so far, even if that was at once."""
        seconds, before, refused = self._before
        taken, refused = span.taken + before, span.refused + refused
        self.is_refusing = refused > _NOISE * (taken + refused)
        if self.is_refusing and refused >= _CERTAIN:
            began = span.began - seconds
            self._share_before = refused / (taken + refused)
            self._cut(taken / max(1.0, now - began), now, in_flight)
            self.not_before = began + taken / (self.rate or 1.0)
            # An estimate, which is soon improved: a server with a small burst accepted less than it does in a second.
            self._limit, self._held_until, self._growth = 0.0, now, _FIRST_GROWTH

    def _end_span(self, span: _Span, now: float, in_flight: int) -> None:
        seconds = now - span.began
        if self.rate is not None:
            is_used = span.taken + span.refused >= _USED * self.rate * seconds
            if span.share > self._noise and not self._is_chance(span.share):
                before, taken, _ = self._before
                # If little was sent and few requests were refused, the server's capacity is not known.
                is_known = is_used or span.share > _FEW
                limit = (span.taken + taken) / (seconds + before) if is_known else self.rate
                self._cut(limit, now, in_flight)
                self._share_before = span.share
                return
            if span.share <= _NOISE:
                self._share_before, self._noise = 0.0, _NOISE
            if now >= self._held_until and is_used:
                self._grow(self.rate)
        self._before = (seconds, span.taken, span.refused)
        self._span = _Span(now)

    def _is_chance(self, share: float) -> bool:
        """Whether the previous cut had no effect."""
        alike = self._share_before / _MORE_NOISE <= share <= self._share_before * _MORE_NOISE
        is_chance = alike and share < 0.5
        if is_chance:
            self._noise = share * _MORE_NOISE
        return is_chance

    def _cut(self, limit: float, now: float, in_flight: int) -> None:
        is_known = abs(limit - self._limit) <= _SAME_LIMIT * limit
        self._hold = min(_LONGEST_HOLD, 2 * self._hold) if is_known else _FIRST_HOLD
        self._limit = limit
        self._held_until = now + self._hold
        self._growth = _GROWTH
        least = _LEAST_RATE if self.rate is None else self.rate * _LEAST_SHARE
        most = limit if self.rate is None else min(limit, self.rate)
        self.rate = max(_LEAST_RATE, least, _BELOW * most)
        self._stale, self._stale_until = in_flight, now + 1.0
        self._before = (0.0, 0, 0)
        self._span = None

    def _grow(self, rate: float) -> None:
        if rate > (1 + _SAME_LIMIT) * self._limit:  # the limit no longer exists
            self._growth = min(_MOST_GROWTH, 2 * self._growth)
        self.rate = rate * (1 + self._growth)
