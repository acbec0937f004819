"""The base of the sending operators: everything except the source of the rows.

An operator turns Airflow's arguments (a connection, a template, a path, a context) into one run of the hook's pipeline, and
the pipeline's outcome into logs, a rejected file, a result or a failure.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, Context

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.delivery_run import DeliveryRun, exit_stack_preserving_error
from airflow_provider_adjust.files.folder import retain_files_for
from airflow_provider_adjust.files.receipt_files import ReceiptFile
from airflow_provider_adjust.files.retention import check_retention, prune_files
from airflow_provider_adjust.lineage import Destinations, run_lineage
from airflow_provider_adjust.links.adjust_links import (
    AdjustDashboardLink,
    AdjustDeliveriesLink,
    AdjustRejectedFileLink,
)
from airflow_provider_adjust.metrics import DeliveryMetrics
from airflow_provider_adjust.option_arguments import options_of, takes_options, templated
from airflow_provider_adjust.routes import destination_line, hooks_by_route, open_ledger, task_instance_id
from airflow_provider_adjust.s2s.account.budget import FailureBudget
from airflow_provider_adjust.s2s.account.tables import missing_line, summary_report
from airflow_provider_adjust.s2s.checkpoint import STATE_KEY, Checkpoint
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError, FinalError
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.redaction import escape, mask_params

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_adjust.lineage import Lineage

AdjustRetryPolicy: Any
try:
    from airflow_provider_adjust.retry_policy import AdjustRetryPolicy
except ImportError:  # Airflow before 3.3 has no retry policies
    AdjustRetryPolicy = None


#: The number of events that a dry run shows.
_DRY_RUN_SHOWS = 5


class AdjustDeliveryOperator(BaseOperator):
    """Base of the operators that send events. A subclass supplies the rows.

    Besides the arguments below, it takes every field of :class:`~airflow_provider_adjust.s2s.RowOptions` (how rows are read)
    and :class:`~airflow_provider_adjust.s2s.SendOptions` (how events are sent).

    :param adjust_conn_id: the ``adjust`` connection, or with ``route_by`` a mapping from that column's values to
        connections. (templated)
    :param route_by: the column that chooses a row's connection, to send for several apps from one query.
    :param max_rejected: how many events may be refused before the task fails: a count, or a share as a float below 1.
    :param tolerate: outcomes or reasons that do not count as failures.
    :param rejected_path: where to write what was not delivered, as JSON Lines, local or on object storage. A relative path is
        below ``[adjust] files_folder``. A retry and a mapped task add the try number and the map index to the name.
        (templated)
    :param responses_path: where to write Adjust's answers, as JSON Lines of event id and answer. (templated)
    :param retain_for: delete rejected files and responses files older than this, at least a day, in the folders of
        ``rejected_path`` and ``responses_path``. None uses ``[adjust] retain_files_for``, which by default keeps them.
    :param ledger_conn_id: the database connection of the ledger, which remembers what was delivered, so that no run sends it
        again. (templated)
    :param retry_unknown_devices: with a ledger, later runs send events refused as ``device_not_found`` again until they are
        this old.
    :param durable: keep a checkpoint in Airflow's task state store (Airflow 3.3), so that a retry resumes where the last try
        stopped.
    :param dry_run: check and order the rows, log the first events with ids masked, and send nothing.
    """

    template_fields: Sequence[str] = (
        "adjust_conn_id",
        *templated(RowOptions, SendOptions),
        "rejected_path",
        "responses_path",
        "ledger_conn_id",
    )
    ui_color = "#e0f2ef"
    operator_extra_links = (AdjustDeliveriesLink(), AdjustRejectedFileLink(), AdjustDashboardLink())
    #: The result of the last try, failed or not, for links and notifiers; None before there are counts.
    delivery_result: dict[str, Any] | None = None

    @takes_options(RowOptions, SendOptions)
    def __init__(
        self,
        *,
        adjust_conn_id: str | Mapping[str, str] = DEFAULT_CONN_ID,
        route_by: str | None = None,
        max_rejected: float = 0,
        tolerate: Sequence[str] = ("duplicate",),
        rejected_path: str | None = None,
        responses_path: str | None = None,
        retain_for: timedelta | None = None,
        ledger_conn_id: str | None = None,
        retry_unknown_devices: timedelta | None = None,
        durable: bool = True,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        if AdjustRetryPolicy is not None and kwargs.get("retry_policy") is None:
            # Airflow's default would be None, which a mapped task also passes; default_args take precedence.
            given = (kwargs.get("default_args") or {}).get("retry_policy")
            kwargs["retry_policy"] = AdjustRetryPolicy() if given is None else given
        super().__init__(**kwargs)
        self.adjust_conn_id = adjust_conn_id
        self.route_by = route_by
        self.max_rejected = max_rejected
        self.tolerate = tolerate
        self.rejected_path = rejected_path
        self.responses_path = responses_path
        # Not templated, so a value that is too short fails the DAG's import.
        check_retention(retain_for, argument="retain_for")
        self.retain_for = retain_for
        self.ledger_conn_id = ledger_conn_id
        self.retry_unknown_devices = retry_unknown_devices
        self.durable = durable
        self.send_nothing = dry_run
        self._run: DeliveryRun | None = None
        self._killed = False

    @abstractmethod
    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        """The rows to send: a list, or a stream in time order. Resources to close are pushed on ``stack``."""

    def row_options(self) -> RowOptions:
        """The rendered arguments that say how rows are read."""
        return options_of(self, RowOptions)

    def check_columns(self, names: Sequence[Any], source: str) -> None:
        """Refuse unusable columns before any row is sent.

        :param names: all columns of the source.
        :param source: what has the columns, for the message.
        :raises AdjustConfigurationError: columns are unknown, missing or repeated.
        """
        check_columns(names, source, self.row_options(), route_by=self.route_by)

    def send_options(self) -> SendOptions:
        """The rendered arguments that say how events are sent. Override it to change an option that is not an argument."""
        return options_of(self, SendOptions)

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            result = self._deliver(context)
        except FinalError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except BaseException as error:  # Airflow's timeout, after which it retries, is not an Exception
            if self._run is None or not self._run.would_send_twice:
                raise
            message = f"{error}\n" if isinstance(error, AdjustError) else ""
            raise AirflowFailException(
                f"{type(error).__name__}: {message}Some events were sent. Without a checkpoint (durable, Airflow 3.3) or a "
                "ledger, a retry would send them again, so the task is not retried. Send the missing events: see "
                "rejected_path, and compare Adjust with the source"
            ) from error
        self._tell_outlets(context, result)
        return result

    def on_kill(self) -> None:
        # Airflow calls this in a signal handler, possibly before the sender exists.
        self._killed = True
        if self._run is not None:
            self._run.sender.stop("the task was killed")

    def source_lineage(self) -> Lineage | None:
        """The input dataset for OpenLineage; called only where its provider is installed."""
        return None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:
        """Called by the OpenLineage provider, if it is installed, when the task has ended or failed."""
        return run_lineage(self.source_lineage, self._run.destinations if self._run else Destinations())

    def _tell_outlets(self, context: Context, result: Mapping[str, Any]) -> None:
        """Add the result to the event of each outlet asset, for the DAGs that are scheduled on it."""
        if (events := context.get("outlet_events")) is not None:
            for outlet in self.outlets:
                if isinstance(outlet, Asset):
                    events[outlet].extra.update(result)

    def _deliver(self, context: Context) -> dict[str, Any]:
        # dag.test() runs several tries in one process.
        self._run = self.delivery_result = None
        sending = self.send_options()
        # First, so that the ledger records the try even if nothing can be sent.
        with exit_stack_preserving_error() as stack:
            ledger = None if self.send_nothing else stack.enter_context(self._ledger(context, sending))
            return self._deliver_with(ledger, context, sending)

    def _deliver_with(self, ledger: Ledger | None, context: Context, sending: SendOptions) -> dict[str, Any]:
        started = time.monotonic()
        budget = FailureBudget.of(self.max_rejected, self.tolerate)
        failure: BaseException | None = None
        try:
            with exit_stack_preserving_error() as stack:
                run = self._open(context, stack, sending, ledger)
                rows = self.rows(context, stack)
                if self.send_nothing:
                    self._show_dry_run(run, rows)
                    seconds = time.monotonic() - started
                    self.delivery_result = run.summary.as_result(
                        seconds=seconds, rejected_path=None, environment=run.sender.environment
                    )
                    return self.delivery_result
                self._run = run
                if self._killed:
                    self.on_kill()
                metrics = DeliveryMetrics.of(
                    run.sender.sink.earlier, context.get("ti"), environment=run.sender.environment
                )
                run.deliver(rows, self.log, metrics)
        except BaseException as error:
            if self._run is None:
                raise
            failure = error
        run.report_lineage()
        seconds = time.monotonic() - started
        try:
            return self._conclude(run, failure, budget, seconds=seconds)
        except BaseException as error:
            failure = error
            raise
        finally:
            metrics.ended(run.summary, seconds=seconds, failed=failure is not None)

    def _conclude(
        self, run: DeliveryRun, failure: BaseException | None, budget: FailureBudget, *, seconds: float
    ) -> dict[str, Any]:
        """Log how the delivery ended; return its result, or raise its failure."""
        rejected_path = run.rejected.written_to
        self.delivery_result = result = run.summary.as_result(
            seconds=seconds, rejected_path=rejected_path, environment=run.sender.environment
        )
        ended = f"Delivery stopped early, after {run.summary.read:,} rows were read" if failure else "Delivery ended"
        self.log.info("%s\n%s", ended, summary_report(run.summary))
        if rejected_path:
            self.log.info("Undelivered events are listed with reasons in %s", rejected_path)
        if failure:
            # The failure takes precedence over the counts: after a full disk, for example, some events have no outcome.
            raise failure
        run.check(budget)
        if missing := missing_line(run.summary):
            self.log.warning("%s", missing)
        return result

    def _open(self, context: Context, stack: ExitStack, sending: SendOptions, ledger: Ledger | None) -> DeliveryRun:
        """Open everything that a try needs except its rows."""
        options = self.row_options()
        hooks = hooks_by_route(self.adjust_conn_id, self.route_by, options)
        ignored = () if self.route_by is None else (self.route_by,)
        # First, so that a mistake in a connection or an option shows before anything is opened.
        routes = {name: hook.route(options, ignored=ignored) for name, hook in hooks.items()}
        for route in routes.values():
            self.log.info("%s", destination_line(route, self._memory))
        ti = context.get("ti")
        rejected = stack.enter_context(ReceiptFile.of_try(self.rejected_path, ti))
        # Without a path there is no file, so that no line is made for it.
        responses = stack.enter_context(ReceiptFile.of_try(self.responses_path, ti)) if self.responses_path else None
        if not self.send_nothing:
            stack.callback(self._prune_files, *filter(None, (rejected, responses)))
        # A ledger is better than a checkpoint: it recognises each event, even after the input has changed.
        needs_checkpoint = self.durable and ledger is None and not self.send_nothing
        return stack.enter_context(
            DeliveryRun.open(
                hooks,
                routes,
                options,
                sending,
                route_by=self.route_by,
                rejected=rejected,
                responses=responses,
                checkpoint=open_checkpoint(context, self.log) if needs_checkpoint else None,
                ledger=ledger,
            )
        )

    def _prune_files(self, *files: ReceiptFile) -> None:
        """Delete old files in their folders. An error is only a warning, since the delivery has ended."""
        folders = [file.folder for file in files if file.folder is not None]
        try:
            retain_for = self.retain_for or retain_files_for()
        except AdjustConfigurationError as error:
            self.log.warning("No old file is deleted: %s", error)
            return
        if retain_for is None or self._killed or not folders:
            return
        if deleted := prune_files(folders, older_than=retain_for).deleted:
            self.log.info(
                "%s rejected and responses files older than %d days were deleted", f"{deleted:,}", retain_for.days
            )

    @property
    def _memory(self) -> str:
        """What prevents events from being sent twice."""
        if self.send_nothing:
            return "as a dry run, which sends nothing"
        if self.ledger_conn_id is not None:
            return f"ledger {self.ledger_conn_id}"
        return "a checkpoint for retries" if self.durable else "nothing remembers what was sent"

    @contextmanager
    def _ledger(self, context: Context, sending: SendOptions) -> Iterator[Ledger | None]:
        task_instance = task_instance_id(context.get("ti"), self.task_id)
        with open_ledger(
            self.ledger_conn_id, task_instance, sending, retry_unknown_devices=self.retry_unknown_devices
        ) as ledger:
            if ledger is not None and ledger.waited:
                self.log.info(
                    "Waited %.0f s until the claims of an earlier, killed try could be taken over",
                    ledger.waited,
                )
            yield ledger
            if ledger is not None and ledger.known_under_another_key:
                self.log.warning(
                    "%s events have an id that the app also has under another event token; if both are one purchase, set "
                    'id_scope="app"',
                    f"{ledger.known_under_another_key:,}",
                )
            if ledger is not None and ledger.not_compared:
                self.log.warning(
                    "%s events are in the ledger under a digest key that the connection does not have, and were taken for "
                    "unchanged. Put the earlier digest_key, or S2S token, last in the connection's digest_key",
                    f"{ledger.not_compared:,}",
                )
            if ledger is not None and ledger.suppressions.not_recognised:
                self.log.warning(
                    "%s ids of suppressed devices are in the ledger under a digest key that the connection does not have, so "
                    "they are not recognised. Put the earlier digest_key, or S2S token, last in the connection's digest_key",
                    f"{ledger.suppressions.not_recognised:,}",
                )

    def _show_dry_run(self, run: DeliveryRun, rows: Sequence[Row] | Iterable[Row]) -> None:
        """Log the first events with ids masked, and the counts of what would be sent."""
        shown = 0
        for item in run.dry_run(rows):
            if isinstance(item, Job) and shown < _DRY_RUN_SHOWS:
                shown += 1
                params = mask_params(item.event.params, item.event.endpoint)
                lines = "\n".join(f"  {name}={text}" for name, text in params.items())
                event_id = escape(item.event.event_id, 80)
                self.log.info("Row %d would be sent as event %s\n%s", item.position, event_id, lines)
        run.say_left_out(self.log)
        self.log.info("Dry run, nothing was sent\n%s", summary_report(run.summary))
        run.summary.check()


class TaskStateCheckpointStore:
    """Keeps the checkpoint under one key. It never expires, since tries may be far apart."""

    def __init__(self, task_state_store: Any) -> None:
        self._store = task_state_store

    def load(self) -> Mapping[str, Any] | None:
        state = self._store.get(STATE_KEY)
        return state if isinstance(state, Mapping) else None

    def save(self, state: dict[str, Any]) -> None:
        # The constant exists only where the store does.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        self._store.set(STATE_KEY, state, retention=NEVER_EXPIRE)


def open_checkpoint(context: Context, log: Logger) -> Checkpoint | None:
    """The checkpoint of the running task instance; None if Airflow has no task state store. Both are logged.

    :raises CheckpointMismatch: the checkpoint of an earlier try cannot be read.
    """
    store = context.get("task_state_store")
    if store is None:
        log.warning(
            "This Airflow has no task state store (3.3 does), so a try that fails after it has sent events is not retried"
        )
        return None
    checkpoint = Checkpoint(TaskStateCheckpointStore(store))
    if checkpoint.resumes:
        log.info(
            "An earlier try settled %s events; they are not sent again. To send everything again, delete the task's "
            "state %s before clearing the task",
            f"{checkpoint.resumes:,}",
            STATE_KEY,
        )
    return checkpoint
