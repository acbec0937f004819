"""Restore the case of a result's column names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence


def match_names(names: Sequence[str], known: Sequence[Collection[str]] = ()) -> list[str]:
    """The names in the case that the reader expects, since databases fold the case of unquoted aliases.

    A known name stays unchanged. Another name becomes the known name that differs from it only in case, unless two columns
    would get it. If all names are upper case, the remaining ones become lower case.

    :param known: the names that the reader knows; if two differ only in case, the one in the earlier collection wins.
    """
    as_they_are = set(names) & set[str]().union(*known)
    others = {name: _in_other_case(name, known) for name in names if name not in as_they_are}
    claims = Counter(others[name] for name in names if name in others)
    all_upper = all(name == name.upper() for name in names)
    result = []
    for name in names:
        other = others.get(name)
        if name in as_they_are:
            result.append(name)
        elif other is not None and claims[other] == 1 and other not in as_they_are:
            result.append(other)
        else:
            result.append(name.lower() if all_upper else name)
    return result


def _in_other_case(name: str, known: Sequence[Collection[str]]) -> str | None:
    """The known name that differs only in case; None if there is none, or several."""
    lowered = name.lower()
    for names in known:
        found = [each for each in names if each.lower() == lowered]
        if found:
            return found[0] if len(found) == 1 else None
    return None
