"""@task.adjust_events: what a function may give, how it is sent, and that it goes nowhere but to Adjust."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, Said, device, purchase, recorded, reveals
from operators.dag_run import DagRun, run_dag

try:
    from airflow.sdk.exceptions import AirflowException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowException, AirflowSkipException  # type: ignore[no-redef]

from airflow_provider_adjust.decorators.adjust_events import AdjustEventsDecoratedOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer


def decorated(function: Callable[..., Any], *op_args: Any, **arguments: Any) -> AdjustEventsDecoratedOperator:
    given = {"task_id": "send", "event_token": EVENT_TOKEN, "id_field": "order_id"} | arguments
    return AdjustEventsDecoratedOperator(python_callable=function, op_args=list(op_args), **given)


# --- What a function may give -----------------------------------------------------------------------------------------


def of_one_device(number: int) -> dict[str, Any]:
    return purchase(number, gps_adid=device(0))


def returns_a_list() -> list[dict[str, Any]]:
    return [of_one_device(2), of_one_device(1)]


def returns_a_tuple() -> tuple[dict[str, Any], ...]:
    return of_one_device(2), of_one_device(1)


def yields() -> Iterator[dict[str, Any]]:
    yield of_one_device(1)
    yield of_one_device(2)


def returns_a_generator() -> Iterator[dict[str, Any]]:
    return (of_one_device(number) for number in (1, 2))


@pytest.mark.parametrize("function", [returns_a_list, returns_a_tuple, yields, returns_a_generator])
def test_rows_are_returned_in_any_order_or_yielded_in_time_order(
    adjust: SandboxServer, function: Callable[[], Any]
) -> None:
    result = decorated(function).execute({})
    assert (result["read"], result["delivered"], result["revenue"]) == (2, 2, {"EUR": "2.50"})
    times = [int(time or 0) for time in recorded(adjust, "created_at_unix")]
    assert times == sorted(times)
    assert adjust.stats()["order_violations"] == 0


async def is_async() -> list[dict[str, Any]]:
    return [purchase(1)]


class Frame:
    """Iterates over its columns' names, as a data frame does."""

    def __iter__(self) -> Iterator[str]:
        return iter(purchase(1))


NO_ROWS: list[tuple[Callable[[], Any], str]] = [
    (lambda: None, "NoneType"),
    (lambda: purchase(1), "dict"),
    (lambda: json.dumps([purchase(1)]), "str"),
    (lambda: b"[]", "bytes"),
    (Frame, "Frame"),
    (lambda: {1, 2}, "set"),
]


@pytest.mark.parametrize(("function", "kind"), NO_ROWS)
def test_a_result_that_is_not_rows_is_refused_by_its_type(
    adjust: SandboxServer, function: Callable[[], Any], kind: str
) -> None:
    with pytest.raises(
        AirflowException, match=rf"must return a list of rows or yield rows, not return a {kind};"
    ) as caught:
        decorated(function if isinstance(function, type(lambda: 0)) else lambda: function()).execute({})
    assert not reveals(caught.value)
    assert adjust.stats()["requests"] == 0


@pytest.mark.filterwarnings("ignore:coroutine 'is_async' was never awaited")
def test_an_async_function_is_refused(adjust: SandboxServer) -> None:
    with pytest.raises(AirflowException, match="not return a coroutine"):
        decorated(is_async).execute({})


def test_returned_rejected_lines_are_corrected_rows(adjust: SandboxServer, tmp_path: Path) -> None:
    """A function may correct the rejected lines of an earlier run; the events keep their ids."""
    path = tmp_path / "rejected.jsonl"
    decorated(lambda: [purchase(1, revenue="1,25")], max_rejected=1, rejected_path=path.as_uri()).execute({})

    def corrected() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line["row"]["revenue"] = "1.25"
        return lines

    assert decorated(corrected, event_id_param="event_id").execute({})["delivered"] == 1
    [sent] = recorded(adjust, "callback_params")
    assert json.loads(sent or "{}") == {"event_id": "o-1"}


# --- How it is sent ---------------------------------------------------------------------------------------------------


def test_a_generator_is_sent_while_it_runs(adjust: SandboxServer) -> None:
    """It is never read ahead as a whole: a queue's worth at most is made before the first is at Adjust."""
    lead = 0

    def many() -> Iterator[dict[str, Any]]:
        nonlocal lead
        for number in range(2000):
            lead = max(lead, number - adjust.stats()["recorded"])
            yield purchase(number)

    assert decorated(many, max_in_flight=4).execute({})["delivered"] == 2000
    assert lead < 500


def test_a_generator_out_of_time_order_is_an_error_that_names_the_fix(adjust: SandboxServer) -> None:
    def backwards() -> Iterator[dict[str, Any]]:
        yield purchase(1, created_at=purchase(9)["created_at"])
        yield purchase(1)

    with pytest.raises(AirflowException, match=r"StreamOutOfOrder.*ORDER BY"):
        decorated(backwards).execute({})


def test_a_generator_that_is_not_read_to_its_end_is_closed(adjust: SandboxServer) -> None:
    adjust.configure(tokens=["another"])
    closed = []

    def opens_something() -> Iterator[dict[str, Any]]:
        try:
            for number in range(100_000):
                yield purchase(number)
        finally:
            closed.append(True)

    with pytest.raises(AirflowException, match="DeliveryHalted"):
        decorated(opens_something).execute({})
    assert closed == [True]


def test_an_error_of_the_function_is_the_tasks_own(adjust: SandboxServer) -> None:
    def fails() -> list[dict[str, Any]]:
        raise ZeroDivisionError("the function's own")

    with pytest.raises(ZeroDivisionError, match="the function's own"):
        decorated(fails).execute({})


