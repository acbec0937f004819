"""Sections of a page that a program writes, between two comments that name them."""

from __future__ import annotations


def with_section(page: str, name: str, text: str) -> str:
    """Return the page with the text between the section's marks."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of generated: {name} -->"
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
