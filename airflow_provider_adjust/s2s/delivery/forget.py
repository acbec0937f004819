"""Ask Adjust to erase devices, one request at a time, at a pace that all tasks of a ledger share.

An erasure cannot be undone, and Adjust requires the id in the query of the URL. So the URL is never shown, and the ledger
stores a keyed digest of each id with who asked, when, and the answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

from airflow_provider_adjust.s2s.answers.classify import judge, read_answer
from airflow_provider_adjust.s2s.answers.outcome import OPTED_OUT, Outcome, Verdict
from airflow_provider_adjust.s2s.delivery.stops import halted, nothing_settled
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryStopped, InvalidEvent
from airflow_provider_adjust.s2s.events.device_id import DeviceId
from airflow_provider_adjust.s2s.events.event import form_encoded
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.erasures import DONE, ErasureLog, ErasureStatus
from airflow_provider_adjust.s2s.redaction import Unshown
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport

PATH: Final = "/gdpr_forget_device"
#: The ids by which Adjust erases devices. Events have more.
ERASABLE_IDS: Final = ("gps_adid", "idfa", "idfv", "fire_adid", "win_adid", "adid")
#: Rows that are looked up in the ledger at a time.
_BATCH = 500
#: Requests for one device in a run if there is no answer.
_ATTEMPTS = 3
#: Seconds to wait after a 429 without Retry-After: the limit is per minute.
_BUSY_SECONDS = 60.0
_REFUSED_STATUSES = frozenset({400, 404, 422})
_SCOPE = "Give the S2S token the GDPR scope in Adjust."


class _NoQueries(logging.Filter):
    """Removes device ids from the HTTP library's log, which shows each URL at level DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        return PATH not in record.getMessage()


logging.getLogger("urllib3.connectionpool").addFilter(_NoQueries())


class Refused(NamedTuple):
    """A row without a device that can be erased, by its position in the input, from 1."""

    position: int
    detail: str


@dataclass(slots=True)
class Erasures:
    """The outcome of a run's devices: each of ``devices`` is in one of the counts after it, unless the run failed.

    A device in several rows is counted once. ``known``: an earlier request erased it. ``elsewhere``: another task is erasing
    it. ``left``: left for the next run. ``invalid`` counts rows without a device.
    """

    read: int = 0
    devices: int = 0
    erased: int = 0
    opted_out: int = 0
    known: int = 0
    elsewhere: int = 0
    refused: int = 0
    left: int = 0
    invalid: int = 0
    requests: int = 0
    #: The errors of the first rows that were refused, here or by Adjust.
    details: list[str] = field(default_factory=list)

    def as_result(self) -> dict[str, int]:
        """The counts."""
        return {name: value for name, value in asdict(self).items() if name != "details"}


def devices_of(row: Any) -> list[DeviceId] | str:
    """The devices in a row, each with the parameter that its column is named after; or the reason why there are none."""
    if not isinstance(row, Mapping):
        return "the row is not a mapping of names to values"
    try:
        found = [device for name in ERASABLE_IDS if (device := DeviceId.of(name, row.get(name)))]
    except InvalidEvent as refusal:
        return refusal.detail
    return found or f"the row has no usable device id; Adjust erases by one of {', '.join(ERASABLE_IDS)}"


def forget_target(gdpr_url: str, s2s_token: str | None, app_token: str, environment: str, device: DeviceId) -> Target:
    """The destination of the request for a device. The environment is always given, since Adjust's default is production."""
    params = {"s2s": "1", "app_token": app_token, "environment": environment, device.id_name: device.id_value}
    return Target(gdpr_url + PATH, s2s_token, form_encoded(Unshown(params)))


def post(target: Target, timeout: tuple[float, float]) -> Completion:
    """Send one request in a thread of the transport, so that a traceback of this thread cannot show the URL."""
    with closing(RequestsTransport(max_in_flight=1, timeout=timeout)) as transport:
        transport.submit(None, target, "")
        [completion] = transport.poll(None)
        return completion


