"""The pipeline put together: rows in, receipts out.

rows -> intake (events, in order) -> checkpoint (what is left) -> loop (lanes, ledger, transport, answers) -> sink -> receipts
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import get_args

from airflow_provider_adjust.s2s.account.foreign import check_foreign_claims
from airflow_provider_adjust.s2s.answers.outcome import Late
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.intake import Intake, Now, utc_now
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.sink import Lines, Sink
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, DeliveryStopped
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.events.late import LatePolicy
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.schema import LONGEST_RATE_GROUP
from airflow_provider_adjust.s2s.ledger.statements import ScopeNames
from airflow_provider_adjust.s2s.transports import Transport


class Sender:
    """Sends the rows of one run. Call ``send`` once.

    .. code-block:: python

        from contextlib import closing

        from airflow_provider_adjust.s2s import EventParser, Route, RowOptions, Sender
        from airflow_provider_adjust.s2s.transports import Target
        from airflow_provider_adjust.s2s.transports.requests import RequestsTransport


        def send(rows: list[dict[str, object]], token: str) -> None:
            options = RowOptions(app_token="4w565xzmb54d", event_token="f0ob4r", environment="sandbox")
            route = Route(EventParser(options), Target("https://s2s.adjust.com/event", token))
            with closing(RequestsTransport(max_in_flight=32, timeout=(5, 30))) as transport:
                sender = Sender({None: route}, transport)
                for receipt in sender.send(rows):
                    print(receipt.position, receipt.outcome, receipt.reason)
                sender.save()

    :param routes: the routes by the value of ``route_by``; a single route is named None.
    :param transport: what makes the requests.
    :param options: how the events are sent.
    :param route_by: the column that names a row's route.
    :param rejected: receives what Adjust does not have.
    :param responses: receives Adjust's answers.
    :param checkpoint: remembers progress between the tries of one task.
    :param ledger: remembers events across runs.
    :param now: the clock.
    """

    def __init__(
        self,
        routes: Mapping[str | None, Route],
        transport: Transport,
        options: SendOptions | None = None,
        *,
        route_by: str | None = None,
        rejected: Lines | None = None,
        responses: Lines | None = None,
        checkpoint: Checkpoint | None = None,
        ledger: Ledger | None = None,
        now: Now = utc_now,
    ) -> None:
        options = options or SendOptions()
        check_values(options)
        self._options = options
        self._has_ledger = ledger is not None
        #: Where the events go, with commas if there are several; what each row names is empty.
        self.environment = ",".join(sorted({route.shown_environment for route in routes.values()}))
        self._checkpoint = checkpoint
        digest_keys = {name: route.parser.digest_keys for name, route in routes.items()}
        if checkpoint:
            checkpoint.attach(DigestKeys.joined(digest_keys.values()))
        self._on_foreign_claim = options.on_foreign_claim or "warn"
        if ledger:
            ledger.attach(
                {name: route.target.host for name, route in routes.items()},
                longest_request=max(route.longest_request for route in routes.values()),
                digest_keys=digest_keys,
                ids_are_digests=any(route.parser.ids_are_digests for route in routes.values()),
                environment=self.environment,
                late=late_policy(options) if options.remember_lanes else None,
                rate_group=options.rate_group or "",
                names=_names(routes.values()),
            )
        self._intake = Intake(
            {name: route.parser for name, route in routes.items()},
            route_by=route_by,
            mark_seconds=options.on_in_doubt == "verify",
            ids_are_claimed=ledger is not None,
            now=now,
        )
        self.sink = Sink(
            rejected=rejected,
            responses=responses,
            columns=next(iter(routes.values())).parser.columns,
            ledger=ledger,
            checkpoint=checkpoint,
        )
        self._delivery = Delivery(transport, routes, options, sink=self.sink, claims=ledger)

    @property
    def read(self) -> int:
        """Rows read so far."""
        return self._intake.read

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._delivery.in_flight

    @property
    def slowed_to(self) -> str | None:
        """The present limit as text, if Adjust has asked to slow down; None otherwise."""
        return self._delivery.slowed_to

    @property
    def waiting_for(self) -> str:
        """What the delivery waits for, as text; empty while it sends."""
        return self._delivery.waiting_for

    @property
    def clock_difference(self) -> timedelta | None:
        """How far the worker's clock is behind the server's, negative if it is ahead; None below two minutes."""
        return self._delivery.server_clock.difference

    @property
    def left_out_columns(self) -> list[str]:
        """The columns that ``ignore_columns`` has left out of the rows so far."""
        return self._intake.left_out_columns

    def send(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[Receipt]:
        """Send a list, which is sorted by time, or a stream in time order; yield each receipt once it is recorded.

        :raises ClaimedByAnotherDag: the ledger has events from another DAG, and ``on_foreign_claim`` is ``error``.
        """
        for receipts in self.rounds(rows):
            yield from receipts
        check_foreign_claims(self.sink.summary, self._on_foreign_claim)

    def rounds(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[list[Receipt]]:
        """Like ``send``, but yield the new receipts as lists, at least twice a second, also if there are none.

        :raises AdjustConfigurationError: an option needs a ledger, or another option.
        """
        check_needs(self._options, has_ledger=self._has_ledger)
        jobs = self.jobs(rows)
        yield from self._delivery.rounds(self._checkpoint.resume(jobs) if self._checkpoint else jobs)

    def give_up(self) -> None:
        """Release the events that the ledger has claimed and that were not sent, after an interruption by another exception.

        What is in flight stays claimed: it is in doubt. Then call ``save``.
        """
        if self._has_ledger:
            self._delivery.stop(DeliveryStopped("the delivery was interrupted"))
            self._delivery.hold_the_rest()

    def save(self) -> None:
        """Record what is known: write the files, the ledger and the checkpoint.

        :raises LedgerUnavailable: the ledger's database failed.
        :raises DeliveryStopped: the checkpoint could not be saved for too long.
        """
        self._delivery.hand_over()
        self.sink.save(ended=not self._delivery.in_flight)

    def jobs(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[Job | Receipt]:
        """Yield what would be sent, in order, and receipts for what would not. Sends nothing."""
        return self._intake.sorted(rows) if isinstance(rows, Sequence) else self._intake.stream(rows)

    def stop(self, message: str) -> None:
        """Send nothing more. ``send`` still yields the receipts of what is in flight, then raises ``DeliveryStopped``.

        Safe in a signal handler. From then on, an unavailable database or store is waited for a few seconds only.
        """
        self._delivery.stop(DeliveryStopped(message))
        self.sink.hurry()


def late_policy(options: SendOptions) -> LatePolicy:
    """How to treat an event that is too late for its lanes.

    :raises AdjustConfigurationError: ``late`` is not known.
    """
    if options.late not in get_args(Late):
        raise AdjustConfigurationError(f"late={options.late!r} must be one of {', '.join(get_args(Late))}")
    return LatePolicy(options.late == "send_at_lane_time", options.late_param)


def check_values(options: SendOptions) -> None:
    """Refuse values with which a delivery would never end, would ignore its limit, or would be unknown to other tasks.

    :raises AdjustConfigurationError: one of them is unusable.
    """
    rate, group = options.max_events_per_second, options.rate_group
    if options.max_in_flight < 1:
        raise AdjustConfigurationError(f"max_in_flight={options.max_in_flight!r} must be 1 or more")
    if rate is not None and not 0 < rate < math.inf:
        raise AdjustConfigurationError(
            f"max_events_per_second={rate!r} must be a number above 0; leave it out to send without a limit"
        )
    if group is not None and not (0 < len(group) <= LONGEST_RATE_GROUP and group.isprintable()):
        raise AdjustConfigurationError(
            f"rate_group must be a name of 1 to {LONGEST_RATE_GROUP} characters that can be printed; leave it out to share "
            "with no other task"
        )
    if not options.late_param:
        raise AdjustConfigurationError("late_param must be the name of a key in callback_params, such as true_time")


def check_needs(options: SendOptions, *, has_ledger: bool) -> None:
    """Refuse an option without the ledger or the option that it needs.

    :raises AdjustConfigurationError: one is missing.
    """
    if late_policy(options).at_lane_time and not options.remember_lanes:
        raise AdjustConfigurationError(
            "late='send_at_lane_time' needs remember_lanes=True, which knows the lanes' times"
        )
    if options.rate_group is not None and options.max_events_per_second is None:
        raise AdjustConfigurationError("rate_group needs max_events_per_second, the limit that its tasks share")
    for name in ("remember_lanes", "rate_group"):
        if getattr(options, name) and not has_ledger:
            raise AdjustConfigurationError(
                f"{name} needs ledger_conn_id: tasks learn about each other through the ledger"
            )


def _names(routes: Iterable[Route]) -> ScopeNames:
    """The routes' names of events and apps."""
    return ScopeNames(
        {token: name for route in routes for name, token in route.parser.event_tokens.items()},
        {route.parser.defaults.get("app_token"): route.connection for route in routes},
    )
