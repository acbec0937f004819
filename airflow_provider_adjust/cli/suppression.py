"""``suppression``: devices for which nothing is sent any more. Ids are read from stdin or a prompt, and never shown."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import connection_must_exist, hook_of
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.device_id import DeviceId
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.ledger import suppression
from airflow_provider_adjust.s2s.ledger.erasures import erasures_of
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.transports import Target


def count(options: Namespace, terminal: Terminal) -> int:
    """Show how many ids are suppressed, by app, environment, reason and key."""
    options.app_token = options.environment = None
    known = {key.id for key in suppression.keyed(_keys(hook_of(options).settings))}
    with _connection(options) as connection:
        rows = [
            (
                each.app_token,
                each.environment,
                each.destination or "Adjust",
                each.reason,
                each.digest_key if each.digest_key in known else f"{each.digest_key}, not the connection's",
                f"{each.ids:,}",
                f"{each.latest:%Y-%m-%d}",
            )
            for each in suppression.count(connection)
        ]
    if not rows:
        terminal.say("No device is suppressed")
        return ExitCode.OK
    head = ("app", "environment", "destination", "reason", "digest key", "ids", "latest")
    terminal.table("Suppressed device ids", head, rows, right=("ids",))
    return ExitCode.OK


def check(options: Namespace, terminal: Terminal) -> int:
    """Show for each device whether it is suppressed, and who had it erased."""
    settings = hook_of(options).settings
    place, keys = _place(settings), suppression.keyed(_keys(settings))
    devices = _devices()
    host = Target(settings.gdpr_url).host
    with _connection(options) as connection:
        for number, device in enumerate(devices, start=1):
            digests = [key.device(*device) for key in keys]
            found = list(suppression.find(connection, place, digests))
            said = [f"suppressed since {each.since:%Y-%m-%d %H:%M} UTC ({each.reason})" for each in found]
            said += map(_erasure, erasures_of(connection, host, place.app_token, place.environment, digests))
            terminal.say(f"Device {number} ({device.id_name}): {'; '.join(said) or 'not suppressed, and never erased'}")
        _warn_of_other_keys(connection, place, {key.id for key in keys}, terminal)
    return ExitCode.OK


def lift(options: Namespace, terminal: Terminal) -> int:
    """Allow events of the devices again, or without ``--yes`` only show how many ids that affects."""
    settings = hook_of(options).settings
    place, keys = _place(settings), suppression.keyed(_keys(settings))
    digests = [key.device(*device) for device in _devices() for key in keys]
    with _connection(options) as connection:
        found = list(suppression.find(connection, place, digests))
        if options.yes:
            suppression.lift(connection, place, digests)
            connection.commit()
            terminal.say(f"{len(found):,} ids are not suppressed any more; Adjust may still refuse their events")
        else:
            terminal.say(f"{len(found):,} ids would not be suppressed any more. Nothing was changed: add --yes")
        _warn_of_other_keys(connection, place, {key.id for key in keys}, terminal)
    return ExitCode.OK


@contextmanager
def _connection(options: Namespace) -> Iterator[sa.Connection]:
    conn_id = options.ledger_conn_id
    with connection_must_exist(conn_id), ledger_engine(conn_id) as engine, named_ledger_errors(conn_id):
        prepare(engine)
        with engine.connect() as connection:
            yield connection


def _keys(settings: AdjustConnection) -> DigestKeys:
    return DigestKeys(settings.digest_secrets)


def _place(settings: AdjustConnection) -> suppression.Place:
    app_token, environment = settings.app()
    return suppression.Place.at(settings.target.host, app_token, environment)


def _devices() -> list[DeviceId]:
    """Read one per line from stdin, since other users of the machine can see a command's arguments."""
    if sys.stdin.isatty():
        lines = [getpass.getpass("Device, such as gps_adid=... (it is not shown): ")]
    else:
        lines = [line for line in sys.stdin if line.strip()]
    try:
        found = [DeviceId.parse(line, f"line {number}") for number, line in enumerate(lines, start=1)]
    except InvalidEvent as refusal:
        raise AdjustConfigurationError(f"a device's id cannot be used: {refusal.detail}") from None
    if not found:
        raise AdjustConfigurationError("stdin names no device: give lines such as gps_adid=...")
    return found


def _erasure(record: Any) -> str:
    who = f"{record.dag_id}, run {record.run_id}" if record.dag_id else "a task outside Airflow"
    behalf = f" for {record.asked_by}" if record.asked_by else ""
    answer = f", answered {record.http_status} at {record.answered_at:%Y-%m-%d %H:%M} UTC" if record.answered_at else ""
    return f"erasure {record.status}: asked for at {record.asked_at:%Y-%m-%d %H:%M} UTC by {who}{behalf}{answer}"


def _warn_of_other_keys(
    connection: sa.Connection, place: suppression.Place, known: set[str], terminal: Terminal
) -> None:
    others = suppression.under_other_keys(connection, place, known)
    if others:
        terminal.warn(
            f"{others:,} ids are suppressed under a digest key that the connection does not have; whether this is one of "
            "them cannot be told"
        )
