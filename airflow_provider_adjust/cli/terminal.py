"""The output of the commands: colours, tables and a progress bar on a terminal, plain text in a pipe.

Results go to stdout, everything else to stderr. ``NO_COLOR`` and ``FORCE_COLOR`` are respected. Rows, files and answers may
contain line ends and escape sequences. They are escaped here, so that they cannot control the terminal.
"""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest

from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from airflow_provider_adjust.cli.words import Words
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import advice_lines, outcome_rows, plain_table, reason_rows
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.errors import AdjustError
from airflow_provider_adjust.s2s.redaction import escape

#: The longest line and the longest cell, in characters.
_LONGEST = 1000
#: The longest word that a narrow terminal does not break, in characters.
_UNBROKEN = 24
_STYLES = (
    {outcome.value: "red" for outcome in UNDELIVERED}
    | {outcome.value: "yellow" for outcome in UNRESOLVED}
    | {
        Outcome.DELIVERED.value: "green",
        "valid": "green",
        Outcome.SKIPPED.value: "cyan",
        Outcome.DUPLICATE.value: "cyan",
    }
)


class Terminal:
    """The stdout and stderr of one command.

    :param words: translates messages of the operators' code for the command line.
    :param ends_with_reader: raise ``BrokenPipeError`` if the pipe was closed. Otherwise the command continues, and its output
        is lost.
    """

    def __init__(self, words: Words | None = None, *, ends_with_reader: bool = False) -> None:
        self.words = words or Words()
        self.out = _Console(highlight=False, soft_wrap=True)
        self.err = _Console(highlight=False, soft_wrap=True, stderr=True)
        self.out.ends_with_reader = self.err.ends_with_reader = ends_with_reader

    def say(self, *lines: str) -> None:
        """Write lines of the result to stdout."""
        for line in lines:
            self.out.print(_wrapped(_shown(line), self.out), markup=False)

    def notes(self, lines: Iterable[tuple[int, str]]) -> None:
        """Write lines that a task would log, each with its level, to stderr."""
        for level, line in lines:
            if level >= logging.WARNING:
                self.warn(line)
            else:
                self.err.print(_wrapped(self.words.of(line), self.err), markup=False)

    def warn(self, text: str) -> None:
        """Write a warning to stderr."""
        self.err.print(_wrapped(_shown(self.words.of(text)), self.err), markup=False, style="yellow")

    def complain(self, error: Exception) -> None:
        """Write an error to stderr. An error from elsewhere is shown with its type, since its message may be empty."""
        is_ours = isinstance(error, AdjustError)
        kind = "Error" if is_ours else type(error).__name__
        # Lists of problems have lines that begin with two spaces.
        lines = self.words.of(str(error)).split("\n  ") if is_ours else [str(error)]
        shown = [
            _wrapped(f"{start}{_shown(line)}", self.err)
            for start, line in zip_longest([f"{kind}: "], lines, fillvalue="  ")
        ]
        text = "\n".join(shown).removeprefix(f"{kind}:")
        self.err.print(f"[bold red]{kind}:[/]{escape_markup(text)}")

    def trace(self, text: str) -> None:
        """Write a traceback to stderr, line by line."""
        for line in text.splitlines():
            self.err.print(_shown(line), markup=False)

    def table(
        self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()
    ) -> None:
        """Write a table; the columns named in ``right`` are aligned to the right. A pipe gets a table in plain text."""
        title, rows = _shown(title), [tuple(map(_shown, row)) for row in rows]
        if not self.out.is_terminal:
            self.out.print(f"{title}\n{plain_table(head, rows, right=right)}\n", markup=False)
            return
        self.out.print(title, style="bold", markup=False)
        table = Table(box=box.ROUNDED)
        for place, name in enumerate(head):
            # The last column, with the sentences, shrinks to make room for the others.
            words = [word for row in rows for word in row[place].split()] if place < len(head) - 1 else []
            least = min(_UNBROKEN, max(map(len, words), default=0))
            table.add_column(
                name, justify="right" if name in right else "left", overflow="fold", min_width=least or None
            )
        for row in rows:
            style = _STYLES.get(row[0].partition(":")[0])
            table.add_row(*map(escape_markup, row), style=style)
        self.out.print(table, soft_wrap=False)

    def summary(self, title: str, summary: DeliverySummary, *, names: Mapping[str, str] | None = None) -> None:
        """Write the counts by outcome, then by reason; ``names`` renames outcomes."""
        rows = [((names or {}).get(outcome, outcome), *rest) for outcome, *rest in outcome_rows(summary)]
        self.table(title, ("outcome", "events", "revenue"), rows, right=("events",))
        if reasons := reason_rows(summary):
            head = ("reason", "events", "revenue affected")
            self.table("By reason", head, reasons, right=("events",))
        if advice := advice_lines(summary):
            self.say(*map(self.words.of, advice), "")

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Progress]:
        """A progress bar on stderr within the context; none if stderr is not a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,} events[green], {task.fields[delivered]:,} delivered"),
            TextColumn("[red]{task.fields[missing]:,} not delivered"),
            _RateColumn(),
            *([TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn()] if total else []),
        )
        with Progress(*columns, console=self.err, transient=True, disable=not self.err.is_terminal) as progress:
            progress.add_task(escape_markup(_shown(description)), total=total, delivered=0, missing=0)
            yield progress


def _shown(text: str) -> str:
    return escape(text, _LONGEST)


def _wrapped(text: str, console: Console) -> str:
    """The text wrapped to the terminal; a path stays in one piece, so that it can be copied."""
    if not console.is_terminal:
        return text
    indent = text[: len(text) - len(text.lstrip(" "))]
    lines = textwrap.wrap(
        text,
        console.width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return "\n".join(lines)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class _Console(Console):
    ends_with_reader = False

    def on_broken_pipe(self) -> None:
        # Rich would end the process with 1, the code for refused rows.
        if self.ends_with_reader:
            raise BrokenPipeError
        self.quiet = True
        # Python would try to write its buffer to the pipe when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
