"""The statement to run: one SELECT, without the final semicolon that some servers refuse."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlparse import lexer
from sqlparse.tokens import CTE, DDL, DML, Comment, Punctuation, Whitespace

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: A token's type and its text.
_Token = tuple[Any, str]


def one_select(sql: str) -> str:
    """The statement without a semicolon at its end.

    :raises AdjustConfigurationError: it is not text, has several statements, or would change data.
    """
    if not isinstance(sql, str):
        raise AdjustConfigurationError("sql must be one SELECT, not a list of statements")
    # Reading a long text takes seconds, so it is read only as far as needed.
    if (verb := _verb(token for token in _tokens(sql) if not _is_silent(token))) not in {None, "SELECT"}:
        raise AdjustConfigurationError(f"the sql begins with {verb}; it must be one SELECT, and it was not run")
    without_end = sql.strip().rstrip("; \t\r\n")
    return without_end if ";" not in without_end else _one_statement(sql)


def _one_statement(sql: str) -> str:
    tokens = list(_tokens(sql))
    spoken = [number for number, token in enumerate(tokens) if not _is_silent(token)]
    end = spoken[-1] + 1
    if any(map(_is_semicolon, tokens[spoken[0] : end])):
        # In some dialects a backslash escapes a quote, in others it is a plain character.
        if "\\" in sql and _one_statement(sql.replace("\\", "/")):
            return sql
        raise AdjustConfigurationError("the sql has several statements; it must be one SELECT, and none was run")
    return "".join(text for number, (_, text) in enumerate(tokens) if number < end or text != ";").strip()


def _tokens(sql: str) -> Iterator[_Token]:
    tokenize: Any = lexer.tokenize  # it has no types
    return iter(tokenize(sql))


def _is_silent(token: _Token) -> bool:
    kind, _ = token
    return kind in Whitespace or kind in Comment or _is_semicolon(token)


def _is_semicolon(token: _Token) -> bool:
    kind, text = token
    return kind is Punctuation and text == ";"


def _verb(words: Iterator[_Token]) -> str | None:
    """The statement's verb, if it has one; after WITH, the first verb outside the parentheses.

    :raises AdjustConfigurationError: the statement is empty.
    """
    first = next(words, None)
    if first is None:
        raise AdjustConfigurationError("the sql is empty; it must be one SELECT")
    depth = 0
    for kind, text in chain([first], words if first[0] is CTE else ()):
        if kind is Punctuation and text in {"(", ")"}:
            depth += 1 if text == "(" else -1
        elif depth == 0 and (kind is DML or kind is DDL):
            return text.upper()
    return None