def test_the_function_may_skip_its_task(adjust: SandboxServer) -> None:
    def skips() -> list[dict[str, Any]]:
        raise AirflowSkipException

    with pytest.raises(AirflowSkipException):
        decorated(skips).execute({})


def test_a_generator_that_fails_after_some_were_sent_is_not_retried_without_a_memory(adjust: SandboxServer) -> None:
    def breaks_off() -> Iterator[dict[str, Any]]:
        for number in range(500):
            yield purchase(number)
        raise ZeroDivisionError

    with pytest.raises(AirflowException, match=r"ZeroDivisionError: Some events were sent"):
        decorated(breaks_off, durable=False, max_in_flight=2).execute({})
    assert adjust.stats()["recorded"] > 0


def test_the_function_gets_its_arguments_and_what_it_asks_of_the_context(adjust: SandboxServer) -> None:
    def asks(first: int, last: int, *, run_id: str | None = None) -> Iterator[dict[str, Any]]:
        assert run_id == "the run"
        yield from (purchase(number) for number in range(first, last))

    assert decorated(asks, 0, op_kwargs={"last": 3}).execute({"run_id": "the run"})["delivered"] == 3


def test_a_dry_run_calls_the_function_and_sends_nothing(adjust: SandboxServer, said: Said) -> None:
    assert decorated(yields, dry_run=True).execute({})["skipped"] == 2
    assert adjust.stats()["requests"] == 0
    assert not reveals(said)


def test_it_takes_every_argument_of_the_operator_but_events() -> None:
    fields = {*AdjustSendEventsOperator.template_fields} - {"events"}
    assert {*AdjustEventsDecoratedOperator.template_fields} == fields | {"op_args", "op_kwargs"}
    with pytest.raises(TypeError, match="unexpected_one"):
        decorated(yields, unexpected_one=1)


# --- In a real DAG run ------------------------------------------------------------------------------------------------

DAG = """
from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.sdk import dag, task

FOLDER = Path(os.environ["TEST_FOLDER"])
EVENT = {"event_token": "f0ob4r", "id_field": "order_id"}


def purchases(first, last):
    return json.loads((FOLDER / "purchases.json").read_text())[first:last]


@dag(schedule=None, default_args={"retries": 0})
def send_from_python():
    @task(show_return_value_in_logs=False)
    def load(first, last):
        return purchases(first, last)

    @task.adjust_events(**EVENT)
    def returned(first, last):
        return purchases(first, last)

    @task.adjust_events(**EVENT)
    def yielded(rows, note="", **context):
        assert context["run_id"]
        yield from rows

    @task.adjust_events(**EVENT, max_rejected=0)
    def mapped(first):
        yield from purchases(first, first + 2)

    output = returned(0, 2)
    upstream = yielded(load(2, 4), note="{{ dag.dag_id }}")
    every = mapped.override(
        task_id="every", max_rejected=1, rejected_path=FOLDER.as_uri() + "/{{ dag.dag_id }}.jsonl"
    ).expand(first=[4, 6])
    apart = task.adjust_events(purchases, multiple_outputs=True, task_id="apart", **EVENT)(8, 10)

    @task
    def keep(results):
        (FOLDER / "results.json").write_text(json.dumps(results, default=list))

    keep({"returned": output, "yielded": upstream, "every": every, "apart": apart["delivered"]})


send_from_python()
"""


@pytest.fixture(scope="module")
def run(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> DagRun:
    """One run of the DAG above; the tests look at what it left behind."""
    folder = tmp_path_factory.mktemp("run")
    rows = [purchase(number) for number in range(10)]
    rows[7]["revenue"] = "-1"
    (folder / "purchases.json").write_text(json.dumps(rows))
    run = run_dag(DAG, "send_from_python", folder, airflow_db)
    assert run.code == 0, run.log[-5000:]
    return run


def rendered(run: DagRun, task_id: str = "%") -> str:
    """What Airflow shows of the rendered fields of a task, or of all."""
    where = f"WHERE dag_id = 'send_from_python' AND task_id LIKE '{task_id}'"
    return str(run.kept(f"SELECT rendered_fields FROM rendered_task_instance_fields {where}"))


airflow_run = pytest.mark.airflow


@airflow_run
def test_the_decorator_is_found_expanded_and_overridden(run: DagRun) -> None:
    assert sorted(filter(None, run.recorded)) == [device(number) for number in range(10) if number != 7]
    assert [run.results[name]["delivered"] for name in ("returned", "yielded")] == [2, 2]
    assert [result["delivered"] for result in run.results["every"]] == [2, 1]
    assert run.results["apart"] == 2


@airflow_run
def test_a_mapped_task_writes_a_rejected_file_of_its_own(run: DagRun) -> None:
    [line] = (run.folder / "send_from_python.map1.jsonl").read_text().splitlines()
    assert json.loads(line)["event_id"] == "o-7"


@airflow_run
def test_rows_are_in_no_log_no_xcom_and_no_rendered_field(run: DagRun) -> None:
    assert "Delivery ended" in run.log
    assert not reveals(run.log)
    xcoms = str(run.kept("SELECT key, value FROM xcom WHERE dag_id = 'send_from_python' AND task_id != 'load'"))
    assert '"delivered": 2' in xcoms
    assert not reveals(xcoms)
    assert "list (not shown: it may hold device ids)" in rendered(run)
    assert not reveals(rendered(run))


@airflow_run
def test_arguments_that_cannot_be_rows_are_shown(run: DagRun) -> None:
    assert '"note": "send_from_python"' in rendered(run, "yielded")
    assert "0, 2" in rendered(run, "returned")
