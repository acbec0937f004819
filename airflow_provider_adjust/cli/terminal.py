"""The output of the commands: colours, tables and a progress bar on a terminal, plain text in a pipe.

Results go to stdout, everything else to stderr. ``NO_COLOR`` and ``FORCE_COLOR`` are respected. Rows, files and answers
hold line ends and escape sequences; whatever is written here has them as text, so that none steers the terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import advice_lines, outcome_rows, plain_table, reason_rows
from airflow_provider_adjust.s2s.answers.outcome import UNDELIVERED, UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.redaction import escape

#: Characters of a line or of a cell.
_LONGEST = 1000
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
    """The stdout and stderr of one command."""

    def __init__(self) -> None:
        self.out = _Console(highlight=False, soft_wrap=True)
        self.err = _Console(highlight=False, soft_wrap=True, stderr=True)

    def say(self, *lines: str) -> None:
        """Write lines of the result to stdout."""
        for line in lines:
            self.out.print(_shown(line), markup=False)

    def notes(self, lines: Iterable[tuple[int, str]]) -> None:
        """Write what a task would log, each line with its level, to stderr."""
        for level, line in lines:
            if level >= logging.WARNING:
                self.warn(line)
            else:
                self.err.print(line, markup=False)

    def warn(self, text: str) -> None:
        """Write a warning to stderr."""
        self.err.print(text, markup=False, style="yellow")

    def complain(self, error: Exception) -> None:
        """Write an error to stderr."""
        self.err.print(f"[bold red]{type(error).__name__}:[/] {escape_markup(_shown(str(error)))}")

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
        for name in head:
            table.add_column(name, justify="right" if name in right else "left", overflow="fold")
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
            self.say(*advice, "")

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Progress]:
        """A progress bar on stderr within the context; none where stderr is not a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,} events[green], {task.fields[delivered]:,} delivered"),
            TextColumn("[red]{task.fields[missing]:,} not delivered"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.err, transient=True, disable=not self.err.is_terminal) as progress:
            progress.add_task(escape_markup(_shown(description)), total=total, delivered=0, missing=0)
            yield progress


def _shown(text: str) -> str:
    return escape(text, _LONGEST)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process with 1, the code for refused rows.
        raise BrokenPipeError
