"""Write the tables of the docs that come from the code, the constraints or the benchmarks' figures.

`python scripts/generate_docs.py` rewrites the tables; with `--check` it writes nothing and exits with 1 when one is not
up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark import page as benchmarks
from benchmark import results
from generated_sections import with_section
from warehouses import table as warehouses_table

from airflow_provider_adjust.get_provider_info import get_provider_info
from airflow_provider_adjust.option_arguments import argument_fields
from airflow_provider_adjust.reconcile.exports.heads import FIELDS, definition
from airflow_provider_adjust.reconcile.exports.join import DIFFERENCES
from airflow_provider_adjust.reconcile.exports.result import MEANINGS
from airflow_provider_adjust.s2s import RowOptions, SendOptions
from airflow_provider_adjust.s2s.answers.reasons import REASONS, Kind
from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT, THIRD_PARTY_SHARING, Endpoint, Parameter

DOCS = Path(__file__).resolve().parent.parent / "docs"

#: The values of each kind. `_value` describes `constant`, `choice` and `device_id`.
VALUES = {
    "currency": "ISO 4217 code in any case",
    "flag": "true, false, 1 or 0",
    "identifier": "text",
    "integer": "whole number, not negative",
    "ipv4": "one IPv4 address",
    "money": "number or its text",
    "object": "mapping, or JSON text of one",
    "text": "any scalar",
    "time": "timestamp, ISO 8601 text or epoch seconds",
    "token": "letters and digits",
}


def parameters_table(endpoint: Endpoint) -> str:
    """Return the Markdown table of every parameter of an endpoint, in the schema's order."""
    lines = ["| Parameter | Meaning | Value | Adjust's page |", "|---|---|---|---|"]
    lines += [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(p, endpoint)) + " |"
        for p in endpoint.parameters.values()
    ]
    return "\n".join(lines)


def _cells(parameter: Parameter, endpoint: Endpoint) -> Iterator[str]:
    yield f"`{parameter.name}`"
    yield parameter.description
    yield _value(parameter)
    yield f"[{endpoint.schema['properties'][parameter.name]['x-adjust']['source']}]({parameter.source})"


def _value(parameter: Parameter) -> str:
    if parameter.kind == "constant":
        return f"`{next(iter(parameter.choices))}`, set by the provider"
    if parameter.kind == "choice":
        return "one of " + ", ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.kind == "device_id":
        changes = [f"made {parameter.letter_case} case"] if parameter.letter_case else []
        changes += [] if parameter.hyphens else ["hyphens removed"]
        return ", ".join(["device id", *changes])
    return VALUES[parameter.kind]


