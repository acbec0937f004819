"""Every reason has one meaning and one remedy, and no code in the package is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from table import table

import airflow_provider_adjust
from airflow_provider_adjust.s2s.answers.classify import _BY_MESSAGE
from airflow_provider_adjust.s2s.answers.outcome import DIFFERS, SETTLED_BEFORE, Outcome
from airflow_provider_adjust.s2s.answers.reasons import REASONS, Kind, Reason, reason_of
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS

PACKAGE = Path(airflow_provider_adjust.__file__).parent
#: The place of the reason in the arguments of what carries one.
REASON_AT = {"InvalidEvent": 0, "Verdict": 1, "Receipt": 1, "Ending": 1, "receipt_for": 2}


def given_codes(tree: ast.AST) -> Iterator[str]:
    """The codes that are written where a reason is given; ``*`` stands for what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from literals(node.args[REASON_AT[name] :][:1] if name in REASON_AT else [])
            yield from literals([keyword.value for keyword in node.keywords if keyword.arg == "reason"])
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if getattr(target, "id", "") == "reason" and node.value is not None:
                yield from literals([node.value])
        elif isinstance(node, ast.Tuple):  # an outcome, then the reason
            for before, after in zip(node.elts, node.elts[1:], strict=False):
                is_outcome = isinstance(before, ast.Attribute) and getattr(before.value, "id", "") == "Outcome"
                yield from literals([after] if is_outcome else [])


def literals(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
        elif isinstance(node, ast.IfExp):
            yield from literals([node.body, node.orelse])


def codes_in_the_package() -> set[str]:
    codes = {DIFFERS, *SETTLED_BEFORE}
    for path in sorted(PACKAGE.rglob("*.py")):
        codes.update(given_codes(ast.parse(path.read_text(encoding="utf-8"))))
    return {code for code in codes if re.fullmatch(r"[a-z0-9_*]+", code)}


def rule_codes() -> set[str]:
    """Reasons that are made of a parameter's name by the schema's rules."""
    codes = set()
    for endpoint in ENDPOINTS.values():
        rules = endpoint.rules
        # Constants are always set, and a time has been demanded before.
        needed = set(rules.required) - endpoint.constants.keys() - {"created_at_unix"}
        needed |= {name for _, name in rules.dependents}
        alternatives = [
            each for each in _schemas(endpoint.schema, "anyOf") if endpoint.device_ids.isdisjoint(_first(each))
        ]
        needed |= {name for each in alternatives for name in _first(each)}
        codes |= {f"missing_{name}" for name in needed}
        codes |= {f"conflicting_{each['required'][0]}" for each in _schemas(endpoint.schema, "not")}
    return codes


def _schemas(schema: Any, rule: str) -> list[Any]:
    return [each[rule] for each in (schema, *schema.get("allOf", ())) if rule in each]


def _first(choices: Any) -> list[str]:
    return list(choices[0]["required"])


def test_the_codes_are_found_where_they_are_given() -> None:
    found = codes_in_the_package()
    assert {"unknown_parameter", "repeated_event_id", "wrong_s2s_token", "no_answer", "lane_held", "stopped"} <= found
    assert {"shared_second", "not_verified", "too_many_resends", "delivered_before", DIFFERS, "erased"} <= found
    assert {"http_*", "invalid_*", "missing_*", "conflicting_*"} == {code for code in found if "*" in code}


def test_no_code_of_the_package_lacks_its_reason() -> None:
    listed = {reason.code for reason in REASONS}
    codes = {code for code in codes_in_the_package() if "*" not in code} | rule_codes()
    codes |= {reason for _, _, reason in _BY_MESSAGE}
    assert {code for code in codes - listed if not code.startswith("invalid_")} == set()
    assert {"http_<status>", "invalid_<parameter>"} <= listed


def test_a_code_stands_once_except_for_statuses() -> None:
    codes = [reason.code for reason in REASONS if reason.code != "http_<status>"]
    assert len(codes) == len(set(codes))
    kinds = [reason.kind for reason in REASONS]
    assert kinds == sorted(kinds, key=list(Kind).index)


@table("reason", REASONS, ids=lambda reason: reason.code)
def test_meaning_and_remedy_are_short_sentences_without_markup(reason: Reason) -> None:
    for text in (reason.meaning, reason.remedy):
        assert text.endswith("."), text
        assert text[0].isupper() or text[0] in "'0123456789" or "_" in text.split()[0], text
        assert len(text) <= 130, text
        assert "`" not in text, text


@table(
    ("code", "kind", "retry_helps"),
    [
        ("http_403", Kind.ADJUST, False),
        ("http_499", Kind.ADJUST, False),
        ("http_408", Kind.HELD, True),
        ("http_425", Kind.HELD, True),
        ("http_429", Kind.HELD, True),
        ("http_500", Kind.HELD, True),
        ("http_502", Kind.IN_DOUBT, True),
        ("http_201", Kind.IN_DOUBT, False),
        ("http_0", Kind.IN_DOUBT, False),
        ("invalid_currency", Kind.ROW, False),
        ("invalid_revenue", Kind.ADJUST, False),
        ("created_at_in_future", Kind.ROW, True),
        ("not_adjust", Kind.NOT_ADJUST, True),
        ("wrong_s2s_token", Kind.HALT, False),
        ("of_another_version", Kind.ROW, False),
    ],
)
def test_the_meaning_of_a_code(code: str, kind: Kind, retry_helps: bool) -> None:
    reason = reason_of(code)
    assert (reason.code, reason.kind, reason.retry_helps) == (code, kind, retry_helps)


def test_a_gateways_status_is_distinguished_from_a_busy_servers() -> None:
    assert "gateway" in reason_of("http_504").meaning
    assert "gateway" not in reason_of("http_503").meaning


def test_the_advice_says_whether_a_retry_can_help() -> None:
    assert reason_of("bad_event_state").advice.startswith("a retry cannot help; compare its time")
    assert reason_of("lane_held").advice == "a retry may help; resolve the earlier event first"
    assert (
        reason_of("expired").advice
        == "a retry cannot help; leave the event out: Adjust no longer accepts it. Send such events sooner"
    )


def test_an_outcome_is_not_a_reason() -> None:
    outcomes = {outcome.value for outcome in Outcome} - {"expired"}
    assert not outcomes & {reason.code for reason in REASONS}
    assert all(re.fullmatch(r"[a-z0-9_]+(<[a-z]+>)?", reason.code) for reason in REASONS)
