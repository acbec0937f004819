"""Write the table of parameters in docs/events.md from the schema that the provider itself reads.

`python scripts/generate_docs.py` rewrites the table; with `--check` it writes nothing and exits with 1 when the table is
not what the schema says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Parameter

PAGE = Path(__file__).resolve().parent.parent / "docs" / "events.md"
BEGIN = "<!-- generated: parameters -->"
END = "<!-- end of generated: parameters -->"

#: What a value of each kind may be. `choice` and `device_id` have words of their own.
VALUES = {
    "constant": "`1`, set by the provider",
    "currency": "ISO 4217 code in any case",
    "flag": "true, false, 1 or 0",
    "integer": "whole number, not negative",
    "ipv4": "one IPv4 address",
    "money": "number or its text",
    "object": "mapping, or JSON text of one",
    "text": "any scalar",
    "time": "timestamp, ISO 8601 text or epoch seconds",
    "token": "letters and digits",
}


def parameters_table() -> str:
    """Return the Markdown table of every parameter, in the schema's order."""
    lines = ["| Parameter | Meaning | Value | Adjust's page |", "|---|---|---|---|"]
    lines += [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(p)) + " |" for p in EVENT.parameters.values()
    ]
    return "\n".join(lines)


def _cells(parameter: Parameter) -> Iterator[str]:
    yield f"`{parameter.name}`"
    yield parameter.description
    yield _value(parameter)
    yield f"[{EVENT.schema['properties'][parameter.name]['x-adjust']['source']}]({parameter.source})"


def _value(parameter: Parameter) -> str:
    if parameter.kind == "choice":
        return "one of " + ", ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.kind == "device_id":
        changes = [f"made {parameter.letter_case} case"] if parameter.letter_case else []
        changes += [] if parameter.hyphens else ["hyphens removed"]
        return ", ".join(["device id", *changes])
    return VALUES[parameter.kind]


def with_table(page: str) -> str:
    """Return the page with the table between its markers brought up to date."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{parameters_table()}\n\n{END}{after}"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_table(page)
    if "--check" in sys.argv[1:]:
        if page != wanted:
            raise SystemExit(f"{PAGE} is not up to date; run python scripts/generate_docs.py")
    else:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
