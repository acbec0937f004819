"""The rate that the server takes, found from its answers.

A server that refuses what is above its limit says what the limit is: it takes just that much. So the rate becomes what the
server took, less two percent, and is tried a little higher only after a while. Nothing is halved, so nothing swings. A few
429 among many answers ask their own events to wait, and nobody else. Where as many are refused after a cut as before it, the
rate is not why, and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The share of 429 among the latest answers up to which they concern only their own events. Where a cut changed nothing,
#: twice that share.
_NOISE = 0.03
_MORE_NOISE = 2.0
#: Refusals before the first limit is taken for one.
_CERTAIN = 8
#: Once a rate is known, all events have to wait when for so many seconds more were refused than taken. For a shorter time that is
#: the end of a second in which the share is used up.
_LONG = 0.5
#: A limit is taken as less than what was seen by so much.
_BELOW = 0.98
#: However little was taken of late, a rate falls to no less than this share of itself at once; and never below the second.
_LEAST_SHARE = 0.25
_LEAST_RATE = 0.1
#: How long a rate is kept after a refusal, in seconds. It doubles each time the same limit is met.
_FIRST_HOLD = 5.0
_LONGEST_HOLD = 60.0
#: By how much a rate grows in each span; the second is how far beyond the last limit it does so, before it doubles its steps.
_GROWTH = 0.01
_FIRST_GROWTH = 0.1
_MOST_GROWTH = 0.5
_SAME_LIMIT = 0.1
#: A rate is used in a span in which so much of it was sent.
_USED = 0.9
_FEW = 0.25
#: A span has so many answers at least, unless it is very long; fewer while the limit is only guessed and nothing is refused.
_SPAN_ANSWERS = 50
_SPAN_ANSWERS_FOR_A_GUESS = 4
_LONGEST_SPAN = 10


@dataclass(slots=True)
class _Span:
    """Whole seconds and their answers, since a server may count by the second. A pause is no part of it."""

    began: float
    taken: int = 0
    refused: int = 0

    seconds: int = 1

    @property
    def share(self) -> float:
        """How much of it was refused. Asked after an answer."""
        return self.refused / (self.taken + self.refused)

    def is_over(self, now: float, answers: int) -> bool:
        if now - self.began < self.seconds:
            return False
        self.seconds += 1
        return self.taken + self.refused >= answers or self.seconds > _LONGEST_SPAN


class FoundRate:
    """Events a second that the server takes; None until it has refused some. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.rate: float | None = None
        #: Whether the refusals are so many that all events have to wait, and not only those that were refused.
        self.is_refusing = False
        #: When what the server took at full speed would have been sent at its rate.
        self.not_before = float("-inf")
        self._span: _Span | None = None
        #: Seconds, taken and refused of the span before.
        self._before = (0.0, 0, 0)
        #: Answers to come of requests that were sent before the rate was cut; and the end of the second that they have used up.
        self._stale = 0
        self._stale_until = float("-inf")
        #: The share of refusals at the cut just before, if any.
        self._share_before = 0.0
        self._noise = _NOISE
        self._limit = 0.0
        self._hold = _FIRST_HOLD
        self._held_until = 0.0
        self._growth = _GROWTH

    def paused(self, seconds: float) -> None:
        """For that long nothing is sent, so the server takes nothing."""
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
        """At full speed: what was taken so far, be it at once, is what the server takes in a second."""
        seconds, before, refused = self._before
        taken, refused = span.taken + before, span.refused + refused
        self.is_refusing = refused > _NOISE * (taken + refused)
        if self.is_refusing and refused >= _CERTAIN:
            began = span.began - seconds
            self._share_before = refused / (taken + refused)
            self._cut(taken / max(1.0, now - began), now, in_flight)
            self.not_before = began + taken / (self.rate or 1.0)
            # A guess, which is soon made better: a server that holds little in store took less than it takes in a second.
            self._limit, self._held_until, self._growth = 0.0, now, _FIRST_GROWTH

    def _end_span(self, span: _Span, now: float, in_flight: int) -> None:
        seconds = now - span.began
        if self.rate is not None:
            is_used = span.taken + span.refused >= _USED * self.rate * seconds
            if span.share > self._noise and not self._is_chance(span.share):
                before, taken, _ = self._before
                # Where little was sent, and few refused, it is not known how much the server would have taken.
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
        """Whether the cut just before has made no difference."""
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
        if rate > (1 + _SAME_LIMIT) * self._limit:  # the limit is no more
            self._growth = min(_MOST_GROWTH, 2 * self._growth)
        self.rate = rate * (1 + self._growth)
