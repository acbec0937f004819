"""The text of an answer reaches no message but through the one function that shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import airflow_provider_adjust

PACKAGE = Path(airflow_provider_adjust.__file__).parent
#: Names under which answers are held, and their attributes that have what came.
HOLDERS = {"response", "answer", "completion", "reply", "receipt", "self"}
TEXTS = {"text", "body", "answer", "content"}
#: The functions that read such a text, and why that shows none of it.
READERS = {
    "adjust_api/client.py: text": "decodes it",
    "adjust_api/device.py: _device": "looks for known words in it, and parses it",
    "adjust_api/reports.py: report": "parses it",
    "adjust_api/reports.py: event_slugs": "parses it",
    "adjust_api/reports.py: _words": "known_words",
    "s2s/answers/classify.py: judge": "classify, which shows it with known_words",
    "s2s/answers/receipt.py: response": "for the responses file, which somebody has to ask for",
    "s2s/delivery/loop.py: _take": "keeps it with the receipt, for the responses file",
    "s2s/transports/curl.py: answered": "builds it",
    "s2s/transports/curl.py: __init__": "builds it",
    "s2s/transports/curl.py: begin": "builds it",
    "s2s/transports/curl.py: _read": "the event's own body",
    "s2s/transports/curl.py: _write": "builds it",
    "notifications/adjust_delivery_summary.py: __init__": "the notification's own text",
    "notifications/adjust_delivery_summary.py: _configured": "the notification's own text",
    "s2s/delivery/forget.py: read_completion": "whether there is an answer in Adjust's form; it is not shown",
    "s2s/delivery/sink.py: _list": "for the responses file",
    "s2s/transports/requests.py: __init__": "the event's own body",
    "s2s/transports/requests.py: __iter__": "the event's own body",
}


def reads(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Attribute]]:
    """Each use of an answer's text, with the function that it is in."""
    for node in ast.iter_child_nodes(tree):
        within = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(node, ast.Attribute) and node.attr in TEXTS:
            holder = node.value
            name = holder.id if isinstance(holder, ast.Name) else getattr(holder, "attr", "")
            if name in HOLDERS:
                yield within, node
        yield from reads(node, within)


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("sandbox/"):  # it writes the answers
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_who_reads_the_text_of_an_answer_is_known() -> None:
    found = {f"{name}: {function}" for name, tree in trees() for function, _ in reads(tree)}
    assert found == READERS.keys(), "a function that reads what came shows it through known_words, and is listed here"


def test_no_answer_is_put_into_a_sentence() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for _ in reads(node)
    ]
    assert wrong == []
