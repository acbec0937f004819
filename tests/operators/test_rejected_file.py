"""The rejected file and the file of answers: their content, their tries, and how a reject is sent again."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from operators.adjust_account import Said, device, purchase, recorded, reveals
from operators.sending import jsonl, lines, operator, send, unknown

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer


def test_only_rejected_events_are_sent_again_after_their_correction(adjust: SandboxServer, tmp_path: Path) -> None:
    rejected, again = tmp_path / "rejected.jsonl", tmp_path / "again.jsonl"
    adjust.configure(unknown_devices=[device(2)])
    rows = [
        purchase(4, revenue="1,25"),
        purchase(3, gps_adid="00000000-0000-0000-0000-000000000000"),
        purchase(2),
        purchase(1),
        purchase(5, callback_params={"shop": {"id": 7}}),
    ]
    names = {"gps_adid": "gaid", "revenue": "total"}
    warehouse = [{names.get(name, name): value for name, value in row.items()} for row in rows]
    result = send(
        warehouse,
        column_map={"gaid": "gps_adid", "total": "revenue"},
        event_id_param="event_id",
        rejected_path=str(rejected),
        max_rejected=4,
    )
    assert result["rejected_path"] == str(rejected)
    refused = {line["event_id"]: line for line in lines(rejected)}
    assert {event_id: (line["position"], line["outcome"], line["reason"]) for event_id, line in refused.items()} == {
        "o-4": (1, "invalid", "invalid_revenue"),
        "o-3": (2, "invalid", "missing_device_id"),
        "o-2": (3, "rejected", "device_not_found"),
        "o-5": (5, "invalid", "invalid_callback_params"),
    }
    assert all(line["detail"] for line in refused.values())
    assert (refused["o-2"]["http_status"], refused["o-2"]["attempts"]) == (404, 1)
    assert (refused["o-4"]["http_status"], refused["o-4"]["attempts"]) == (None, 0)

    adjust.configure(unknown_devices=[])
    refused["o-4"]["row"]["revenue"] = "1.25"
    refused["o-3"]["row"]["gps_adid"] = device(3)
    refused["o-5"]["row"]["callback_params"] = {"shop": "7"}
    rejected.write_text(jsonl(list(refused.values())))
    # Without column_map and without id_field: the file has Adjust's names, and ids of its own.
    result = send(str(rejected), event_id_param="event_id", id_field="order_id", rejected_path=str(again))
    assert (result["read"], result["delivered"], result["rejected_path"]) == (4, 4, None)
    assert not again.exists()
    assert sorted(filter(None, recorded(adjust))) == [device(number) for number in (1, 2, 3, 4, 5)]
    ids = [json.loads(text or "{}")["event_id"] for text in recorded(adjust, "callback_params")]
    assert sorted(ids) == ["o-1", "o-2", "o-3", "o-4", "o-5"]
    assert adjust.stats()["repeated_event_ids"] == 0


def test_an_event_without_an_id_of_its_own_keeps_the_one_it_was_given(adjust: SandboxServer, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    row = purchase(1, order_id=...)
    adjust.configure(unknown_devices=[device(1)])
    send([row], id_field=None, rejected_path=str(rejected), max_rejected=1)
    [line] = lines(rejected)
    adjust.configure(unknown_devices=[])
    line["row"]["revenue"] = "7"
    rejected.write_text(jsonl([line]))
    responses = tmp_path / "responses.jsonl"
    send(str(rejected), id_field=None, responses_path=str(responses))
    assert [answer["event_id"] for answer in lines(responses)] == [line["event_id"]]
    assert adjust.stats()["revenue"] == {"EUR": "7"}


def test_a_line_of_another_endpoint_is_refused(adjust: SandboxServer, tmp_path: Path) -> None:
    """With event_token and ignore_columns="*" it would be one without its money."""
    rejected = tmp_path / "rejected.jsonl"
    row = purchase(1, order_id="i-1") | {"amount": "0.0001", "ad_impressions_count": 1}
    del row["revenue"]
    adjust.configure(unknown_devices=[device(1)])
    impressions: dict[str, Any] = {"endpoint": "ad_revenue", "event_token": None, "id_field": "order_id"}
    send([row], **impressions, rejected_path=str(rejected), max_rejected=1)
    assert [line["endpoint"] for line in lines(rejected)] == ["ad_revenue"]
    adjust.configure(unknown_devices=[])
    with pytest.raises(AirflowFailException, match="of 'i-1' is of endpoint='ad_revenue', and endpoint is 'event'"):
        send(str(rejected), ignore_columns="*")
    assert adjust.stats()["by_endpoint"] == {}
    assert send(str(rejected), **impressions)["revenue"] == {"EUR": "0.0001"}


@pytest.mark.parametrize(
    ("ti", "name"),
    [
        (None, "night.jsonl"),
        (SimpleNamespace(map_index=-1, try_number=1), "night.jsonl"),
        (SimpleNamespace(map_index=-1, try_number=3), "night.try3.jsonl"),
        (SimpleNamespace(map_index=0, try_number=1), "night.map0.jsonl"),
        (SimpleNamespace(map_index=12, try_number=2), "night.map12.try2.jsonl"),
    ],
)
@pytest.mark.parametrize("argument", ["rejected_path", "responses_path"])
def test_each_try_and_each_mapped_task_writes_files_of_its_own(
    adjust: SandboxServer, tmp_path: Path, ti: Any, name: str, argument: str
) -> None:
    folder = tmp_path / "made" / "on demand"
    context = {} if ti is None else {"ti": ti}
    send(unknown(adjust, 1), context, max_rejected=1, **{argument: f"file://{folder}/night.jsonl"})
    assert [path.name for path in folder.iterdir()] == [name]


def test_adjusts_answers_are_written_by_event_id(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    send(unknown(adjust, 2), max_rejected=2, responses_path=str(path))
    answers = {line["event_id"]: line["response"] for line in lines(path)}
    assert answers == {f"o-{number}": {"status": "OK"} for number in range(2, 10)}
    assert not reveals(path.read_text())


def old(path: Path, days: int) -> Path:
    """A responses file, as this project writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"event_id": "o-1", "response": {"status": "OK"}}\n')
    moment = time.time() - days * 86_400
    os.utime(path, (moment, moment))
    return path


