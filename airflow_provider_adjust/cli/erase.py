"""``erase``: remove an event or a device from the provider's stores, and report what remains elsewhere."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.cli.checkpoints import erase_from_checkpoints
from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist, path_of
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.files.erasing import (
    Device,
    Subject,
    event_of,
    files_of,
    found_lines,
    is_link,
    remove_lines,
)
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.erase import erase as erase_from_ledger


class Held(NamedTuple):
    """What one store held, and what remains there."""

    store: str
    found: int
    removed: int
    left: str


#: What no command of the provider can reach.
NOT_REACHED = (
    "Adjust has what was delivered to it: erase the device there, by AdjustForgetDevicesOperator or in the dashboard.",
    "A keyed digest of a device that opted out or was erased stays in the ledger, so that nothing of it is sent again.",
    "With remember_lanes, the last time that was sent for a device stays under a keyed digest for 58 days, until it is pruned.",
    "Sums of tries and days, in the ledger and in results, count the event still; they hold no id and no device.",
    "Logs of tasks may name the event's id. Airflow keeps them as long as it is set to.",
    "Backups, the source of the rows, and copies of the files that were made elsewhere are not known here.",
)


def erase(options: Namespace, terminal: Terminal) -> int:
    """Erase, or without ``--yes`` only report what would be erased."""
    devices = _devices(options.device)
    event_ids = {event_id.strip() for event_id in options.event_id or ()} - {""}
    if not (event_ids or devices):
        raise AdjustConfigurationError("name an event with --event-id, or a device with --device")
    parsers = _parsers(options)
    paths = list(files_of(path_of(each) for each in options.files or ()))
    links = [path for path in paths if is_link(path)]
    subject = Subject(event_ids, devices, options.app_token, options.event_token)
    files = {path: list(_events(path, subject)) for path in paths if path not in links}
    if devices:
        # The events in the device's lines are erased from every store.
        named = {event_id for lines in files.values() for event_id, _ in lines if event_id is not None}
        guessed = {
            each
            for lines in files.values()
            for _, row in lines
            for parser in parsers
            for each in _digest_ids(parser, row)
        }
        subject = Subject(event_ids | named | guessed, devices, options.app_token, options.event_token)
        files = {path: list(_events(path, subject)) for path in files}
    report = [
        *_ledger(options, subject),
        _checkpoints(options, subject),
        *_files(options, subject, files),
        *(Held(str(path), 0, 0, "a link, which is left alone: name what it leads to") for path in links),
    ]
    _show(report, _unknown(options, devices), options, terminal)
    return ExitCode.STOPPED if links else ExitCode.OK


def _devices(source: str | None) -> list[Device]:
    """Read one device per line from a file or stdin, since other users of the machine can see a command's arguments."""
    if source is None:
        return []
    if "=" in source:
        raise AdjustConfigurationError(
            "--device takes a file of lines PARAMETER=VALUE, or - for stdin; on the command line everybody could read the id"
        )
    opened = nullcontext(sys.stdin) if source == "-" else path_of(source).open("r", encoding="utf-8")  # type: ignore[no-untyped-call]
    with opened as lines:
        return [Device.parse(line) for line in lines if line.strip()]


def _parsers(options: Namespace) -> list[EventParser]:
    """A parser for each endpoint, with the connection's keys, to compute the digest ids of rows."""
    if options.adjust_conn_id is None:
        return []
    endpoints = [each for each in ENDPOINTS.values() if each.has_tokens or options.event_token is None]
    with connection_must_exist(options.adjust_conn_id):
        hook = AdjustS2SHook(options.adjust_conn_id, app_token=options.app_token)
        return [
            hook.route(RowOptions(endpoint=each.name, event_token=options.event_token)).parser for each in endpoints
        ]


def _events(path: ObjectStoragePath, subject: Subject) -> Iterator[tuple[str | None, Any]]:
    return map(event_of, found_lines(path, subject))


