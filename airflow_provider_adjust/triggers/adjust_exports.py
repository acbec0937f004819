"""AdjustExportsTrigger: waits in the triggerer until Adjust has uploaded its raw data exports."""

from __future__ import annotations

from typing import Any, ClassVar

from asgiref.sync import sync_to_async

from airflow_provider_adjust.export_files import poll_exports
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger


class AdjustExportsTrigger(AdjustWaitingTrigger):
    """Fire when each hour has a file of the app, or at the timeout.

    :param exports: the location of the files.
    :param window: the first time and the one after the last, as ISO 8601 with a slash between them.
    :param every_hour_has_files: False treats an hour without a file as empty, once a later hour has one.

    The other arguments are those of :class:`AdjustWaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        *AdjustWaitingTrigger.arguments,
        "exports",
        "window",
        "every_hour_has_files",
    )

    def __init__(self, *, exports: str, window: str, every_hour_has_files: bool, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.exports = exports
        self.window = window
        self.every_hour_has_files = every_hour_has_files

    async def poll_once(self) -> PollResult:
        # In its own thread, since listing a bucket with many files takes seconds. Airflow's connections can be read in a
        # thread that asgiref started.
        poll = sync_to_async(poll_exports, thread_sensitive=False)
        result: PollResult = await poll(
            self.exports,
            Window.parse(self.window),
            self.app_token or "",
            every_hour_has_files=self.every_hour_has_files,
        )
        return result