class Forgetter:
    """One run of erasures.

    :param send: sends the request for a device and returns its completion.
    :param limit: the most devices that are requested.
    :param seconds: how long new requests may be started.
    :param wait: waits, and returns whether the run was stopped meanwhile.
    """

    def __init__(
        self,
        log: ErasureLog,
        send: Callable[[DeviceId], Completion],
        *,
        limit: int,
        seconds: float,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._log = log
        self._send = send
        self._limit = limit
        self._until = log.time() + timedelta(seconds=seconds)
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._is_over = False
        #: Whether the previous device got no answer, the number of such devices, and the text about the last one.
        self._was_unanswered = False
        self._unanswered = 0
        self._no_answer = ""
        self.summary = Erasures()

    def stop(self) -> None:
        """Stop after the current request. May be called from a signal handler."""
        self._stopping.set()

    def run(self, rows: Iterable[Row]) -> Iterator[Erasures]:
        """Request the erasure of the rows' devices, in order, each once; yield the counts so far after each.

        All rows are read first, so that a query is not kept open meanwhile. Devices that Adjust refused before come last, so
        that they do not delay others.

        :raises DeliveryHalted: Adjust refuses the S2S token or the app.
        :raises NotAdjust: something other than Adjust answered.
        :raises AdjustUnreachable: there was no answer for two devices in a row; or for some, after all others were requested.
        :raises DeliveryStopped: ``stop`` was called.
        """
        wanted = self._wanted(rows)
        self.summary.left += len(wanted[self._limit :])
        for position, device in wanted[: self._limit]:
            if self._is_over:
                self._count(ErasureStatus.LEFT)
            else:
                self._ask(device, position)
                yield self.summary
        if self._unanswered:
            raise AdjustUnreachable(
                f"Adjust gave no answer for {self._unanswered:,} devices, the last in {self._no_answer}; all others were asked "
                "for. Retry the task"
            )

    def check(self, rows: Iterable[Row]) -> Erasures:
        """Count what ``run`` would do, without a request."""
        self.summary.left += len(self._wanted(rows))
        return self.summary

    def _wanted(self, rows: Iterable[Row]) -> list[tuple[int, DeviceId]]:
        """The devices to request, with the row of each; counts the rows and the other devices."""
        never: list[tuple[int, DeviceId]] = []
        again: list[tuple[int, DeviceId]] = []
        seen: set[DeviceId] = set()
        found = self._devices(rows)
        while batch := list(islice(found, _BATCH)):
            known = self._log.known(device for _, device in batch)
            for position, device in batch:
                if device in seen:
                    continue
                seen.add(device)
                self.summary.devices += 1
                status = known.get(device)
                if status in DONE or status is ErasureStatus.ELSEWHERE:
                    self._count(status)
                else:
                    (again if status is ErasureStatus.REFUSED else never).append((position, device))
        return never + again

    def _devices(self, rows: Iterable[Row]) -> Iterator[tuple[int, DeviceId]]:
        # No row is a local variable here, since a traceback of the rows' source may be logged with local variables.
        for position, found in enumerate(map(devices_of, rows), start=1):
            self.summary.read += 1
            if isinstance(found, str):
                self.summary.invalid += 1
                self._note(f"row {position}: {found}")
            else:
                yield from ((position, device) for device in found)

    def _ask(self, device: DeviceId, position: int) -> None:
        after = 0.0
        for _ in range(_ATTEMPTS):
            turn = self._turn(device, after)
            if isinstance(turn, ErasureStatus):
                self._is_over = self._is_over or turn is ErasureStatus.LEFT
                self._count(turn)
                return
            if self._wait(turn) or self._stopping.is_set():
                raise _stopped()
            self._log.begin(device)
            self.summary.requests += 1
            verdict, status = read_completion(self._send(device))
            if status is not None:
                self._log.end(device, status, verdict.http_status)
                self._take(status, verdict, device, position)
                return
            if verdict.outcome is Outcome.HALT:
                raise halted(verdict)
            after = verdict.retry_after or (_BUSY_SECONDS if verdict.http_status == 429 else 0.0)
        # A single device may cause a missing answer. Two in a row are an outage.
        if self._was_unanswered or verdict.http_status == 429:
            raise nothing_settled(_ATTEMPTS, verdict)
        self._was_unanswered = True
        self._unanswered += 1
        self._no_answer = f"row {position}: the {device.id_name} ({_words(verdict)})"
        self._note(f"{self._no_answer}, no answer")

    def _turn(self, device: DeviceId, after: float) -> float | ErasureStatus:
        if self._stopping.is_set():
            raise _stopped()
        return self._log.reserve(device, until=self._until, after=after)

    def _take(self, status: ErasureStatus, verdict: Verdict, device: DeviceId, position: int) -> None:
        setattr(self.summary, status.value, getattr(self.summary, status.value) + 1)
        if status is ErasureStatus.REFUSED:
            self._note(f"row {position}: Adjust refuses the {device.id_name} ({_words(verdict)})")
        self._was_unanswered = False

    def _note(self, detail: str) -> None:
        if len(self.summary.details) < 10:
            self.summary.details.append(detail)

    def _count(self, status: ErasureStatus | None) -> None:
        """Count a device without a request."""
        if status in DONE:
            self.summary.known += 1
        elif status is ErasureStatus.ELSEWHERE:
            self.summary.elsewhere += 1
        else:
            self.summary.left += 1


def _stopped() -> DeliveryStopped:
    return DeliveryStopped("the task was killed; the next run asks for the devices that are left")


def read_completion(completion: Completion) -> tuple[Verdict, ErasureStatus | None]:
    """The verdict on an answer, and the device's status; None if the answer settles nothing."""
    verdict = judge(completion)
    if verdict.outcome is Outcome.DELIVERED:
        return verdict, ErasureStatus.ERASED
    if completion.failure is None:
        answer = read_answer(completion.body)
        # A gateway may answer 451 with its own text, and then nothing was erased.
        is_451 = completion.status == 451 and (isinstance(answer, dict) or answer == "")
        if is_451 or verdict.reason == OPTED_OUT:
            return verdict, ErasureStatus.OPTED_OUT
        is_refusal = isinstance(answer, dict) and isinstance(answer.get("error"), str)
        if verdict.outcome is Outcome.REJECTED or (
            verdict.reason == "not_adjust" and completion.status in _REFUSED_STATUSES and is_refusal
        ):
            return verdict, ErasureStatus.REFUSED
    if verdict.reason == "insufficient_scope":
        verdict = replace(verdict, remedy=_SCOPE)
    return verdict, None


def _words(verdict: Verdict) -> str:
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return ": ".join(filter(None, (status, verdict.message)))
