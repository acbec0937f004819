"""The exports that a sandbox writes: by the hour, in parts, late, lost, cut, doubled, and by any definition."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_adjust.sandbox import SandboxServer

APP, TOKEN = "4w565xzmb54d", "f0ob4r"
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0).timestamp()


def post(sandbox: SandboxServer, count: int, first: int = 0, **changes: Any) -> None:
    for number in range(first, first + count):
        data = {
            "s2s": 1,
            "app_token": APP,
            "event_token": TOKEN,
            "environment": "production",
            "gps_adid": f"38400000-8cf0-11bd-b23e-{number:012}",
            "created_at_unix": int(NOW) - 60,
            "revenue": "9.995",
            "currency": "EUR",
            "callback_params": json.dumps({"event_id": f"o-{number}", "n": str(number)}),
        } | changes
        given = {name: value for name, value in data.items() if value is not None}
        answer = requests.post(f"{sandbox.url}/event", data=given, timeout=10)
        assert answer.status_code == 200, answer.text


def lines(folder: Path, names: list[str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name in names:
        found += csv.DictReader(io.StringIO(gzip.decompress((folder / name).read_bytes()).decode()))
    return found


def test_what_was_recorded_is_exported_once(tmp_path: Path) -> None:
    with SandboxServer(clock=lambda: NOW) as sandbox:
        post(sandbox, 5)
        names = sandbox.write_exports(tmp_path / "bucket", parts=2)
        assert len(names) == 2
        hour = datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dT%H0000")
        assert all(re.fullmatch(rf"{APP}_{hour}_[0-9a-f]+_[0-9a-f]+\.csv\.gz", name) for name in names)
        found = lines(tmp_path / "bucket", names)
        assert sorted(each["[event_id]"] for each in found) == [f"o-{number}" for number in range(5)]
        assert found[0] == {
            "{app_token}": APP,
            "{environment}": "production",
            "{activity_kind}": "event",
            "{event}": TOKEN,
            "[event_id]": "o-0",
            "{created_at}": str(int(NOW) - 60),
            "{revenue_float}": "9.995",
            "{currency}": "EUR",
            "{received_at}": str(int(NOW)),
        }
        assert sandbox.write_exports(tmp_path / "bucket") == []
        post(sandbox, 1, first=5)
        again = sandbox.write_exports(tmp_path / "bucket")
        assert [each["[event_id]"] for each in lines(tmp_path / "bucket", again)] == ["o-5"]
        assert sorted(path.name for path in (tmp_path / "bucket").iterdir()) == sorted([*names, *again])


def test_a_definition_has_placeholders_parameters_and_constants(tmp_path: Path) -> None:
    definition = '"a, b",event,event_id,[n],{revenue},{callback_parameters},{is_s2s},{gps_adid},{nothing}'
    with SandboxServer(clock=lambda: NOW) as sandbox:
        post(sandbox, 1)
        post(sandbox, 1, first=1, callback_params=None, revenue=None, currency=None)
        [name] = sandbox.write_exports(tmp_path, definition=definition)
    head, first, second = csv.reader(io.StringIO(gzip.decompress((tmp_path / name).read_bytes()).decode()))
    assert head[0] == "a, b"
    assert first == ["a, b", TOKEN, "o-0", "0", "1000", first[5], "1", f"38400000-8cf0-11bd-b23e-{0:012}", ""]
    assert json.loads(first[5]) == {"event_id": "o-0", "n": "0"}
    assert second[2:6] == ["", "", "", ""]


def test_files_come_late_are_lost_cut_or_have_lines_twice(tmp_path: Path) -> None:
    with SandboxServer(clock=lambda: NOW) as sandbox:
        post(sandbox, 12)
        ready = sandbox.write_exports(tmp_path, parts=4, late=1, lost=1)
        assert len(ready) == 2
        assert len(lines(tmp_path, ready)) == 6
        assert len(lines(tmp_path, sandbox.write_exports(tmp_path))) == 3
        sandbox.reset()
        post(sandbox, 12)
        [cut] = sandbox.write_exports(tmp_path, cut=1, doubled=1, definition="[event_id]")
        with pytest.raises(EOFError):
            gzip.decompress((tmp_path / cut).read_bytes())
        sandbox.reset()
        post(sandbox, 12)
        empty, full = sandbox.write_exports(tmp_path, doubled=1, empty_hours=["2026-05-01T13"])
        assert (len(lines(tmp_path, [empty])), len(lines(tmp_path, [full]))) == (0, 24)
        for plan in ({"parts": 0}, {"late": -1}, {"doubled": 2}, {"definition": ""}, {"lost": True}):
            with pytest.raises(ValueError, match="must"):
                sandbox.write_exports(tmp_path, **plan)


def test_they_are_asked_for_over_http_into_the_folder_of_the_start_alone(tmp_path: Path) -> None:
    with SandboxServer(clock=lambda: NOW, exports_folder=str(tmp_path)) as sandbox:
        post(sandbox, 2)
        answer = requests.post(f"{sandbox.url}/_sandbox/exports", json={"parts": 2}, timeout=10)
        assert len(lines(tmp_path, answer.json()["files"])) == 2
        for path, body, status in (
            ("exports", {"parts": 0}, 400),
            ("exports", {"folder": "/"}, 400),
            ("exports", [], 400),
            ("config", {"exports_folder": "/"}, 400),
        ):
            assert requests.post(f"{sandbox.url}/_sandbox/{path}", json=body, timeout=10).status_code == status
        assert requests.post(f"{sandbox.url}/_sandbox/exports", data={"parts": 2}, timeout=10).status_code == 415
    with SandboxServer() as sandbox:
        answer = requests.post(f"{sandbox.url}/_sandbox/exports", json={}, timeout=10)
        assert (answer.status_code, "--exports FOLDER" in answer.json()["error"]) == (400, True)
    with pytest.raises(TypeError, match="exports_folder must be a path"):
        SandboxServer(exports_folder="")
