"""The rejected file and the file of answers: what is in them, whose they are, and how a reject is sent again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from operators.adjust_account import device, purchase, recorded, reveals
from operators.sending import jsonl, lines, send, unknown

from airflow_provider_adjust.sandbox import SandboxServer


def test_what_was_rejected_can_be_mended_and_sent_again_and_nothing_else_is(
    adjust: SandboxServer, tmp_path: Path
) -> None:
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
