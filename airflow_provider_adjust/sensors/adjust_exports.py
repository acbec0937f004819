"""AdjustExportsSensor: waits until Adjust has uploaded its raw data exports of some hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_adjust.export_files import poll_exports
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor
from airflow_provider_adjust.triggers.adjust_exports import AdjustExportsTrigger


class AdjustExportsSensor(AdjustWaitingSensor):
    """Wait until Adjust has uploaded an export file for each hour of a window; the XCom is ``{"hours": 3, "files": 9}``.

    A file holds what Adjust received in its hour, so the window is about when events were sent, not when they happened.

    .. code-block:: python

        from airflow_provider_adjust.sensors.adjust_exports import AdjustExportsSensor

        AdjustExportsSensor(
            task_id="wait_for_exports",
            exports="s3://aws_default@bucket/adjust",
            window="{{ dag_run.start_date }}/{{ dag_run.start_date + macros.timedelta(hours=3) }}",
            deferrable=True,
        )

    :param exports: where Adjust uploads its exports: a URL such as ``s3://conn@bucket/adjust``, or an absolute path.
        (templated)
    :param window: a day, days (``2026-05-01:2026-05-03``), or two times separated by a slash. (templated)
    :param timezone: IANA name of the time zone of days, and of times without an offset.
    :param every_hour_has_files: False accepts an hour without a file once a later hour has one.

    All other arguments are those of :class:`~airflow_provider_adjust.sensors.adjust_waiting.AdjustWaitingSensor`; the
    connection needs no API token.
    """

    template_fields: Sequence[str] = ("exports", "window", *AdjustWaitingSensor.template_fields)

    def __init__(
        self, *, exports: str, window: Any, timezone: str = "UTC", every_hour_has_files: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.exports = exports
        self.window = window
        self.timezone = timezone
        self.every_hour_has_files = every_hour_has_files

    def poll_once(self) -> PollResult:
        return poll_exports(
            str(self.exports), self._hours(), self._app_token(), every_hour_has_files=self.every_hour_has_files
        )

    def trigger(self, *, poke_interval: float, until: float) -> AdjustExportsTrigger:
        return AdjustExportsTrigger(
            adjust_conn_id=self.adjust_conn_id,
            app_token=self._app_token(),
            exports=str(self.exports),
            window="/".join(each.isoformat() for each in self._hours()),
            every_hour_has_files=self.every_hour_has_files,
            poke_interval=poke_interval,
            until=until,
        )

    def _hours(self) -> Window:
        return Window.parse(self.window, load_timezone(self.timezone))

    def _app_token(self) -> str:
        app_token = AdjustConnection.get(self.adjust_conn_id, app_token=self.app_token).app_token
        if not app_token:
            raise AdjustConfigurationError(
                "the app of the exports is not known; set app_token here or in the connection"
            )
        return app_token
