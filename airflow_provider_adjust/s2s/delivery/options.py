"""How events are sent, as one value.

Each option is written once, here: its type, its default and its help. The operators, the command line, the tables in the docs
and the class's docstring read it from the fields. This module imports almost nothing, because Airflow's command line loads it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_adjust.s2s.answers.outcome import IdScope, Late, OnForeignClaim, OnInDoubt
from airflow_provider_adjust.s2s.events.options import documented, option
from airflow_provider_adjust.s2s.transports.base import TransportName


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an event is sent, and how long it waits in between: exponential, with full jitter, in seconds.

    ``Retry-After`` or ``retry_in`` overrides the backoff. If it is longer than ``max_retry_after`` the delivery stops, so
    that the task does not hold a worker slot while it waits.
    """

    attempts: int = 7
    first_wait: float = 0.5
    longest_wait: float = 30.0
    max_retry_after: float = 120.0
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, attempts: int) -> float:
        """Seconds until the next attempt after so many."""
        return self.jitter() * min(self.longest_wait, self.first_wait * 2.0 ** (attempts - 1))


@dataclass(frozen=True, slots=True)
class LookupPolicy:
    """How long the Device API is asked about an event in doubt, in seconds.

    Practice says that the Device API lags some 30 seconds, so "not there" counts only after ``wait``. ``at_once`` bounds
    the calls that are under way together, ``longest`` the time of an event, however slow the Device API is.
    """

    wait: float = 60.0
    every: float = 5.0
    longest: float = 120.0
    at_once: int = 8


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """How the events of one delivery are sent. The operators take each field as an argument.

    .. code-block:: python

        from airflow_provider_adjust.s2s import SendOptions

        SendOptions(max_in_flight=64, max_events_per_second=100, on_in_doubt="hold")
    """

    max_in_flight: int = option(32, help="how many requests may wait for an answer at the same time", metavar="NUMBER")
    max_events_per_second: float | None = option(
        None, help="the highest rate, in events per second; unlimited by default", metavar="NUMBER"
    )
    on_in_doubt: OnInDoubt = option(
        "resend",
        help="what to do with an event if its answer was lost: `resend` it, which may count it twice; `hold` it and the later "
        "events of its lanes; or `verify` in Adjust's Device API whether it was recorded",
    )
    max_resends: int = option(
        1,
        help='with `on_in_doubt="resend"`, how often an event is sent again after a lost answer before it stays in doubt',
        metavar="NUMBER",
    )
    id_scope: IdScope = option(
        "event",
        help="with a ledger, where an event id is unique: within its event token (`event`), or within the whole app (`app`)",
    )
    on_foreign_claim: OnForeignClaim | None = option(
        None,
        help="what to do at the end if events were not sent because the ledger has them from another DAG: `warn` in the log, "
        "`error` to fail the task, or `allow` it. None of these sends an event twice. By default, "
        "`[adjust] on_foreign_claim` in Airflow's configuration decides, which is `warn` unless set",
    )
    remember_lanes: bool = option(
        False,
        help="with a ledger, remember the last time sent for each device and event token. An older event, which Adjust would "
        "refuse, is then found before it is sent",
    )
    late: Late = option(
        "refuse",
        help="with `remember_lanes`, what to do with such an older event: `refuse` the row, or `send_at_lane_time`, which "
        "sends it with the last time of its lane, its own time under `late_param`, and counts it under `adjusted`",
    )
    late_param: str = option(
        "true_time",
        help="the `callback_params` key for the own time of an event that is sent with the last time of its lane",
        metavar="KEY",
    )
    rate_group: str | None = option(
        None,
        help="with a ledger, the name of a group of running tasks that share `max_events_per_second` in equal parts",
        metavar="NAME",
    )
    transport: TransportName = option(
        "auto",
        help="`curl` (fast, needs pycurl), `requests`, or `auto`: curl if pycurl is installed, as on Linux and macOS",
    )
    retries: Retries = option(Retries(), help="attempts per event and the waits between them", argument=False)
    lookups: LookupPolicy = option(
        LookupPolicy(), help="how long the Device API is asked about an event in doubt", argument=False
    )
