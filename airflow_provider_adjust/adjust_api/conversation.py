"""Rules of asking that are written once and run twice: blocking on a worker, awaited in a trigger.

A conversation is a generator. It yields calls and pauses, is sent what came of them, and returns what it found out. It
opens no connection and looks at no clock, so both ways of running it obey the same rules.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from airflow_provider_adjust.adjust_api.http import ApiAnswer, ApiCall, ApiUnreachable


class Pause(NamedTuple):
    """Wait that many seconds."""

    seconds: float


Reply: TypeAlias = ApiAnswer | ApiUnreachable | None
T = TypeVar("T")
Conversation: TypeAlias = Generator[ApiCall | Pause, Reply, T]


class _End(NamedTuple):
    """What the conversation found out."""

    result: Any


def _next(conversation: Conversation[T], reply: Reply) -> ApiCall | Pause | _End:
    try:
        return conversation.send(reply)
    except StopIteration as end:
        return _End(end.value)


def converse(conversation: Conversation[T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Hold the conversation on a worker and return its result."""
    reply: Reply = None
    while not isinstance(step := _next(conversation, reply), _End):
        reply = None
        if isinstance(step, Pause):
            sleep(step.seconds)
            continue
        try:
            reply = step.send()
        except ApiUnreachable as failure:
            reply = failure
    return step.result  # type: ignore[no-any-return]


async def aconverse(conversation: Conversation[T], *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> T:
    """Hold the conversation in a trigger and return its result."""
    reply: Reply = None
    while not isinstance(step := _next(conversation, reply), _End):
        reply = None
        if isinstance(step, Pause):
            await sleep(step.seconds)
            continue
        try:
            reply = await step.asend()
        except ApiUnreachable as failure:
            reply = failure
    return step.result  # type: ignore[no-any-return]