def test_old_files_are_deleted_where_the_task_writes_and_nowhere_else(
    adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path))
    paths = {"rejected_path": "rejected/a/night.jsonl", "responses_path": "responses/night.jsonl"}
    month = timedelta(days=30)
    for option, given, wanted in (
        ("", {}, [True, True, True]),
        ("10", {"dry_run": True}, [True, True, True]),
        ("", {"retain_for": month}, [True, False, True]),
        ("10", {}, [False, False, True]),
        ("10", {"retain_for": month}, [True, False, True]),
        ("a month", {}, [True, True, True]),
    ):
        monkeypatch.setenv("AIRFLOW__ADJUST__RETAIN_FILES_FOR", option)
        files = [
            old(tmp_path / name, days)
            for name, days in (("rejected/a/20.jsonl", 20), ("responses/40.jsonl", 40), ("rejected/b/40.jsonl", 40))
        ]
        send([purchase(1)], **paths, **given)
        assert [path.exists() for path in files] == wanted, (option, given)
    assert (tmp_path / "responses" / "night.jsonl").exists()


def test_a_task_does_not_fail_for_files_that_cannot_be_deleted(
    adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    old(tmp_path / "40.jsonl", 40)

    def unlink(path: ObjectStoragePath) -> None:
        raise PermissionError

    monkeypatch.setattr(ObjectStoragePath, "unlink", unlink)
    send([purchase(1)], responses_path=str(tmp_path / "night.jsonl"), retain_for=timedelta(days=30))
    assert "40.jsonl could not be deleted (PermissionError)" in str(said)


def test_a_retention_that_a_retry_would_miss_fails_the_import_of_the_dag() -> None:
    with pytest.raises(AdjustConfigurationError, match="at least one day"):
        operator([], retain_for=timedelta(hours=1))


def test_names_without_a_root_are_below_the_configured_folder(
    adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", str(tmp_path / "files"))
    monkeypatch.chdir(tmp_path)
    result = send(unknown(adjust, 1), max_rejected=1, rejected_path="rejected/night.jsonl")
    assert result["rejected_path"] == str(tmp_path / "files" / "rejected" / "night.jsonl")
    adjust.configure(unknown_devices=[])
    assert send("rejected/night.jsonl")["delivered"] == 1
    for name in ("../night.jsonl", "~/night.jsonl", "./night.jsonl"):
        for given in ({"rejected_path": name}, {"responses_path": name}, {"events": name}):
            with pytest.raises(AirflowFailException, match="give a name below"):
                operator(**({"events": [purchase(1)]} | given)).execute({})
