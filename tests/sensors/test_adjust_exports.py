"""AdjustExportsSensor and its trigger: they wait until each hour has a file of the app."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.io import attach
from airflow.sdk.module_loading import import_string
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from reconcile.reading_account import Connect
from reconcile.report_case import APP_TOKEN

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.export_files import export_files, poll_exports
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.sensors.adjust_exports import AdjustExportsSensor

START = datetime(2026, 5, 1, 2, tzinfo=UTC)
WINDOW = "2026-05-01T02:00:00+00:00/2026-05-01T05:00:00+00:00"


@pytest.fixture(autouse=True)
def adjust(connect_reader: Connect) -> Connect:
    return connect_reader


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., None]:
    def upload(*hours: int, app: str = APP_TOKEN) -> None:
        for hour in hours:
            name = f"{app}_{START + timedelta(hours=hour):%Y-%m-%dT%H%M%S}_0a1b_2c.csv.gz"
            (tmp_path / name).write_bytes(b"")

    return upload


def sensor(folder: Path, **arguments: Any) -> AdjustExportsSensor:
    return AdjustExportsSensor(**({"task_id": "wait", "exports": str(folder), "window": WINDOW} | arguments))


def test_it_waits_for_a_file_of_each_hour(tmp_path: Path, upload: Callable[..., None]) -> None:
    task = sensor(tmp_path / "not there yet")
    assert not task.poke({}).is_done
    upload(0, 2, 3)
    upload(1, app="another")
    assert sensor(tmp_path).poll_once().message == "1 of 3 hours have no file of the app yet: 2026-05-01 03:00"
    assert sensor(tmp_path, every_hour_has_files=False).poll_once().value == {"hours": 3, "files": 2}
    assert not sensor(tmp_path, every_hour_has_files=False, window="2026-05-01").poll_once().is_done
    upload(1)
    done = sensor(tmp_path).poke({})
    assert (done.is_done, done.xcom_value) == (True, {"hours": 3, "files": 3})


def test_it_defers_and_its_trigger_fires(tmp_path: Path, upload: Callable[..., None]) -> None:
    task = sensor(tmp_path, deferrable=True, mode="poke", timeout=20, poke_interval=0.01)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert arguments["window"] == WINDOW
    trigger = import_string(path)(**json.loads(json.dumps(arguments)))

    async def wait() -> dict[str, Any]:
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await asyncio.to_thread(upload, 0, 1, 2)
        return (await waiting).payload  # type: ignore[no-any-return]

    event = asyncio.run(wait())
    assert event == {
        "status": "done",
        "message": "3 files are there for the 3 hours",
        "value": {"hours": 3, "files": 3},
    }
    assert task.execute_complete({}, event) == {"hours": 3, "files": 3}


def test_the_trigger_gives_up_when_the_time_is_over(tmp_path: Path) -> None:
    trigger = sensor(tmp_path).trigger(poke_interval=0.01, until=time.time() - 1)
    event = asyncio.run(anext(trigger.run())).payload
    assert (event["status"], "3 of 3 hours have no file" in event["message"]) == ("timeout", True)


def test_what_cannot_be_waited_for_is_refused(tmp_path: Path, adjust: Connect) -> None:
    for arguments, said in (({"exports": "bucket"}, "name a URL"), ({"window": "soon"}, "window is 'soon'")):
        with pytest.raises(AirflowFailException, match=said):
            sensor(tmp_path, **arguments).poke({})
    adjust(app_token=None)
    with pytest.raises(AirflowFailException, match="the app of the exports is not known"):
        sensor(tmp_path).poke({})


def test_a_bucket_is_listed_with_its_folders_and_read() -> None:
    storage = MemoryFileSystem()
    attach(protocol="memory", fs=storage)
    storage.pipe(f"/bucket/adjust/2026/{APP_TOKEN}_2026-05-01T020000_0a1b_2c.csv", b"{event}\n")
    storage.pipe("/bucket/adjust/notes.txt", b"")
    [found] = export_files("memory://bucket/adjust")
    with found.open() as opened:
        assert opened.read() == b"{event}\n"
    assert found.name.app_token == APP_TOKEN


def test_a_file_that_came_since_is_seen_by_a_storage_that_keeps_its_listings(tmp_path: Path) -> None:
    class Keeping(LocalFileSystem):
        """As FTP and HTTP do."""

        protocol = "keeping"

        def ls(self, path: str, detail: bool = False, **kwargs: Any) -> list[Any]:
            if path not in self.dircache:
                self.dircache[path] = super().ls(path, detail=True, **kwargs)
            return self.dircache[path] if detail else [each["name"] for each in self.dircache[path]]

        def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
            return AbstractFileSystem.find(self, path, *args, **kwargs)

        def invalidate_cache(self, path: str | None = None) -> None:
            self.dircache.clear()

    attach(protocol="file", fs=Keeping(use_listings_cache=True))
    try:
        assert export_files(f"file://{tmp_path}") == []
        (tmp_path / f"{APP_TOKEN}_2026-05-01T020000_0a1b_2c.csv").write_bytes(b"")
        assert len(export_files(f"file://{tmp_path}")) == 1
    finally:
        attach(protocol="file", fs=LocalFileSystem())


def test_a_storage_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise PermissionError("not for you")

    monkeypatch.setattr("airflow_provider_adjust.export_files.export_files", fail)
    result = poll_exports(str(tmp_path), Window.parse(WINDOW), APP_TOKEN, every_hour_has_files=True)
    assert (result.is_done, result.message) == (False, "the exports cannot be listed (PermissionError)")
