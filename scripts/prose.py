"""Refuse words that this project no longer writes: in its pages, its changelog, its example DAGs and its code.

    python scripts/prose.py

Each line is named with the word and what to write instead. In a page, code in fences and between backticks is not judged,
and what scripts/generate_docs.py writes is judged where its source is. In a module, the docstrings, the comments and the
names of functions and classes are judged; in the package also its messages.

Of the linters on PyPI, proselint takes no list of words from outside, codespell no expressions of several words, and the
wheel of Vale has only a script that downloads a program when it is first run, which no digest of this project pins.
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", ".github/**/*.md", "example_dags/**/*.py", "example_dags/**/*.sql")
PACKAGE = "airflow_provider_adjust"
MODULES = (f"{PACKAGE}/**/*.py", "scripts/**/*.py", "tests/**/*.py")

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
_SPAN = re.compile(r"``[^`\n]*``|`[^`\n]*`")
_PLACEHOLDER = re.compile(r"\{[^{}\n]*\}")
#: What begins a line of a comment, a table or a quotation.
_MARKS = re.compile(r"^[ \t]*(?:[#>|]:?[ \t]*)*", re.MULTILINE)
#: Stands in a text where it has something else than prose, so that no expression goes across.
_NOT_PROSE = "\0"
_FIRST_OF_A_STATEMENT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
#: The tokens of literals. Since Python 3.12, a literal with placeholders has several.
_LITERALS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def _blank(match: re.Match[str]) -> str:
    """The match without its words, and with its lines."""
    return re.sub(r"[^\n]+", _NOT_PROSE, match[0])


def prose_of(page: Path) -> str:
    """The page without its code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".md":
        return text
    for code in (_GENERATED, _FENCE, _SPAN):
        text = code.sub(_blank, text)
    return text


def _prose_in(module: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module, each with its first line: docstrings, names and comments; in the package all literals."""
    with module.open("rb") as file:
        tokens = [each for each in tokenize.tokenize(file.readline) if each.type != tokenize.NL]
    comments: list[tokenize.TokenInfo] = []
    before = tokens[0]
    has_messages = module.is_relative_to(ROOT / PACKAGE)
    for token in tokens:
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] > comments[-1].start[0] + 1:
                yield _joined(comments)
                comments = []
            comments.append(token)
            continue
        is_docstring = token.type == tokenize.STRING and before.type in _FIRST_OF_A_STATEMENT
        if is_docstring or (has_messages and token.type in _LITERALS):
            yield token.start[0], _SPAN.sub(_blank, _PLACEHOLDER.sub(_blank, token.string))
        elif token.type == tokenize.NAME and before.string in ("def", "class"):
            yield token.start[0], token.string.replace("_", " ")
        before = token
    if comments:
        yield _joined(comments)


def _joined(comments: Sequence[tokenize.TokenInfo]) -> tuple[int, str]:
    """Comments on lines that follow one another are one text."""
    return comments[0].start[0], _SPAN.sub(_blank, "\n".join(each.string for each in comments))


def _found_in(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """The retired words of a text, each with the number of line ends before it. An expression may go over a line's end."""
    plain = re.sub(r"\n(?=\n)", f"\n{_NOT_PROSE}", _MARKS.sub("", text))
    starts = [word.start() for word in re.finditer(r"\S+", plain)]
    flat = " ".join(plain.split())
    for match in _WORDS.finditer(flat):
        yield plain.count("\n", 0, starts[flat.count(" ", 0, match.start())]), match


def findings(path: Path) -> Iterator[str]:
    """The retired words of a page or a module, each with its line."""
    place = path.relative_to(ROOT).as_posix()
    is_module = any(path.is_relative_to(ROOT / pattern.partition("/")[0]) for pattern in MODULES)
    for first, text in _prose_in(path) if is_module else [(1, prose_of(path))]:
        for lines, match in _found_in(text):
            instead = _INSTEAD[int(match.lastgroup[1:])]  # type: ignore[index]
            yield f"{place}:{first + lines}: {match[0].strip()!r}; rather: {instead}"


def main() -> None:
    paths = sorted({path for pattern in (*PAGES, *MODULES) for path in ROOT.glob(pattern)})
    found = [each for path in paths for each in findings(path)]
    print("\n".join(found) or f"{len(paths)} pages and modules have none of the {len(RETIRED)} retired expressions")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
