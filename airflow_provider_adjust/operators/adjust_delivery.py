"""What the sending operators share: everything but where the rows come from.

An operator turns Airflow's words (a connection, a template, a path, a context) into one run of the hook's pipeline, and
what the pipeline says into logs, a rejected file, a result and a failure.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, Context, ObjectStoragePath

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.lineage import Destinations, run_lineage
from airflow_provider_adjust.links.adjust_links import (
    AdjustDashboardLink,
    AdjustDeliveriesLink,
    AdjustRejectedFileLink,
)
from airflow_provider_adjust.operators.receipt_files import ReceiptFile
from airflow_provider_adjust.operators.task_state import TaskStateCheckpointStore
from airflow_provider_adjust.s2s.checkpoint import STATE_KEY, Checkpoint
from airflow_provider_adjust.s2s.delivery import OnInDoubt
from airflow_provider_adjust.s2s.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import FINAL_ERRORS, AdjustConfigurationError, AdjustError
from airflow_provider_adjust.s2s.ledger import Ledger, TaskInstanceId
from airflow_provider_adjust.s2s.receipts import UNDELIVERED, DeliverySummary, Receipt
from airflow_provider_adjust.s2s.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.reporting import FailureBudget, progress_line, summary_table
from airflow_provider_adjust.s2s.responses import Outcome
from airflow_provider_adjust.s2s.rows import Row
from airflow_provider_adjust.s2s.schedule import Job
from airflow_provider_adjust.s2s.sender import Sender, masked
from airflow_provider_adjust.s2s.shown import printable
from airflow_provider_adjust.s2s.transports.choice import TransportName
from airflow_provider_adjust.sql_rows import sql_hook

if TYPE_CHECKING:
    from airflow_provider_adjust.lineage import Lineage

AdjustRetryPolicy: Any
try:
    from airflow_provider_adjust.retry_policy import AdjustRetryPolicy
except ImportError:  # Airflow before 3.3 has no retry policies
    AdjustRetryPolicy = None

#: Seconds between two progress lines in the log.
PROGRESS_EVERY = 10.0
#: Events that a dry run prints.
DRY_RUN_SHOWS = 5


class AdjustDeliveryOperator(BaseOperator):
    """Base of the operators that send events; a subclass says where the rows come from.

    :param adjust_conn_id: the ``adjust`` connection, or, with ``route_by``, connections by the value of that column.
        (templated)
    :param route_by: the column that names a row's connection, for several apps in one query.
    :param event_token: used where a row has none. (templated)
    :param event_tokens: event tokens by the name that a row's ``event`` column holds. (templated)
    :param app_token: used where a row has none; takes the place of the connection's. (templated)
    :param environment: ``production`` or ``sandbox``; takes the place of the connection's. (templated)
    :param column_map: Adjust's names by the rows', ``{"gaid": "gps_adid"}``.
    :param id_field: the column that identifies a row, such as the order's number. It is not sent.
    :param event_id_param: the key under which ``callback_params`` carries the event's id, to join raw exports back.
    :param timezone: IANA name of the zone in which times without an offset are read.
    :param extra_params: names to send although the provider does not know them.
    :param max_in_flight: requests that may wait for an answer at once.
    :param max_events_per_second: upper limit of the rate; None sets none.
    :param on_in_doubt: what to do with an event whose answer was lost: ``resend`` it, at the risk of counting it twice;
        ``hold`` it and what follows in its lanes; or ``verify`` in Adjust's Device API whether it is there.
    :param max_rejected: how many events may be refused before the task fails: a count, or a share below 1.
    :param tolerate: outcomes or reasons that do not count as failures.
    :param rejected_path: where to write what was not delivered, as JSON Lines; local or object storage. The try number
        and the map index are added to the name where there is more than one. (templated)
    :param responses_path: where to write Adjust's answers, as JSON Lines of event id and answer. (templated)
    :param ledger_conn_id: a database connection in which to remember what was delivered, so that no run sends it again.
        (templated)
    :param retry_unknown_devices: how old an event may be that Adjust refused as ``device_not_found`` and that is offered
        again; it needs the ledger.
    :param durable: keep a checkpoint in Airflow's task state store (Airflow 3.3), so that a retry goes on where the last
        try stopped.
    :param dry_run: parse and order the events, log the first of them with ids masked, send nothing.
    :param transport: ``curl`` (fast, needs the extra of that name), ``requests``, or ``auto``: curl where it is installed.
    """

    template_fields: Sequence[str] = (
        "adjust_conn_id",
        "event_token",
        "event_tokens",
        "app_token",
        "environment",
        "rejected_path",
        "responses_path",
        "ledger_conn_id",
    )
    ui_color = "#e0f2ef"
    operator_extra_links = (AdjustDeliveriesLink(), AdjustRejectedFileLink(), AdjustDashboardLink())
    #: The result of the try that has just run, failed or not, for links and notifiers; None before it could count.
    delivery_result: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        adjust_conn_id: str | Mapping[str, str] = DEFAULT_CONN_ID,
        route_by: str | None = None,
        event_token: str | None = None,
        event_tokens: Mapping[str, str] | None = None,
        app_token: str | None = None,
        environment: str | None = None,
        column_map: Mapping[str, str] | None = None,
        id_field: str | None = None,
        event_id_param: str | None = None,
        timezone: str = "UTC",
        extra_params: Sequence[str] = (),
        max_in_flight: int = 32,
        max_events_per_second: float | None = None,
        on_in_doubt: OnInDoubt = "resend",
        max_rejected: float = 0,
        tolerate: Sequence[str] = ("duplicate",),
        rejected_path: str | None = None,
        responses_path: str | None = None,
        ledger_conn_id: str | None = None,
        retry_unknown_devices: timedelta | None = None,
        durable: bool = True,
        dry_run: bool = False,
        transport: TransportName = "auto",
        **kwargs: Any,
    ) -> None:
        if AdjustRetryPolicy is not None and kwargs.get("retry_policy") is None:
            # Airflow's own default would be None, which is also what a mapped task hands on; default_args come first.
            given = (kwargs.get("default_args") or {}).get("retry_policy")
            kwargs["retry_policy"] = AdjustRetryPolicy() if given is None else given
        super().__init__(**kwargs)
        self.adjust_conn_id = adjust_conn_id
        self.route_by = route_by
        self.event_token = event_token
        self.event_tokens = event_tokens
        self.app_token = app_token
        self.environment = environment
        self.column_map = column_map
        self.id_field = id_field
        self.event_id_param = event_id_param
        self.timezone = timezone
        self.extra_params = extra_params
        self.max_in_flight = max_in_flight
        self.max_events_per_second = max_events_per_second
        self.on_in_doubt = on_in_doubt
        self.max_rejected = max_rejected
        self.tolerate = tolerate
        self.rejected_path = rejected_path
        self.responses_path = responses_path
        self.ledger_conn_id = ledger_conn_id
        self.retry_unknown_devices = retry_unknown_devices
        self.durable = durable
        self.send_nothing = dry_run
        self.transport = transport
        self._sender: Sender | None = None
        self._destinations = Destinations()
        self._killed = False
        self._would_send_twice = False

    @abstractmethod
    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        """The rows to send: a list, or a stream in time order. What must be closed is put on ``stack``."""

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            result = self._deliver(context)
        except FINAL_ERRORS as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            if not self._would_send_twice:
                raise
            words = f"{error}\n" if isinstance(error, AdjustError) else ""
            raise AirflowFailException(
                f"{type(error).__name__}: {words}Part of the events was sent, and without a checkpoint (durable, Airflow "
                "3.3) or a ledger a retry would send it again, so there is none. Send what is missing: see rejected_path, "
                "and compare Adjust with the source"
            ) from error
        self._tell_outlets(context, result)
        return result

    def on_kill(self) -> None:
        # Airflow calls this in a signal handler, maybe before there is anything to stop.
        self._killed = True
        if self._sender is not None:
            self._sender.stop("the task was killed")

    def source_lineage(self) -> Lineage | None:
        """What OpenLineage is told of where the rows came from; asked for only where its provider is installed."""
        return None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:
        """Called by the OpenLineage provider, where it is installed, when the task has ended, also when it failed."""
        return run_lineage(self.source_lineage, self._destinations)

    def _tell_outlets(self, context: Context, result: Mapping[str, Any]) -> None:
        """Put the result on the event of each outlet asset, for the DAGs that are scheduled on it."""
        events = context.get("outlet_events")
        if events is None:
            return
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                events[outlet].extra.update(result)

    def _deliver(self, context: Context) -> dict[str, Any]:
        started = time.monotonic()
        budget = FailureBudget.of(self.max_rejected, self.tolerate)
        hooks = self._hooks()
        routes = {route: hook.route(**self._parsing()) for route, hook in hooks.items()}
        first_hook = next(iter(hooks.values()))
        with ExitStack() as stack:
            checkpoint = None if self.send_nothing else self._checkpoint(context)
            summary = checkpoint.earlier.copy() if checkpoint else DeliverySummary()
            rejected = stack.enter_context(ReceiptFile(_own_path(self.rejected_path, context)))
            responses = stack.enter_context(ReceiptFile(_own_path(self.responses_path, context)))
            sender = Sender(
                routes,
                stack.enter_context(first_hook.open_transport()),
                route_by=self.route_by,
                max_in_flight=self.max_in_flight,
                max_events_per_second=self.max_events_per_second,
                on_in_doubt=self.on_in_doubt,
                checkpoint=checkpoint,
                ledger=None if self.send_nothing else self._ledger(context, stack),
            )
            self._sender = sender
            if self._killed:
                self.on_kill()
            remembers = checkpoint is not None or self.ledger_conn_id is not None
            rows = self.rows(context, stack)
            if self.send_nothing:
                return self._dry_run(sender, rows, summary, started)
            if checkpoint and checkpoint.rejected_path:
                rejected.carry_over(checkpoint.rejected_path, checkpoint.rejected_lines)
            expected = len(rows) if isinstance(rows, Sequence) else None
            stopped: Exception | None = None
            self._destinations = destinations = Destinations()
            try:
                for receipt in self._with_progress(sender, sender.send(rows), summary, expected):
                    if not remembers and receipt.attempts and receipt.outcome is not Outcome.HELD:
                        self._would_send_twice = True
                    destinations.add(receipt)
                    if receipt.outcome in UNDELIVERED:
                        rejected.write(rejected_line(self._under_adjust_names(receipt, routes)))
                    elif self.responses_path and receipt.answer is not None:
                        responses.write(response_line(receipt))
                    if checkpoint and checkpoint.due():
                        _save(sender, checkpoint, rejected, responses)
                _save(sender, checkpoint, rejected, responses)
            except Exception as error:
                stopped = error
            finally:
                with suppress(Exception) if stopped else nullcontext():
                    _save(sender, checkpoint, rejected, responses)
            summary.read = sender.read
        destinations.report(first_hook)
        result = summary.as_result(seconds=time.monotonic() - started, rejected_path=rejected.written_to)
        self.delivery_result = result
        self.log.info("%s\n%s", "Delivery stopped early" if stopped else "Delivery ended", summary_table(summary))
        if rejected.written_to:
            self.log.info("What was not delivered is listed with reasons in %s", rejected.written_to)
        if stopped:
            # Its cause comes first: what was under way when, say, the disk was full has no outcome to count.
            raise stopped
        summary.check()
        budget.check(summary, rejected_path=rejected.written_to)
        return result

    def _checkpoint(self, context: Context) -> Checkpoint | None:
        if not self.durable or self.ledger_conn_id is not None:
            return None  # a ledger knows more: it tells events apart, whatever has become of the input
        store = TaskStateCheckpointStore.of(context)
        if store is None:
            self.log.warning(
                "This Airflow has no task state store (3.3 has), so a try that fails after it has sent events is not retried"
            )
            return None
        checkpoint = Checkpoint(store)
        if checkpoint.resumes:
            self.log.info(
                "An earlier try settled %s events; they are not sent again. To send everything again, delete the task's "
                "state %s before clearing the task",
                f"{checkpoint.resumes:,}",
                STATE_KEY,
            )
        return checkpoint

    def _ledger(self, context: Context, stack: ExitStack) -> Ledger | None:
        if self.ledger_conn_id is None:
            if self.retry_unknown_devices is not None:
                raise AdjustConfigurationError(
                    "retry_unknown_devices needs ledger_conn_id, which remembers the devices"
                )
            return None
        ti = context.get("ti")
        ledger = Ledger(
            sql_hook(self.ledger_conn_id, None).get_sqlalchemy_engine(),
            TaskInstanceId(
                dag_id=getattr(ti, "dag_id", ""),
                run_id=getattr(ti, "run_id", ""),
                task_id=getattr(ti, "task_id", self.task_id),
                map_index=getattr(ti, "map_index", -1),
            ),
            on_in_doubt=self.on_in_doubt,
            retry_unknown_devices=self.retry_unknown_devices,
            batch_size=max(64, 2 * self.max_in_flight),
        )
        stack.callback(ledger.close)
        return ledger

    def _hooks(self) -> dict[str | None, AdjustS2SHook]:
        if isinstance(self.adjust_conn_id, str):
            if self.route_by is not None:
                raise AdjustConfigurationError(
                    "route_by needs adjust_conn_id to be a mapping of the column's values to connections"
                )
            return {None: self._hook(self.adjust_conn_id)}
        if self.route_by is None or not self.adjust_conn_id:
            raise AdjustConfigurationError(
                "several connections need route_by, the column that names a row's connection"
            )
        return {route: self._hook(conn_id) for route, conn_id in self.adjust_conn_id.items()}

    def _hook(self, conn_id: str) -> AdjustS2SHook:
        return AdjustS2SHook(
            conn_id,
            app_token=self.app_token,
            environment=self.environment,
            transport=self.transport,
            max_in_flight=self.max_in_flight,
            max_events_per_second=self.max_events_per_second,
        )

    def _parsing(self) -> dict[str, Any]:
        return {
            "event_token": self.event_token,
            "event_tokens": self.event_tokens,
            "column_map": self.column_map,
            "id_field": self.id_field,
            "event_id_param": self.event_id_param,
            "timezone": self.timezone,
            "extra_params": tuple(self.extra_params),
            "ignored": () if self.route_by is None else (self.route_by,),
        }

    def _with_progress(
        self, sender: Sender, receipts: Iterator[Receipt], summary: DeliverySummary, expected: int | None
    ) -> Iterator[Receipt]:
        """Count the receipts as they pass, and say every few seconds how far it is."""
        started = said = time.monotonic()
        for receipt in receipts:
            summary.add(receipt)
            yield receipt
            now = time.monotonic()
            if now - said >= PROGRESS_EVERY:
                said = now
                slowed_to = sender.slowed_to if sender.slowed_to < self.max_in_flight else None
                line = progress_line(summary, seconds=now - started, expected=expected, slowed_to=slowed_to)
                self.log.info("%s", line)

    def _dry_run(
        self, sender: Sender, rows: Sequence[Row] | Iterable[Row], summary: DeliverySummary, started: float
    ) -> dict[str, Any]:
        shown = 0
        for item in sender.jobs(rows):
            if isinstance(item, Receipt):
                summary.add(item)
                continue
            if shown < DRY_RUN_SHOWS:
                shown += 1
                self._show(item)
            summary.add(Receipt(Outcome.SKIPPED, "dry_run", item.event.event_id, item.position, event=item.event))
        summary.read = sender.read
        self.log.info("Dry run, nothing was sent\n%s", summary_table(summary))
        summary.check()
        return summary.as_result(seconds=time.monotonic() - started, rejected_path=None)

    def _show(self, job: Job) -> None:
        params = masked(job.event.params, EVENT)
        lines = "\n".join(f"  {name}={text}" for name, text in params.items())
        self.log.info("Row %d would be sent as event %s\n%s", job.position, printable(job.event.event_id, 80), lines)

    @staticmethod
    def _under_adjust_names(receipt: Receipt, routes: Mapping[str | None, Any]) -> Receipt:
        """A rejected row goes out under Adjust's names, so that it can be sent again without ``column_map``."""
        parser = next(iter(routes.values())).parser
        return receipt.with_row(parser.renamed(receipt.row)) if isinstance(receipt.row, Mapping) else receipt


def _save(sender: Sender, checkpoint: Checkpoint | None, rejected: ReceiptFile, responses: ReceiptFile) -> None:
    """What a checkpoint calls settled must be in the files before it says so."""
    rejected.flush()
    responses.flush()
    if checkpoint:
        checkpoint.rejected_path, checkpoint.rejected_lines = rejected.written_to, rejected.lines
    sender.save()


def _own_path(path: str | None, context: Context) -> ObjectStoragePath | None:
    """The path for this try of this task instance: neither a retry nor a mapped sibling overwrites what is there."""
    if not path:
        return None
    target = ObjectStoragePath(path)
    if target.suffix != ".jsonl":
        raise AdjustConfigurationError(f"{target.name!r} must end in .jsonl, as rejected_path and responses_path do")
    ti = context.get("ti")
    map_index = getattr(ti, "map_index", -1)
    try_number = getattr(ti, "try_number", 1)
    parts = [
        f"map{map_index}" if isinstance(map_index, int) and map_index >= 0 else "",
        f"try{try_number}" if isinstance(try_number, int) and try_number > 1 else "",
    ]
    marks = "".join(f".{part}" for part in parts if part)
    return target.with_name(f"{target.stem}{marks}{target.suffix}") if marks else target
