"""An answer may repeat what was sent; what is said of the answer must not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_plus

from airflow_provider_adjust.s2s.endpoint import EVENT
from airflow_provider_adjust.s2s.responses import read_answer

#: What is shorter identifies nobody, and would be found in any sentence.
_SHORTEST = 5


def without_echoes(message: str, params: Mapping[str, str], s2s_token: str | None) -> str:
    """The message without the token and the personal values of the event that it answers, as sent or encoded."""
    lowered = message.lower()
    found = {each for each in _secrets(params, s2s_token) if len(each) >= _SHORTEST and each.lower() in lowered}
    if not found:
        return message
    # The longest first: one may be a part of another.
    pattern = "|".join(re.escape(each) for each in sorted(found, key=len, reverse=True))
    return re.sub(pattern, "***", message, flags=re.IGNORECASE)


def _secrets(params: Mapping[str, str], s2s_token: str | None) -> Iterator[str]:
    if s2s_token:
        yield s2s_token
    for name, text in params.items():
        parameter = EVENT.parameters.get(name)
        if parameter is not None and not parameter.personal:
            continue
        values = read_answer(text) if parameter is not None and parameter.kind == "object" else None
        for value in (text, *(map(str, values.values()) if isinstance(values, dict) else ())):
            yield value
            yield quote_plus(value)
