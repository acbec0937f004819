"""The statement that is read: one SELECT, without the semicolon that some servers refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlparse import lexer
from sqlparse.tokens import CTE, DDL, DML, Comment, Punctuation, Whitespace

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: A token's type and its text.
_Token = tuple[Any, str]


def one_select(sql: str) -> str:
    """The statement without a semicolon at its end.

    :raises AdjustConfigurationError: it is not a text, there are several, or it would change something.
    """
    if not isinstance(sql, str):
        raise AdjustConfigurationError("sql must be one SELECT, not a list of statements")
    tokens = _tokens(sql)
    spoken = [number for number, token in enumerate(tokens) if not _is_silent(token)]
    if not spoken:
        raise AdjustConfigurationError("the sql is empty; it must be one SELECT")
    if (verb := _verb([tokens[number] for number in spoken])) not in {None, "SELECT"}:
        raise AdjustConfigurationError(f"the sql begins with {verb}; it must be one SELECT, and it was not run")
    end = spoken[-1] + 1
    if any(map(_is_semicolon, tokens[spoken[0] : end])):
        # In some dialects a backslash escapes a quote, in others it stands for itself.
        if "\\" in sql and one_select(sql.replace("\\", "/")):
            return sql
        raise AdjustConfigurationError("the sql has several statements; it must be one SELECT, and none was run")
    return "".join(text for number, (_, text) in enumerate(tokens) if number < end or text != ";").strip()


def _tokens(sql: str) -> list[_Token]:
    tokenize: Any = lexer.tokenize  # it has no types
    return list(tokenize(sql))


def _is_silent(token: _Token) -> bool:
    kind, _ = token
    return kind in Whitespace or kind in Comment or _is_semicolon(token)


def _is_semicolon(token: _Token) -> bool:
    kind, text = token
    return kind is Punctuation and text == ";"


def _verb(words: Sequence[_Token]) -> str | None:
    """What the statement does, where that can be told; after WITH, it is the first verb outside of its parentheses."""
    if words[0][0] is not CTE:
        words = words[:1]
    depth = 0
    for kind, text in words:
        if kind is Punctuation and text in {"(", ")"}:
            depth += 1 if text == "(" else -1
        elif depth == 0 and (kind is DML or kind is DDL):
            return text.upper()
    return None
