"""The form-encoded body, the only kind that Adjust documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote_plus

_needs_no_encoding = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_ENCODED = {code: quote_plus(chr(code)) for code in range(128)}
#: Percent-encoding makes at most 12 bytes of a character.
_BYTES_PER_CHARACTER = 12


def form_encoded(params: Mapping[str, str]) -> str:
    """As ``urllib.parse.urlencode`` does it, in a fraction of its time for ASCII, which nearly everything is."""
    return "&".join([f"{_encoded_name(name)}={_encoded(text)}" for name, text in params.items()])


def size_above(limit: int, params: Mapping[str, str]) -> int | None:
    """How many bytes the body has where that is more than the limit; seldom does it have to be made to know."""
    longest = len("".join((*params, *params.values()))) * _BYTES_PER_CHARACTER
    if longest > limit and (size := len(form_encoded(params))) > limit:
        return size
    return None


def _encoded(text: str) -> str:
    if _needs_no_encoding(text):
        return text
    return text.translate(_ENCODED) if text.isascii() else quote_plus(text)


_encoded_name = lru_cache(maxsize=1024)(quote_plus)
