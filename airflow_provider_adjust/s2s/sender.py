"""The pipeline put together: rows in, receipts out.

rows -> intake (events, in order) -> checkpoint (what is left) -> delivery (schedule, ledger, transport, verdicts) -> receipts
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.delivery import Delivery
from airflow_provider_adjust.s2s.device_api import DeviceApi, Standing
from airflow_provider_adjust.s2s.endpoint import Endpoint
from airflow_provider_adjust.s2s.errors import DeliveryStopped, LedgerUnavailable
from airflow_provider_adjust.s2s.events import EventParser
from airflow_provider_adjust.s2s.intake import Intake, Now, utc_now
from airflow_provider_adjust.s2s.ledger import Ledger
from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.retries import OnInDoubt, Retries
from airflow_provider_adjust.s2s.rows import Row
from airflow_provider_adjust.s2s.schedule import Job
from airflow_provider_adjust.s2s.shown import printable
from airflow_provider_adjust.s2s.transports import Target, Transport

#: Characters of a value that a log shows.
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Route:
    """One app's way to Adjust: how its rows are read, and where its events go."""

    parser: EventParser
    target: Target
    device_api: DeviceApi | None = None


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
            standing_of=self._standing_of if all(route.device_api for route in routes.values()) else None,
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

    def _standing_of(self, job: Job) -> Standing:
        device_api = self._routes[job.route].device_api
        return device_api.standing(job.event) if device_api else Standing.UNKNOWN

    def _target_of(self, job: Job) -> Target:
        return self._routes[job.route].target


def masked(params: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """The parameters as a log may show them: enough of an id to recognise it, not enough to use it.

    What the schema does not know may be personal, too.
    """
    open_names = endpoint.parameters.keys() - endpoint.personal
    return {
        printable(name): printable(text if name in open_names else f"{text[:4]}…", _LONGEST_SHOWN)
        for name, text in params.items()
    }
