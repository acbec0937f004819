"""Refuse words that this project no longer writes, in its pages, its changelog and its example DAGs.

    python scripts/prose.py

Each line is named with the word and what to write instead. Code, in fences and between backticks, is not prose; what
scripts/generate_docs.py writes is judged where its source is.

Of the linters on PyPI, proselint takes no list of words from outside, codespell no expressions of several words, and the
wheel of Vale has only a script that downloads a program when it is first run, which no digest of this project pins.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", ".github/**/*.md", "example_dags/**/*.py", "example_dags/**/*.sql")

#: What is no longer written, and what is.
RETIRED = {
    r"mend(?:s|ed|ing)?": "correct, fix",
    r"what is to be": "what to",
    r"(?<!there )(?<!here )is no (?!longer|more|such)(?!\d)": "is not a",
    r"(?:go|goes|went|going|gone) on(?! to\b)(?! strike)": "continue, resume",
    r"(?:tell|tells|told|telling) of": "report",
    r"what (?:\w+ ){1,4}(?:came|comes) to": "the total of",
    r"(?:became|becomes|become) of": "happened to, the outcome of",
    r"(?:stand|stands|tell|tells|told) apart": "distinguish",
    r"in words": "as text",
    r"wish(?:es|ed)?": "request, want",
    r"a look(?! at)": "a check",
    r"whose": "with ... that, of which",
    r"lest": "so that ... not",
    r"anew": "again",
    r"belongs? into": "belong in",
    r"sets? (?:\w+ )?off|(?<!is )(?<!are )set off": "trigger, start",
    r"(?:take|takes|took|taken) the place of": "override, replace",
    r"stays? so": "stay deleted, stay as it is",
    r"installed apart": "installed separately",
    r"the whole (?:files|table) (?:are|of)": "the complete",
    r"besides?: ": "also",
    r"that which": "what",
    r"begins? low": "start low",
    r"worth its price": "worth it, use",
}
_WORDS = re.compile("|".join(rf"(?P<w{number}>\b{words}\b)" for number, words in enumerate(RETIRED)), re.IGNORECASE)
_INSTEAD = list(RETIRED.values())
_GENERATED = re.compile(r"<!-- generated: .*?<!-- end of generated: ", re.DOTALL)
_FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`[^`\n]*`")


def _blank(match: re.Match[str]) -> str:
    """The match without its words, and with its lines."""
    return re.sub(r"[^\n]", " ", match[0])


def prose_of(page: Path) -> str:
    """The page with blanks where it has code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".md":
        return text
    for code in (_GENERATED, _FENCE, _SPAN):
        text = code.sub(_blank, text)
    return text


def findings(page: Path) -> Iterator[str]:
    """The retired words of a page, each with its line. An expression may go over the end of a line."""
    text = prose_of(page)
    joined = re.sub(r"\n[ #|>]*(?=\S)", lambda end: " " * len(end[0]), text)
    for match in _WORDS.finditer(joined):
        line = text.count("\n", 0, match.start()) + 1
        place = page.relative_to(ROOT).as_posix()
        yield f"{place}:{line}: {match[0].strip()!r}; rather: {_INSTEAD[int(match.lastgroup[1:])]}"  # type: ignore[index]


def main() -> None:
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    found = [each for page in pages for each in findings(page)]
    print("\n".join(found) or f"{len(pages)} pages and examples have none of the {len(RETIRED)} retired expressions")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
