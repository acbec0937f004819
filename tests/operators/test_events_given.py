"""Where events may come from: rows, their JSON, a template; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from operators.adjust_account import device, purchase, recorded, reveals
from operators.sending import jsonl, operator, send

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sandbox import SandboxServer

GIVEN: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "a list": list,
    "a tuple": tuple,
    "a generator": iter,
    "JSON text": json.dumps,
    "JSON text with space around": lambda rows: f"\n  {json.dumps(rows, indent=2)}\n",
}


@pytest.mark.parametrize("name", GIVEN)
def test_events_may_be_given_as_rows_or_as_their_json(adjust: SandboxServer, name: str) -> None:
    result = send(GIVEN[name]([purchase(1), purchase(2)]))
    assert result["delivered"] == 2
    assert sorted(filter(None, recorded(adjust))) == [device(1), device(2)]


@pytest.mark.parametrize("events", [[], (), "[]", "", "  \n"])
def test_an_empty_input_does_not_fail_the_task(adjust: SandboxServer, events: Any) -> None:
    result = send(events)
    assert (result["read"], result["revenue"], result["first_event_at"]) == (0, {}, None)
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("native", "template"),
    [(False, "{{ rows | tojson }}"), (True, "{{ rows }}"), (False, "{{ text }}")],
)
def test_events_may_be_a_template(adjust: SandboxServer, native: bool, template: str) -> None:
    rows = [purchase(1), purchase(2)]
    with DAG("templates", schedule=None, render_template_as_native_obj=native):
        task = operator(template)
    task.render_template_fields({"rows": rows, "text": json.dumps(rows)})
    assert str(task.events).endswith("events (not shown: they hold device ids)")
    assert not reveals(repr(task.events))
    assert task.execute({})["delivered"] == 2


def test_a_template_that_is_a_path_stays_visible(adjust: SandboxServer, tmp_path: Path) -> None:
    (tmp_path / "night.jsonl").write_text(jsonl([purchase(1)]))
    task = operator("{{ folder }}/night.jsonl")
    task.render_template_fields({"folder": tmp_path})
    assert task.events == f"{tmp_path}/night.jsonl"
    assert task.execute({})["delivered"] == 1


NO_EVENTS: list[tuple[Any, str]] = [
    ("[{'order_id': 'o-1'}]", r"events is not a JSON list \(line 1, column 3\).* `\| tojson`"),
    ('{"order_id": "o-1"}', "put a single row into a list"),
    ({"order_id": "o-1"}, "put a single row into a list"),
    (None, "events must be a list of rows, not a NoneType"),
    (7, "events must be a list of rows, not a int"),
    ("None", "its name must end in .jsonl, .json, .csv or .parquet"),
]


@pytest.mark.parametrize(("events", "words"), NO_EVENTS)
def test_what_are_no_events_fails_the_task_for_good_and_says_why(
    adjust: SandboxServer, events: Any, words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator(events).execute({})
    assert adjust.stats()["requests"] == 0
