"""Time grows with the length of an input and no faster: users of the app and servers write what is read here.

Every regular expression of the package is found by walking its modules, so a new one is tested from its first day. The
texts are made from the pattern itself: what it takes, repeated and broken off.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import itertools
import json
import math
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType, SimpleNamespace
from typing import Any

from airflow.sdk import Connection
from effort import examples

import airflow_provider_adjust
from airflow_provider_adjust.adjust_api.reports import read_report
from airflow_provider_adjust.cli.definition import ADJUST
from airflow_provider_adjust.cli.words import Words
from airflow_provider_adjust.files.csv_quoting import Quoting
from airflow_provider_adjust.files.csv_rows import csv_rows
from airflow_provider_adjust.files.erasing import as_a_word
from airflow_provider_adjust.files.head import check_is_head
from airflow_provider_adjust.files.json_rows import json_lines, json_list
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.hooks.base_url import base_url
from airflow_provider_adjust.reconcile.totals import Days
from airflow_provider_adjust.s2s import RowOptions, redaction
from airflow_provider_adjust.s2s.answers import classify, vocabulary
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.events.event import form_encoded
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.ledger.erase import mention_of
from airflow_provider_adjust.sql_rows import column_names

PACKAGE = Path(airflow_provider_adjust.__file__).parent
#: A text of this length shows which patterns need a longer look: a linear one takes a tenth of the time.
SHORT, NOTICEABLE = 4_000, 0.003
#: Seconds of the processor. A linear pattern takes some milliseconds for this length, a quadratic one seconds.
LONG, SLOW = 60_000, 0.15
#: The methods of a pattern that try it from every character on.
SEARCHING = ("search", "sub", "subn", "split", "findall", "finditer")
#: Patterns that are not linear, and the most characters that they are given.
BOUNDED = {"airflow_provider_adjust.s2s.answers.classify._TAG.sub": classify._LONGEST_SEARCHED}
#: Functions that make patterns from their arguments, and objects that hold such patterns.
MADE: dict[str, list[Any]] = {
    "cli/words.py": [SimpleNamespace(names=Words(ADJUST.commands[2])._names.sub)],  # type: ignore[arg-type,union-attr] # the command that sends
    "files/csv_quoting.py": [Quoting(None), Quoting("\\"), Quoting("^")],
    "files/erasing.py": [SimpleNamespace(word=as_a_word("order-1").search)],
    "s2s/ledger/erase.py": [SimpleNamespace(mention=mention_of("order-1").sub)],
}

Find = Callable[[str], object]


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages([str(PACKAGE)], "airflow_provider_adjust."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def finders(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str], Find]]:
    """The patterns of a module, each with the method by which it is used."""
    source = inspect.getsource(module)
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ != module.__name__:
            continue
        for pattern, method in patterns_in(value):
            # Where the use does not show, as in a loop over patterns, both ways are tried.
            methods = [method] if method else used_with(name, source) or ["search", "fullmatch"]
            for each in methods:
                yield f"{module.__name__}.{name}.{each}", pattern, by_method(pattern, each)
    for call in calls(source):
        if isinstance(call.args[0], ast.Constant):
            pattern = re.compile(str(call.args[0].value))
            yield f"{module.__name__}:{call.lineno}", pattern, by_method(pattern, call.func.attr)


def used_with(name: str, source: str) -> list[str]:
    """The methods by which a pattern is used, of those that search the first alone."""
    searching = [each for each in SEARCHING if f"{name}.{each}" in source]
    return searching[:1] or [each for each in ("fullmatch", "match") if f"{name}.{each}" in source][:1]


def patterns_in(value: Any) -> Iterator[tuple[re.Pattern[str], str]]:
    """The patterns in a value, and the method where it is one's own."""
    if isinstance(value, re.Pattern):
        yield value, ""
    elif isinstance(getattr(value, "__self__", None), re.Pattern):
        yield value.__self__, value.__name__
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(patterns_in, (*value, *value.values())))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from itertools.chain.from_iterable(map(patterns_in, value))
    elif isinstance(value, type):
        for each in vars(value).values():
            if isinstance(each, re.Pattern | tuple) or isinstance(getattr(each, "__self__", None), re.Pattern):
                yield from patterns_in(each)