def options_table(*classes: type[Any]) -> str:
    """Return the Markdown table of the fields of options classes that are arguments of an operator."""
    lines = ["| Parameter | Default | Templated | Meaning |", "|---|---|---|---|"]
    for field in argument_fields(*classes):
        facts = field.metadata
        default = json.dumps(field.default) if isinstance(field.default, str) else repr(field.default)
        meaning = f"{facts['help'][0].upper()}{facts['help'][1:]}.".replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{default}` | {'yes' if facts['templated'] else 'no'} | {meaning} |")
    return "\n".join(lines)


def configuration_table() -> str:
    """Return the Markdown table of the options of ``[adjust]``, as the provider describes them to Airflow."""
    lines = ["| Option | Type | Default | Example | Since | Meaning |", "|---|---|---|---|---|---|"]
    for name, option in get_provider_info()["config"]["adjust"]["options"].items():
        default, example = (f"`{option[key]}`" if option[key] else "empty" for key in ("default", "example"))
        cells = (f"`{name}`", option["type"], default, example, option["version_added"], option["description"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def export_columns_table() -> str:
    """Return the Markdown table of what is read of an export, and the CSV definition to paste."""
    rows = [
        f"| `{field.name}` | `{field.column}` | {'yes' if field.is_needed else 'no'} | {meaning}. |"
        for field in FIELDS
        for meaning in [field.meaning[0].upper() + field.meaning[1:]]
    ]
    table = "\n".join(["| What | Column | Needed | Meaning |", "|---|---|---|---|", *rows])
    return f"```text\n{definition()}\n```\n\n{table}"


def export_verdicts_table() -> str:
    """Return the Markdown table of the verdicts of exports."""
    differences = {verdict.value for verdict in DIFFERENCES}
    rows = [
        f"| `{verdict}` | {meaning[0].upper()}{meaning[1:]} | {'yes' if verdict in differences else 'no'} |"
        for verdict, meaning in MEANINGS.items()
    ]
    return "\n".join(["| Word | Meaning | Counts as a difference |", "|---|---|---|", *rows])


#: The outcomes of reasons that do not settle the event.
OUTCOMES = {Kind.IN_DOUBT: "`in_doubt`", Kind.HELD: "`held`"}


def reasons_table(*kinds: Kind) -> str:
    """Return the Markdown table of the reasons of these kinds; with their outcomes, where the kinds differ in them."""
    heads = ["Reason", "Outcome", "What to do", "What happened", "A retry helps"]
    rows = [
        [f"`{reason.code}`", OUTCOMES.get(reason.kind, ""), _marked(reason.remedy), _marked(reason.meaning), retry]
        for reason in REASONS
        if reason.kind in kinds
        for retry in ["yes" if reason.retry_helps else "no"]
    ]
    table = [heads, ["---"] * len(heads), *rows]
    if not OUTCOMES.keys() & set(kinds):
        table = [[cell for column, cell in enumerate(row) if column != 1] for row in table]
    return "\n".join("|---" * len(row) + "|" if row[0] == "---" else f"| {' | '.join(row)} |" for row in table)


def _marked(sentence: str) -> str:
    """The sentence with parameters and reasons set as code: words with an underscore, arguments, and SQL."""
    return re.sub(r"\S+ AS \w+|\b\w+='\w+'|\b[a-z0-9]+(?:_[a-z0-9]+)+\b(?:=\w+)?", r"`\g<0>`", sentence)


#: The generated tables: the page, the name between its markers, and the table.
TABLES = (
    ("reference/configuration.md", "configuration", configuration_table),
    ("reference/events.md", "parameters", lambda: parameters_table(EVENT)),
    ("guides/ad-revenue.md", "parameters", lambda: parameters_table(AD_REVENUE)),
    ("guides/third-party-sharing.md", "parameters", lambda: parameters_table(THIRD_PARTY_SHARING)),
    ("reference/failures.md", "reasons of rows", lambda: reasons_table(Kind.ROW)),
    ("reference/failures.md", "refusals", lambda: reasons_table(Kind.ADJUST)),
    ("reference/failures.md", "halts", lambda: reasons_table(Kind.HALT)),
    ("reference/failures.md", "not adjust", lambda: reasons_table(Kind.NOT_ADJUST)),
    ("reference/failures.md", "unresolved", lambda: reasons_table(Kind.IN_DOUBT, Kind.HELD)),
    ("reference/failures.md", "skipped", lambda: reasons_table(Kind.SKIPPED)),
    ("reference/operators.md", "row options", lambda: options_table(RowOptions)),
    ("reference/operators.md", "sending options", lambda: options_table(SendOptions)),
    ("guides/exports.md", "definition", export_columns_table),
    ("guides/exports.md", "verdicts", export_verdicts_table),
    ("guides/warehouses.md", "warehouses", warehouses_table),
    *(
        (benchmarks.PAGE, name, lambda text=text: text)
        for name, text in benchmarks.sections(results.load(DOCS / benchmarks.RESULTS)).items()
    ),
)


def brought_up_to_date(page: str, file: str) -> str:
    """Return the page with all of its tables."""
    for where, name, table in TABLES:
        if where == file:
            page = with_section(page, name, table())
    return page


def main() -> None:
    for file in sorted({file for file, _, _ in TABLES}):
        path = DOCS / file
        page = path.read_text(encoding="utf-8")
        wanted = brought_up_to_date(page, file)
        if "--check" not in sys.argv[1:]:
            path.write_text(wanted, encoding="utf-8")
        elif page != wanted:
            raise SystemExit(f"{path} is not up to date; run python scripts/generate_docs.py")


if __name__ == "__main__":
    main()