def _digest_ids(parser: EventParser, row: Any) -> set[str]:
    """The digest ids of a row without an id: under each key of the connection, and without a key."""
    if not isinstance(row, dict):
        return set()
    try:
        try:
            event = parser.parse(row)
        except InvalidEvent as error:
            if error.occurred_at is None:
                return set()
            event = parser.parse(row, now=error.occurred_at)  # too old by now
    except InvalidEvent:
        return set()
    return {key.event_id(event.unkeyed_id) for key in parser.digest_keys.all} if event.unkeyed_id else set()


def _ledger(options: Namespace, subject: Subject) -> Iterator[Held]:
    conn_id = options.ledger_conn_id
    if conn_id is None:
        yield Held("ledger", 0, 0, "not asked: no --ledger-conn-id")
        return
    with connection_must_exist(conn_id), ledger_engine(conn_id) as engine, named_ledger_errors(conn_id):
        found = erase_from_ledger(
            engine,
            subject.event_ids,
            app_token=options.app_token,
            event_token=options.event_token,
            dry_run=not options.yes,
        )
    if found is None:
        yield Held(f"ledger {conn_id}", 0, 0, "the database has no ledger")
        return
    for status, count in sorted(found.blanked.items()):
        yield Held(f"ledger {conn_id}: {status}", count, count, "the id and the status, so that it is never sent again")
    for status, count in sorted(found.deleted.items()):
        yield Held(f"ledger {conn_id}: {status}", count, count, "nothing: Adjust would not take it any more")
    if found.before:
        yield Held(f"ledger {conn_id}: erased before", found.before, 0, "the id and the status")
    if found.errors:
        yield Held(f"ledger {conn_id}: errors of tries", found.errors, found.errors, "the error without the id")
    if not (found.blanked or found.deleted or found.before or found.errors):
        yield Held(f"ledger {conn_id}", 0, 0, "nothing")


def _checkpoints(options: Namespace, subject: Subject) -> Held:
    count = erase_from_checkpoints(subject.event_ids, dry_run=not options.yes)
    if count is None:
        return Held(
            "checkpoints",
            0,
            0,
            "not reached: no task state store in a metadata database that can be read from here",
        )
    return Held("checkpoints", count, count, "counts, row numbers, and a keyed digest of all rows of a task")


def _files(
    options: Namespace, subject: Subject, files: dict[ObjectStoragePath, list[tuple[str | None, Any]]]
) -> Iterator[Held]:
    if not files:
        yield Held("files", 0, 0, "not asked: no --files")
    for path, lines in files.items():
        if lines and options.yes:
            remove_lines(path, subject)
        yield Held(str(path), len(lines), len(lines), "the other lines")


def _unknown(options: Namespace, devices: Sequence[Device]) -> list[str]:
    unknown = list(NOT_REACHED)
    if devices:
        unknown.insert(
            0,
            "The ledger holds no device. Only events that a line of the files names were found there; name the others "
            "with --event-id, by their ids in the source.",
        )
        if options.adjust_conn_id is None:
            unknown.insert(1, "Without --adjust-conn-id there is no key, so no digest that is an event id was made.")
    return unknown


def _show(report: Sequence[Held], unknown: Sequence[str], options: Namespace, terminal: Terminal) -> None:
    if options.output == "json":
        stores = [held._asdict() for held in report]
        text = json.dumps({"erased": options.yes, "stores": stores, "not_reached": unknown}, indent=2)
        terminal.say(*text.splitlines())
        return
    title = "Erased" if options.yes else "Would be erased; --yes does it"
    rows = [(held.store, f"{held.found:,}", f"{held.removed:,}", held.left) for held in report]
    terminal.table(title, ("store", "found", "removed", "what is left"), rows, right=("found", "removed"))
    terminal.say("What was not reached", *(f"- {line}" for line in unknown))
