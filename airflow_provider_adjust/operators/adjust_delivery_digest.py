"""AdjustDeliveryDigestOperator: one message about the deliveries of all DAGs, once a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from airflow.sdk import BaseOperator, Context

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.deliveries_page.configuration import PREFIX
from airflow_provider_adjust.notifications.adjust_delivery_summary import AdjustDeliverySummaryNotifier
from airflow_provider_adjust.notifications.delivery_digest import DeliveryDigest
from airflow_provider_adjust.notifications.digest_ledger import read_window
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_DAY = timedelta(days=1)


class AdjustDeliveryDigestOperator(BaseOperator):
    """Send one message on the deliveries of several DAGs, from the ledger.

    The message has a line for each DAG and environment: the verdict, what was delivered, what is missing, and the largest
    reasons with what to do. A DAG that was expected to send and did not begin is ``MISSING``, and comes first. The task
    succeeds whatever the verdict is. Its XCom is the message as a dict. Without a recipient, it only logs the message.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_delivery_digest import AdjustDeliveryDigestOperator

        AdjustDeliveryDigestOperator(
            task_id="digest",
            ledger_conn_id="adjust_ledger",
            email_to="data@example.com",
            slack_webhook_conn_id="slack_webhook",
        )

    :param ledger_conn_id: the database connection of the sending tasks' ledger. (templated)
    :param dag_ids: the DAGs that are expected to send; by default every DAG in the ledger of the last 7 days. (templated)
    :param window: how long before the end of the run's data interval a try may have begun; by default the data interval
        itself, or a day if the run has none.
    :param email_to: one address or a list; needs ``apache-airflow-providers-smtp``. (templated)
    :param email_from: the sender; by default that of the connection. (templated)
    :param smtp_conn_id: the mail server's connection; ``smtp_default`` by default. (templated)
    :param slack_webhook_conn_id: an incoming webhook's connection; needs ``apache-airflow-providers-slack``. (templated)
    :param slack_conn_id: a Slack API connection; needs ``slack_channel`` and the same provider. (templated)
    :param slack_channel: the channel to write to through ``slack_conn_id``. (templated)
    :raises AdjustConfigurationError: ``window`` is not above 0.
    """

    template_fields: Sequence[str] = (
        "ledger_conn_id",
        "dag_ids",
        "email_to",
        "email_from",
        "smtp_conn_id",
        "slack_webhook_conn_id",
        "slack_conn_id",
        "slack_channel",
    )
    ui_color = "#e0f2ef"

    def __init__(
        self,
        *,
        ledger_conn_id: str,
        dag_ids: str | Sequence[str] | None = None,
        window: timedelta | None = None,
        email_to: str | Sequence[str] | None = None,
        email_from: str | None = None,
        smtp_conn_id: str | None = None,
        slack_webhook_conn_id: str | None = None,
        slack_conn_id: str | None = None,
        slack_channel: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if window is not None and window <= timedelta(0):
            raise AdjustConfigurationError("window must be above 0, such as timedelta(days=1)")
        self.ledger_conn_id = ledger_conn_id
        self.dag_ids = dag_ids
        self.window = window
        self.email_to = email_to
        self.email_from = email_from
        self.smtp_conn_id = smtp_conn_id
        self.slack_webhook_conn_id = slack_webhook_conn_id
        self.slack_conn_id = slack_conn_id
        self.slack_channel = slack_channel

    def execute(self, context: Context) -> dict[str, Any]:
        start, end = self._window(context)
        dag_ids = [self.dag_ids] if isinstance(self.dag_ids, str) else self.dag_ids
        try:
            with (
                ledger_engine(self.ledger_conn_id) as engine,
                named_ledger_errors(self.ledger_conn_id),
                engine.connect() as connection,
            ):
                dags, missing = read_window(connection, start, end, dag_ids)
            digest = DeliveryDigest.of(start, end, dags, missing, **self._links(context))
            self.log.info("%s", digest.text)
            self._send(digest, context)
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        return digest.as_result()

    def _send(self, digest: DeliveryDigest, context: Context) -> None:
        if not (self.email_to or self.slack_webhook_conn_id or self.slack_conn_id):
            return
        notifier = AdjustDeliverySummaryNotifier(
            email_to=self.email_to,
            email_from=self.email_from,
            smtp_conn_id=self.smtp_conn_id,
            slack_webhook_conn_id=self.slack_webhook_conn_id,
            slack_conn_id=self.slack_conn_id,
            slack_channel=self.slack_channel,
            subject=digest.subject,
            html=digest.html,
            text=digest.slack,
        )
        # Not __call__, which would render the digest as a template.
        notifier.notify(context)

    def _window(self, context: Context) -> tuple[datetime, datetime]:
        """Start and end in UTC without an offset, the form of the ledger's times."""
        run: Any = context.get("dag_run")
        interval_start, interval_end = context.get("data_interval_start"), context.get("data_interval_end")
        end = interval_end or getattr(run, "run_after", None) or datetime.now(UTC)
        # Airflow 3 gives "@daily" an interval of no length.
        has_length = interval_start is not None and interval_end is not None and interval_start < interval_end
        start = end - self.window if self.window else interval_start if has_length else end - _DAY
        assert start is not None  # noqa: S101 - for mypy
        return tuple(each.astimezone(UTC).replace(tzinfo=None) for each in (start, end))  # type: ignore[return-value]

    def _links(self, context: Context) -> dict[str, str]:
        log_url = str(getattr(context.get("ti"), "log_url", "") or "")
        # The log's URL is below Airflow's base URL, which only the server's configuration has.
        base, is_below, _ = log_url.partition("/dags/")
        page_url = f"{base}{PREFIX}/?{urlencode({'ledger': self.ledger_conn_id})}" if is_below else ""
        return {"log_url": log_url, "page_url": page_url}
