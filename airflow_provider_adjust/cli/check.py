"""``validate`` and ``preview``: check and order the rows of a file as for sending."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import given, hook_of, open_rows
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.delivery_run import counted_unsent, left_out_lines
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.intake import Intake
from airflow_provider_adjust.s2s.errors import StreamOutOfOrder
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.redaction import mask_params

#: The most refused rows that are listed.
REFUSED_SHOWN = 20
NO_ROWS = "Warning: no row was read; is it the right file, and did its writer finish?"
#: Placeholders for the settings of a connection if none is named; never shown, never sent.
_TAKEN_AS_GIVEN = {"app_token": "given", "environment": "production"}


def validate(options: Namespace, terminal: Terminal) -> int:
    """Check every row; list the first refused ones, and count all."""
    parser, _ = parser_of(options)
    with open_rows(options.file, given(options, RowOptions)) as rows:
        return check(parser, rows, terminal, title=f"Rows of {options.file}")


def check(
    parser: EventParser,
    rows: Sequence[Any] | Iterable[Any],
    terminal: Terminal,
    *,
    title: str,
    shown: int = 0,
    hidden: frozenset[str] = frozenset(),
) -> int:
    """Check the rows, show the first ``shown`` events, and list what is refused. Nothing is sent.

    :param hidden: parameters that are not shown.
    :raises StreamOutOfOrder: a row is older than an earlier one; the results up to it are shown.
    """
    summary = DeliverySummary()
    refused: list[Receipt] = []
    unshown = shown
    out_of_order: StreamOutOfOrder | None = None
    try:
        for item in counted_unsent(in_order(parser, rows), summary):
            if isinstance(item, Receipt):
                if len(refused) < REFUSED_SHOWN:
                    refused.append(item)
            elif unshown:
                unshown -= 1
                show_event(item, terminal, hidden=hidden)
    except StreamOutOfOrder as error:
        out_of_order = error
    valid = summary.outcomes[Outcome.SKIPPED.value]
    _show_refused(refused, summary.read - valid, terminal)
    terminal.notes(left_out_lines(list(parser.left_out_columns), parser.options))
    terminal.summary(f"{title}, of which nothing was sent", summary, names={Outcome.SKIPPED.value: "valid"})
    if out_of_order:
        raise out_of_order
    if not summary.read:
        terminal.warn(NO_ROWS)
    return ExitCode.REFUSED if valid < summary.read else ExitCode.OK


def preview(options: Namespace, terminal: Terminal) -> int:
    """Show the first events. A stream is read only as far as needed."""
    parser, assumed = parser_of(options)
    refused: list[Receipt] = []
    with open_rows(options.file, given(options, RowOptions)) as rows:
        jobs = _events(in_order(parser, rows), refused)
        shown = 0
        for job in islice(jobs, options.events):
            shown += 1
            show_event(job, terminal, hidden=assumed)
        if not (shown or refused) and next(jobs, None) is None and not refused:
            terminal.warn(NO_ROWS)
    _show_refused(refused[:REFUSED_SHOWN], len(refused), terminal)
    terminal.notes(left_out_lines(list(parser.left_out_columns), parser.options))
    return ExitCode.REFUSED if refused else ExitCode.OK


def show_event(job: Job, terminal: Terminal, *, hidden: frozenset[str] = frozenset()) -> None:
    """Write one event as it would be sent, with device ids, tokens and other possibly personal values masked."""
    params = mask_params(job.event.params, job.event.endpoint)
    rows = [(name, text) for name, text in params.items() if name not in hidden]
    time = job.event.occurred_at.isoformat()
    terminal.table(f"Row {job.position:,}, event {job.event.event_id}, {time}", ("parameter", "value"), rows)


def in_order(parser: EventParser, rows: Sequence[Any] | Iterable[Any]) -> Iterator[Job | Receipt]:
    """The events that would be sent, in order, and receipts for the others."""
    intake = Intake({None: parser})
    return intake.sorted(rows) if isinstance(rows, Sequence) else intake.stream(rows)


def _events(items: Iterable[Job | Receipt], refused: list[Receipt]) -> Iterator[Job]:
    for item in items:
        if isinstance(item, Job):
            yield item
        else:
            refused.append(item)


def parser_of(options: Namespace) -> tuple[EventParser, frozenset[str]]:
    """The parser, and the names of parameters that are placeholders."""
    row_options = given(options, RowOptions)
    if options.adjust_conn_id:
        return hook_of(options).route(row_options).parser, frozenset()
    assumed = frozenset(name for name in _TAKEN_AS_GIVEN if not getattr(row_options, name))
    row_options = replace(
        row_options,
        app_token=row_options.app_token or _TAKEN_AS_GIVEN["app_token"],
        environment=row_options.environment or _TAKEN_AS_GIVEN["environment"],
    )
    return EventParser(row_options), assumed


def _show_refused(refused: Sequence[Receipt], count: int, terminal: Terminal) -> None:
    if refused:
        rows = [
            (f"{r.outcome}: {r.reason}", f"{r.position:,}", r.event_id or "", terminal.words.of(r.detail))
            for r in refused
        ]
        terminal.table("Refused", ("reason", "row", "event", "what to do"), rows, right=("row",))
    if count > len(refused):
        terminal.say(f"... and {count - len(refused):,} more refused rows", "")