def calls(source: str) -> Iterator[Any]:
    """Calls of re's functions other than compile, and of compile within a function."""
    tree = ast.parse(source)
    in_functions = {
        id(each)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for each in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr != "escape"
        if of_re and (node.func.attr != "compile" or id(node) in in_functions):
            yield node


def by_method(pattern: re.Pattern[str], method: str) -> Find:
    if method in {"sub", "subn"}:
        return lambda text: getattr(pattern, method)("", text)
    if method == "finditer":
        return lambda text: list(pattern.finditer(text))
    return getattr(pattern, "fullmatch" if method == "compile" else method)  # type: ignore[no-any-return]


# -- texts -------------------------------------------------------------------------------------------------------------

CATEGORIES = {"CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "w", "CATEGORY_NOT_SPACE": "n"}


def example(tree: Any) -> str:
    """A short text that the pattern takes, more or less."""
    text = ""
    for kind, value in tree:
        if kind in {kinds.LITERAL, kinds.NOT_LITERAL}:
            text += chr(value) if kind is kinds.LITERAL else "n"
        elif kind is kinds.IN:
            text += (characters([(kind, value)]) or ["n"])[0]
        elif kind is kinds.ANY:
            text += "n"
        elif kind is kinds.BRANCH:
            text += example(value[1][0])
        elif kind is kinds.SUBPATTERN:
            text += example(value[-1])
        elif kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT}:
            text += example(value[2]) * max(1, min(value[0], 20))
        elif kind is kinds.ATOMIC_GROUP:
            text += example(value)
    return text


def characters(tree: Any) -> list[str]:
    """The characters that the pattern names, and one of each class."""
    found: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, parser.SubPattern):
            for each in part:
                walk(each)
        elif isinstance(part, tuple) and part:
            # A count of repetitions stands where another part has its kind, which is a number with a name.
            kind = part[0] if isinstance(part[0], type(kinds.LITERAL)) else None
            if kind in {kinds.LITERAL, kinds.NOT_LITERAL}:
                found.append(chr(part[1]))
            elif kind is kinds.RANGE:
                found.append(chr(part[1][0]))
            elif kind is kinds.CATEGORY:
                found.append(CATEGORIES.get(str(part[1]), "n"))
            else:
                for each in part[1:]:
                    walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(tree if isinstance(tree, parser.SubPattern) else list(tree))
    return list(dict.fromkeys(found))


def hostile_texts(pattern: re.Pattern[str]) -> dict[str, tuple[str, str]]:
    """Texts to repeat, each after the start with which it is to be tried."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    named = characters(tree)
    some = [*named[:8], *named[-2:], "n", " "]
    whole = example(tree)
    starts = ["", "\x01", *(whole[:length] for length in range(1, min(len(whole), 12) + 1)), whole]
    texts = {f"{start!r}, then {repeated!r}": (start, repeated) for start in starts for repeated in some if repeated}
    pairs = [first + second for first, second in itertools.permutations(some, 2)]
    for repeated in (*pairs, *starts[1:], *(start + " " for start in starts[1:])):
        texts[f"{repeated!r}"] = ("", repeated)
    return texts


def seconds(find: Find, start: str, repeated: str, length: int) -> float:
    text = f"{start}{repeated * (length // len(repeated))}\x00"
    began = time.thread_time()
    find(text)
    return time.thread_time() - began


def slow_texts(name: str, pattern: re.Pattern[str], find: Find) -> Iterator[str]:
    longest = BOUNDED.get(name, LONG)
    for label, (start, repeated) in hostile_texts(pattern).items():
        if any(seconds(find, start, repeated, length) > SLOW for length in (*range(10, 62, 4), 200)):
            yield f"{name}: {label}, {longest:,} characters: does not end"
        elif seconds(find, start, repeated, min(SHORT, longest)) > NOTICEABLE and any(
            # Twice: another process may have taken the processor's caches away.
            all(seconds(find, start, repeated, min(length, longest)) > SLOW for _ in range(2))
            for length in (2 * SHORT, 4 * SHORT, LONG)
        ):
            yield f"{name}: {label}, {longest:,} characters"


def test_every_pattern_takes_time_that_grows_with_the_text() -> None:
    found = {name: (pattern, find) for module in modules() for name, pattern, find in finders(module)}
    for path, objects in MADE.items():
        for made, (name, value) in enumerate((name, value) for each in objects for name, value in vars(each).items()):
            found |= {
                f"{path} {made} {name}": (pattern, by_method(pattern, method)) for pattern, method in patterns_in(value)
            }
    assert len(found) > 40
    slow = [each for name, (pattern, find) in found.items() for each in slow_texts(name, pattern, find)]
    assert slow == []
    assert BOUNDED.keys() <= found.keys(), "a pattern that is no longer there"


def test_a_pattern_that_is_made_within_a_function_is_tested_too() -> None:
    made = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for call in calls(path.read_text())
        if not isinstance(call.args[0], ast.Constant)
    }
    made |= {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for call in calls(path.read_text())
        if call.func.attr == "compile"
    }
    assert made == set(MADE)


def test_what_is_slow_is_found() -> None:
    """The test's own texts show the patterns that have been slow, and their kin."""
    for text, method in {
        "[0-]*0[0-]*": "fullmatch",
        "(a|aa)+b": "fullmatch",
        "[0-9]*::": "search",
        "'.*?'": "fullmatch",
    }.items():
        pattern = re.compile(text)
        slow = next(slow_texts(text, pattern, by_method(pattern, method)), None)
        assert (slow is None) is (text == "'.*?'"), text


# -- what reads --------------------------------------------------------------------------------------------------------

