"""Where events may come from: rows, their JSON, a template; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
    ('[{"revenue": 1}', r"events is not a JSON list \(line 1, column 16\)"),
    ("[" * 100_000, "events is not a JSON list"),
]


@pytest.mark.parametrize(("events", "words"), NO_EVENTS)
def test_a_value_that_is_not_events_fails_the_task_for_good_with_the_reason(
    adjust: SandboxServer, events: Any, words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator(events).execute({})
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "template",
    ["{{ nothing }}", " {{ none }}\n", "{% if false %}[]{% endif %}", "{{ none | tojson }}"],
)
def test_a_template_that_renders_to_nothing_is_an_error_that_names_it(
    adjust: SandboxServer, native: bool, template: str
) -> None:
    with DAG("templates", schedule=None, render_template_as_native_obj=native):
        task = operator(template)
    task.render_template_fields({"nothing": "", "none": None})
    with pytest.raises(AirflowFailException, match="events rendered to nothing from the template") as failure:
        task.execute({})
    assert template.strip() in str(failure.value)
    assert adjust.stats()["requests"] == 0


def test_a_template_that_renders_to_an_empty_list_sends_nothing(adjust: SandboxServer) -> None:
    task = operator("{{ rows | tojson }}")
    task.render_template_fields({"rows": []})
    assert task.execute({})["read"] == 0


class Pandas:
    """A data frame with the methods that pandas gives it."""

    def __init__(self, rows: list[dict[str, Any]], columns: list[str] | None = None) -> None:
        self._rows = rows
        self.columns = columns or list(rows[0])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return self._rows


class Polars(Pandas):
    """A data frame with the methods that polars gives it."""

    def to_dict(self, orient: str = "") -> Any:
        raise AssertionError("it means another thing here")

    def to_dicts(self) -> list[dict[str, Any]]:
        return self._rows


@pytest.mark.parametrize("frame", [Pandas, Polars])
def test_a_data_frame_is_its_rows_and_is_not_shown(adjust: SandboxServer, frame: type[Pandas]) -> None:
    task = operator(frame([purchase(2), purchase(1)]))
    task.render_template_fields({})
    assert str(task.events) == "2 events (not shown: they hold device ids)"
    assert task.execute({})["delivered"] == 2
    assert send([frame([purchase(3)]), frame([purchase(4), purchase(5)])])["delivered"] == 3
    with pytest.raises(
        AirflowFailException,
        match=r"the data frame cannot be sent[^~]*repeated_parameter: it gives 'revenue' in two columns",
    ):
        operator(frame([], ["revenue", "currency", "revenue"])).execute({})


def test_the_lists_of_a_mapped_task_are_one_list(adjust: SandboxServer) -> None:
    result = send([[purchase(3), purchase(1)], [], (purchase(2),), purchase(4)])
    assert result["delivered"] == 4
    assert send([[[purchase(5)]]], max_rejected=1)["by_reason"] == {"not_a_row": 1}


def test_a_name_that_occurs_twice_in_json_text_refuses_its_row(adjust: SandboxServer) -> None:
    row = json.dumps(purchase(1))[:-1] + ', "revenue": "100"}'
    result = send(f"[{row}, {json.dumps(purchase(2))}]", max_rejected=1)
    assert (result["delivered"], result["by_reason"]) == (1, {"repeated_parameter": 1})
