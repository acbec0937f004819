"""AdjustDeliverySummaryNotifier: the result of a delivery by e-mail and in Slack."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

from airflow.sdk import BaseNotifier, Context

from airflow_provider_adjust.notifications.delivery_report import DeliveryReport
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


class AdjustDeliverySummaryNotifier(BaseNotifier):
    """Report the outcome of a delivery by e-mail, in Slack, or both, through the notifiers of Airflow's own providers.

    Set it as ``on_success_callback``, ``on_failure_callback`` or ``on_retry_callback`` of a task that sends events, or give
    it to a deadline alert. The message has counts, revenue, what is missing with what to do, and links.

    .. code-block:: python

        from airflow_provider_adjust.notifications.adjust_delivery_summary import AdjustDeliverySummaryNotifier
        from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

        SqlToAdjustOperator(
            task_id="send_purchases",
            sql_conn_id="warehouse",
            sql="sql/purchases.sql",
            event_token="f0ob4r",
            on_failure_callback=AdjustDeliverySummaryNotifier(email_to="data@example.com"),
        )

    :param email_to: one address or a list; needs ``apache-airflow-providers-smtp``. (templated)
    :param email_from: the sender; by default that of the connection. (templated)
    :param smtp_conn_id: the mail server's connection; ``smtp_default`` by default. (templated)
    :param slack_webhook_conn_id: an incoming webhook's connection; needs ``apache-airflow-providers-slack``. (templated)
    :param slack_conn_id: a Slack API connection; needs ``slack_channel`` and the same provider. (templated)
    :param slack_channel: the channel to write to through ``slack_conn_id``. (templated)
    :param subject: the e-mail's subject. ``delivery`` is the
        :class:`~airflow_provider_adjust.notifications.delivery_report.DeliveryReport`. (templated)
    :param html: the e-mail's content. (templated)
    :param text: the Slack message. (templated)
    """

    template_fields: Sequence[str] = (
        "email_to",
        "email_from",
        "smtp_conn_id",
        "slack_webhook_conn_id",
        "slack_conn_id",
        "slack_channel",
        "subject",
        "html",
        "text",
    )

    def __init__(
        self,
        *,
        email_to: str | Sequence[str] | None = None,
        email_from: str | None = None,
        smtp_conn_id: str | None = None,
        slack_webhook_conn_id: str | None = None,
        slack_conn_id: str | None = None,
        slack_channel: str | None = None,
        subject: str = "{{ delivery.subject }}",
        html: str = "{{ delivery.html }}",
        text: str = "{{ delivery.slack }}",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.email_to = email_to
        self.email_from = email_from
        self.smtp_conn_id = smtp_conn_id
        self.slack_webhook_conn_id = slack_webhook_conn_id
        self.slack_conn_id = slack_conn_id
        self.slack_channel = slack_channel
        self.subject = subject
        self.html = html
        self.text = text

    # A copy: rendering overwrites the templates, and one notifier may serve several tasks and tries of a process.
    def __call__(self, *args: Any) -> None:
        super(AdjustDeliverySummaryNotifier, copy(self)).__call__(*args)

    def __await__(self) -> Generator[Any, Any, None]:
        return super(AdjustDeliverySummaryNotifier, copy(self)).__await__()

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        known: Any = {**context, "delivery": DeliveryReport.of(context)}
        super().render_template_fields(known, jinja_env)

    def notify(self, context: Context) -> None:
        """Send every message. A channel that fails does not stop the others.

        :raises AdjustConfigurationError: no recipient is set, or a provider is missing.
        """
        failures: list[Exception] = []
        for notifier in self._notifiers():
            with self._collect(failures, notifier):
                # Not __call__, which would render the message as a template.
                notifier.notify(context)
        if failures:
            raise failures[0]

    async def async_notify(self, context: Context) -> None:
        """The same for Airflow's triggerer, which awaits it for a deadline alert.

        :raises AdjustConfigurationError: no recipient is set, or a provider is missing.
        :raises NotImplementedError: the provider of a channel is too old to have async notifiers.
        """
        failures: list[Exception] = []
        for notifier in self._notifiers():
            with self._collect(failures, notifier):
                await notifier.async_notify(context)
        if failures:
            raise failures[0]

    @contextmanager
    def _collect(self, failures: list[Exception], notifier: BaseNotifier) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.log.exception("%s could not send its message about the delivery", type(notifier).__name__)
            failures.append(error)

    def _notifiers(self) -> list[BaseNotifier]:
        found = list(self._configured())
        if not found:
            raise AdjustConfigurationError(
                "the notifier has no recipient; give it email_to, slack_webhook_conn_id, or slack_conn_id and "
                "slack_channel"
            )
        return found

    def _configured(self) -> Iterator[BaseNotifier]:
        if self.email_to:
            try:
                from airflow.providers.smtp.notifications.smtp import SmtpNotifier
            except ImportError:
                raise _missing("apache-airflow-providers-smtp", "email_to") from None
            yield SmtpNotifier(
                to=self.email_to,
                from_email=self.email_from,
                subject=self.subject,
                html_content=self.html,
                smtp_conn_id=self.smtp_conn_id,
            )
        if self.slack_webhook_conn_id:
            try:
                from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
            except ImportError:
                raise _missing("apache-airflow-providers-slack", "slack_webhook_conn_id") from None
            yield SlackWebhookNotifier(slack_webhook_conn_id=self.slack_webhook_conn_id, text=self.text)
        if self.slack_conn_id:
            if not self.slack_channel:
                raise AdjustConfigurationError("slack_conn_id needs slack_channel, the channel to write to")
            try:
                from airflow.providers.slack.notifications.slack import SlackNotifier
            except ImportError:
                raise _missing("apache-airflow-providers-slack", "slack_conn_id") from None
            yield SlackNotifier(slack_conn_id=self.slack_conn_id, channel=self.slack_channel, text=self.text)


def _missing(distribution: str, argument: str) -> AdjustConfigurationError:
    return AdjustConfigurationError(f"{argument} needs {distribution}; install it where tasks run")
