"""The pipeline put together: rows in, receipts out.

rows -> intake (events, in order) -> checkpoint (what is left) -> delivery (schedule, ledger, transport, verdicts) -> receipts
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_adjust.s2s.answers.outcome import OnInDoubt, Recorded
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery.intake import Intake, Now, utc_now
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.pacing import Retries
from airflow_provider_adjust.s2s.errors import DeliveryStopped, LedgerUnavailable
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.transports import Target, Transport

#: Tells whether Adjust has recorded an event.
Lookup = Callable[[Event], Recorded]


@dataclass(frozen=True, slots=True)
class Route:
    """How one app's rows are read, where its events go, and how an event in doubt is looked up there."""

    parser: EventParser
    target: Target
    lookup: Lookup | None = None


class Sender:
    """Sends the rows of one run; ``send`` may be called once.

    :param routes: by the value of ``route_by``; a single route is named None.
    """

    def __init__(
        self,
        routes: Mapping[str | None, Route],
        transport: Transport,
        *,
        route_by: str | None = None,
        max_in_flight: int = 32,
        max_events_per_second: float | None = None,
        on_in_doubt: OnInDoubt = "resend",
        retries: Retries | None = None,
        checkpoint: Checkpoint | None = None,
        ledger: Ledger | None = None,
        now: Now = utc_now,
    ) -> None:
        self._routes = routes
        self._checkpoint = checkpoint
        self._ledger = ledger
        self._intake = Intake({name: route.parser for name, route in routes.items()}, route_by=route_by, now=now)
        self._delivery = Delivery(
            transport,
            self._target_of,
            max_in_flight=max_in_flight,
            max_events_per_second=max_events_per_second,
            on_in_doubt=on_in_doubt,
            retries=retries,
            claims=ledger,
            lookup=self._lookup if all(route.lookup for route in routes.values()) else None,
        )

    @property
    def read(self) -> int:
        """Rows read so far."""
        return self._intake.read

    @property
    def slowed_to(self) -> int:
        """Requests that may be in flight now; less than the maximum after 429 or 503."""
        return self._delivery.slowed_to

    def send(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[Receipt]:
        """Send a list, sorted by time first, or a stream in time order; yield a receipt for each row as it settles."""
        jobs = self.jobs(rows)
        for receipt in self._delivery.run(self._checkpoint.resume(jobs) if self._checkpoint else jobs):
            # The caller keeps the receipt first (a rejected line, a count): what is settled below is not seen again.
            yield receipt
            if self._ledger:
                try:
                    self._ledger.settle(receipt)
                except Exception as error:
                    self._delivery.stop(LedgerUnavailable.because(error))
            if self._checkpoint:
                self._checkpoint.settle(receipt)

    def save(self) -> None:
        """Write what ledger and checkpoint know; the ledger first, since it must not know less.

        :raises LedgerUnavailable: the ledger's database failed.
        """
        if self._ledger:
            try:
                self._ledger.flush()
            except Exception as error:
                raise LedgerUnavailable.because(error) from error
        if self._checkpoint:
            self._checkpoint.save()

    def jobs(self, rows: Sequence[Row] | Iterable[Row]) -> Iterator[Job | Receipt]:
        """What would be sent, in order, and receipts for what would not; sends nothing."""
        return self._intake.sorted(rows) if isinstance(rows, Sequence) else self._intake.stream(rows)

    def stop(self, message: str) -> None:
        """Send nothing more. The receipts of what is in flight still come, then ``DeliveryStopped`` is raised."""
        self._delivery.stop(DeliveryStopped(message))

    def _lookup(self, job: Job) -> Recorded:
        lookup = self._routes[job.route].lookup
        return lookup(job.event) if lookup else Recorded.UNKNOWN

    def _target_of(self, job: Job) -> Target:
        return self._routes[job.route].target