#: Texts of any length: what repeats, and what stands before it.
SHAPES = {
    "letters": ("", "a"), "spaces": ("x", " "), "zeros and hyphens": ("", "0-"), "digits": ("", "9"), "points": ("", "1."),
    "colons": ("", ":"), "quotes": ("", '"'), "apostrophes": ("", " '"), "backslashes": ('{"a":"', "\\"), "brackets": ("", "["),
    "tags": ("<html>", "<script"), "comments": ("<", "<!--"), "entities": ("<p>", "&#x41;"), "commas": ("", ","),
    "marks": ("", "(:,"),
    "ellipses": ("", "…"), "lines": ("", "a\n"), "rows": ("a,b\n", '"x\n'), "quoted rows": ("created_at,b\n", '"""\n'),
    "names": ("{", '"a":1,'), "known words": ("", "device "), "escapes": ("", "\x1b[2J"), "surrogates": ("", "\udcff"),
    "percent": ("", "%(a"), "bearer": ("", "bearer "), "labels": ("https://", "a."), "words for null": ("", "null"),
}  # fmt: skip
#: Characters: a tenth of a million by day, a million at night (HYPOTHESIS_PROFILE=thorough).
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)[: 2 + examples(2)]
#: Seconds of the processor for a million characters. What grows with the square takes minutes.
TIME = 10.0


def refused(call: Callable[[], Any]) -> None:
    with contextlib.suppress(AdjustError, ValueError):
        result = call()
        if isinstance(result, Iterator):
            for _ in result:
                pass


def _names(length: int) -> list[str]:
    return [str(number) for number in range(length // 8)]


def _twice(length: int) -> str:
    return json.dumps(dict.fromkeys(_names(length)))[:-1] + ', "7": 1}'


READING: dict[str, Callable[[str], Any]] = {
    "classify": lambda text: [classify.classify(status, text) for status in (200, 400, 403, 502)],
    "a message": lambda text: classify.classify(400, json.dumps({"error": text, "timestamp": text})),
    "a header": lambda text: classify.classify(503, "", retry_after=text, content_type=text),
    "read_answer": classify.read_answer,
    "known_words": lambda text: vocabulary.known_words(text, also=["asked"]),
    "escape": redaction.escape,
    "quote": redaction.quote,
    "mask_values": redaction.mask_values,
    "mask_params": lambda text: redaction.mask_params({"gps_adid": text, text: text}, EVENT),
    "reason_of": reason_of,
    "base_url": lambda text: base_url(text, None, "x", "host"),
    "JSON lines": lambda text: json_lines(io.StringIO(text), "x"),
    "a JSON list": lambda text: json_list(io.StringIO(text), "x"),
    "CSV": lambda text: csv_rows(io.StringIO(text), "x", RowOptions()),
    "CSV with a head": lambda text: csv_rows(io.StringIO(f"created_at,b\n{text}"), "x", RowOptions()),
    "CSV with backslashes": lambda text: csv_rows(
        io.StringIO(f"created_at,b\n{text}"), "x", RowOptions(escape_char="\\")
    ),
    "a name twice in JSON": lambda text: json_lines(io.StringIO(_twice(len(text))), "x"),
    "a name twice in a head": lambda text: check_columns(["created_at", *_names(len(text)), "7"], "x", RowOptions()),
    "columns": lambda text: column_names([(part,) for part in text.split(" ")] * 2),
    "head": lambda text: check_is_head([*text, *text], "x", RowOptions()),
    "columns that are unknown": lambda text: check_columns(["created_at", *text, *text], "x", RowOptions()),
    "a report": lambda text: read_report(text.encode("utf-8", "replace"), ["day"], ["events"]),
    "form_encoded": lambda text: form_encoded({"a": text.encode("utf-8", "replace").decode()}),
    "Days": lambda text: Days.parse(text, "x"),
    "a pasted token": lambda text: AdjustConnection.read(Connection(conn_id="x", conn_type="adjust", password=text)),
}


def spent_on(read: Callable[[], object], allowed: float) -> float:
    """Seconds of the processor; of three calls the shortest, unless the first is short enough.

    A first call may import something, and another process may have taken the processor's caches away.
    """
    shortest = math.inf
    for _ in range(3):
        began = time.thread_time()
        refused(read)
        shortest = min(shortest, time.thread_time() - began)
        if shortest <= allowed:
            break
    return shortest


def test_whatever_reads_takes_time_that_grows_with_the_text() -> None:
    slow = []
    for (name, read), (shape, (start, repeated)) in itertools.product(READING.items(), SHAPES.items()):
        for length in LENGTHS:
            text = start + repeated * (length // len(repeated))
            allowed = TIME * length / 1_000_000 + 0.2
            if (took := spent_on(lambda read=read, text=text: read(text), allowed)) > allowed:  # type: ignore[misc]
                slow.append(f"{name} of {length:,} characters ({shape}): {took:.2f} s")
                break
    assert slow == []
