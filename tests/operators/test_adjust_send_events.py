"""AdjustSendEventsOperator: where events may come from, what becomes of them, and how the task ends."""

from __future__ import annotations

import csv
import gzip
import io
import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.sdk
import pyarrow as pa
import pytest
from airflow.sdk import DAG, ObjectStoragePath
from operators.adjust_account import (
    APP_TOKEN,
    EVENT_TOKEN,
    IP_ADDRESS,
    S2S_TOKEN,
    START,
    Connect,
    Said,
    TaskStateStore,
    device,
    purchase,
    recorded,
    reveals,
)
from pyarrow import parquet

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryStopped, EventsUnresolved
from airflow_provider_adjust.sandbox import SandboxServer

RESULT = [
    "read", "delivered", "duplicate", "skipped", "rejected", "invalid", "expired", "in_doubt", "held", "adjusted",
    "by_reason", "revenue", "first_event_at", "last_event_at", "seconds", "rejected_path",
]  # fmt: skip
OUTCOMES = RESULT[1:9]

has_task_state_store = pytest.mark.skipif(
    not hasattr(airflow.sdk, "NEVER_EXPIRE"), reason="Airflow has a task state store from 3.3 on"
)


def operator(events: Any, **arguments: Any) -> AdjustSendEventsOperator:
    given = {"task_id": "send", "event_token": EVENT_TOKEN, "id_field": "order_id"} | arguments
    return AdjustSendEventsOperator(events=events, **given)


def send(events: Any, context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """The result of a task that succeeds."""
    result = operator(events, **arguments).execute(context or {})
    assert list(result) == RESULT
    assert sum(result[outcome] for outcome in OUTCOMES) == result["read"]
    json.dumps(result)
    return result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- Where events come from -------------------------------------------------------------------------------------------

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
def test_no_events_are_no_failure(adjust: SandboxServer, events: Any) -> None:
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
    ("[{'order_id': 'o-1'}]", r"events is no JSON list \(line 1, column 3\).* `\| tojson`"),
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


# --- Files ------------------------------------------------------------------------------------------------------------


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    # A row group each: what is read at a time must not depend on how the file was written.
    parquet.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=1)
    return buffer.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return jsonl(rows).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows).encode()


BOM = b"\xef\xbb\xbf"
FILES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "JSON Lines": ("night.jsonl", as_jsonl),
    "JSON Lines by another name": ("night.ndjson", as_jsonl),
    "JSON Lines, capitals": ("NIGHT.JSONL", as_jsonl),
    "JSON Lines, dots in the name": ("night.2026-05-01.v2.jsonl", as_jsonl),
    "JSON Lines, no end of line at the end": ("night.jsonl", lambda rows: as_jsonl(rows).rstrip()),
    "JSON Lines, empty lines between": ("night.jsonl", lambda rows: as_jsonl(rows).replace(b"\n", b"\n \n\n")),
    "JSON Lines, Windows": ("night.jsonl", lambda rows: BOM + as_jsonl(rows).replace(b"\n", b"\r\n")),
    "JSON Lines, compressed": ("night.jsonl.gz", lambda rows: gzip.compress(as_jsonl(rows))),
    "JSON": ("night.json", as_json),
    "JSON, unsorted": ("night.json", lambda rows: as_json(rows[::-1])),
    "JSON, BOM": ("night.json", lambda rows: BOM + as_json(rows)),
    "JSON, compressed": ("night.json.gz", lambda rows: gzip.compress(as_json(rows))),
    "CSV": ("night.csv", as_csv),
    "CSV, BOM": ("night.csv", lambda rows: BOM + as_csv(rows)),
    "CSV, compressed": ("night.csv.GZ", lambda rows: gzip.compress(as_csv(rows))),
    "Parquet": ("night.parquet", as_parquet),
}


@pytest.mark.parametrize("name", FILES)
def test_events_may_be_a_file(adjust: SandboxServer, tmp_path: Path, name: str) -> None:
    file_name, write = FILES[name]
    path = tmp_path / file_name
    path.write_bytes(write([purchase(number, gps_adid=device(7), os_name=None) for number in range(5)]))
    result = send(str(path))
    assert (result["read"], result["delivered"], result["revenue"]) == (5, 5, {"EUR": "6.25"})
    times = [int(text or 0) - int(START.timestamp()) for text in recorded(adjust, "created_at_unix")]
    assert times == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("give", [str, Path.as_uri, ObjectStoragePath])
def test_a_file_may_be_named_as_a_path_or_as_a_url(
    adjust: SandboxServer, tmp_path: Path, give: Callable[[Path], Any]
) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(as_jsonl([purchase(1)]))
    assert send(give(path))["delivered"] == 1


@pytest.mark.parametrize("name", ["night.jsonl", "night.json", "night.csv"])
def test_an_empty_file_holds_no_events(adjust: SandboxServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("[]" if name == "night.json" else "")
    assert send(str(path))["read"] == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("night.txt", b"", "its name must end in .jsonl, .json, .csv or .parquet"),
        ("night", b"", "its name must end in .jsonl, .json, .csv or .parquet"),
        ("night.gz", b"", "its name must end in .jsonl, .json, .csv or .parquet"),
        ("night.jsonl.zip", b"", "its name must end in .jsonl, .json, .csv or .parquet"),
        ("night.jsonl", None, "night.jsonl, which does not exist"),
        ("night.parquet", None, "night.parquet, which does not exist"),
        ("night.json", b'[{"gps_adid": "de71ce00-0000-4000-8000-000000000001"', "which is not JSON"),
        ("night.json", b"", r"which is not JSON \(line 1, column 1\)"),
        ("night.json", as_jsonl([purchase(1), purchase(2)]), "be named .jsonl if it has one a line"),
        ("night.json", as_json([purchase(1)])[1:-1], "put a single row into a list"),
    ],
    ids=[
        "text",
        "no suffix",
        "compressed what",
        "zip",
        "missing JSON Lines",
        "missing Parquet",
        "broken JSON",
        "empty JSON",
        "JSON Lines named JSON",
        "a single row",
    ],
)
def test_a_file_that_cannot_be_read_fails_the_task_for_good(
    adjust: SandboxServer, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AirflowFailException, match=words) as failure:
        operator(str(path)).execute({})
    assert not reveals(failure.value)
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"gps_adid": "de71ce00', "unreadable_row"),
        (b"order_id,gps_adid", "unreadable_row"),
        (b"\x00\xff\xfe", "unreadable_row"),
        (b"[" * 100_000, "unreadable_row"),
        (b'["a", "row"]', "not_a_row"),
        (b"null", "not_a_row"),
        (b'"text"', "not_a_row"),
        (jsonl([purchase(3)]).strip().encode().replace(b'"EUR"', b'"E\xdcR"'), "invalid_currency"),
        (jsonl([purchase(3)]).strip().encode().replace(b"AgentOfOnePerson", b"Agent\xff"), "invalid_user_agent"),
    ],
    ids=[
        "cut off", "CSV", "bytes", "deep", "a list", "null", "text", "Latin-1 in a name", "Latin-1 in a text",
    ],
)  # fmt: skip
def test_a_broken_line_is_one_invalid_row_and_the_others_are_sent(
    adjust: SandboxServer, tmp_path: Path, line: bytes, reason: str
) -> None:
    path, rejected = tmp_path / "night.jsonl", tmp_path / "rejected.jsonl"
    path.write_bytes(as_jsonl([purchase(1)]) + line + b"\n" + as_jsonl([purchase(2)]))
    result = send(str(path), max_rejected=1, rejected_path=str(rejected))
    assert (result["delivered"], result["invalid"], result["by_reason"]) == (2, 1, {reason: 1})
    [refused] = lines(rejected)
    assert (refused["position"], refused["reason"]) == (2, reason)
    # Not mended, it is refused again in words.
    assert send(str(rejected), max_rejected=1)["invalid"] == 1


def test_a_line_of_csv_with_too_many_columns_is_one_invalid_row(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    head, first, second = as_csv([purchase(1), purchase(2)]).splitlines()
    path.write_bytes(b"\n".join([head, first + b",more,and more", second]))
    result = send(str(path), max_rejected=1)
    assert (result["delivered"], result["by_reason"]) == (1, {"unknown_parameter": 1})


def test_a_value_of_csv_may_hold_lines(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_bytes(as_csv([purchase(1, device_name="My\r\nphone, 'the' \"best\"")]))
    send(str(path))
    assert recorded(adjust, "device_name") == ["My\r\nphone, 'the' \"best\""]


@pytest.mark.parametrize("name", ["JSON Lines", "CSV", "Parquet"])
def test_a_streamed_file_must_be_in_time_order_and_what_came_before_is_delivered(
    adjust: SandboxServer, tmp_path: Path, name: str
) -> None:
    file_name, write = FILES[name]
    path = tmp_path / file_name
    path.write_bytes(write([purchase(1), purchase(2), purchase(0), purchase(3)]))
    with pytest.raises(AirflowFailException, match=r"row 3 \(event o-0\).*add ORDER BY"):
        operator(str(path)).execute({})
    assert sorted(filter(None, recorded(adjust))) == [device(1), device(2)]


# --- What a run says --------------------------------------------------------------------------------------------------


def test_the_result_counts_every_row_once(adjust: SandboxServer, said: Said) -> None:
    """One row of every outcome that can stand beside the others."""
    adjust.configure(unique_event_tokens=["install"], event_tokens=[EVENT_TOKEN, "install"])
    adjust.configure(unknown_devices=[device(3)], opted_out_devices=[device(4)])
    rows = [
        purchase(1),
        purchase(2, revenue=10, currency="usd", ip_address="2001:db8::1"),
        purchase(3),
        purchase(4, revenue="2.50"),
        purchase(5, revenue=0),
        purchase(6, created_at="2020-01-01T00:00:00Z"),
        purchase(7, event_token="install", revenue=None),
        purchase(8, event_token="install", revenue=None, gps_adid=device(7)),
    ]
    result = send(rows, max_rejected=4)
    del result["seconds"]
    assert result == {
        "read": 8,
        "delivered": 3,
        "duplicate": 1,
        "skipped": 0,
        "rejected": 2,
        "invalid": 1,
        "expired": 1,
        "in_doubt": 0,
        "held": 0,
        "adjusted": 1,
        "by_reason": {
            "device_not_found": 1,
            "device_opted_out": 1,
            "invalid_revenue": 1,
            "expired": 1,
            "earlier_unique_event": 1,
        },
        "revenue": {"EUR": "1.25", "USD": "10"},
        "first_event_at": purchase(1)["created_at"],
        "last_event_at": purchase(8)["created_at"],
        "rejected_path": None,
    }
    assert adjust.stats()["revenue"] == result["revenue"]
    table = {tuple(line.split()) for line in str(said).splitlines()}
    assert table >= {
        ("read", "8"),
        ("delivered", "3", "1.25", "EUR,", "10", "USD"),
        ("duplicate", "1"),
        ("adjusted", "1", "left", "out:", "ip_address", "1"),
        ("rejected:", "device_opted_out", "1", "2.50", "EUR"),
        ("expired:", "expired", "1"),
    }


def unknown(adjust: SandboxServer, count: int) -> list[dict[str, Any]]:
    """Ten purchases, of which Adjust does not know the devices of `count`."""
    adjust.configure(unknown_devices=[device(number) for number in range(count)])
    return [purchase(number) for number in range(10)]


@pytest.mark.parametrize(
    ("refused", "arguments", "passes"),
    [
        (0, {}, True),
        (1, {}, False),
        (2, {"max_rejected": 2}, True),
        (3, {"max_rejected": 2}, False),
        (3, {"max_rejected": 0.3}, True),
        (4, {"max_rejected": 0.3}, False),
        (9, {"max_rejected": 0.999}, True),
        (2, {"max_rejected": 1.0}, False),  # a count
        (1, {"max_rejected": 1.0}, True),
        (9, {"tolerate": ["rejected"]}, True),
        (9, {"tolerate": ["device_not_found"]}, True),
        (9, {"tolerate": ["device_opted_out", "invalid", "duplicate"]}, False),
        (1, {"tolerate": []}, False),
    ],
)
def test_the_task_fails_past_the_budget_after_it_sent_all_it_could(
    adjust: SandboxServer, tmp_path: Path, refused: int, arguments: dict[str, Any], passes: bool
) -> None:
    rows = unknown(adjust, refused)
    path = tmp_path / "rejected.jsonl"
    if passes:
        assert send(rows, rejected_path=str(path), **arguments)["rejected"] == refused
    else:
        with pytest.raises(AirflowFailException) as failure:
            operator(rows, rejected_path=str(path), **arguments).execute({})
        message = str(failure.value)
        assert f"RejectedBudgetExceeded: {refused} of 10 events were refused" in message
        assert f"rejected: device_not_found  {refused:>6}" in message
        assert "mend the rows by their reasons" in message
        assert str(path) in message
    assert adjust.stats()["recorded"] == 10 - refused
    assert path.exists() == (refused > 0)


@pytest.mark.parametrize("max_rejected", [-1, 1.5, True, "5%", float("nan"), None])
def test_a_budget_that_is_none_fails_before_anything_is_sent(adjust: SandboxServer, max_rejected: Any) -> None:
    with pytest.raises(AirflowFailException, match="max_rejected is a count"):
        operator([purchase(1)], max_rejected=max_rejected).execute({})
    assert adjust.stats()["requests"] == 0


def test_without_a_rejected_path_the_failure_says_that_there_could_be_one(adjust: SandboxServer) -> None:
    with pytest.raises(AirflowFailException, match="set rejected_path to have them listed"):
        operator(unknown(adjust, 1)).execute({})


# --- The rejected file ------------------------------------------------------------------------------------------------


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


# --- Answers that end or hold a delivery ------------------------------------------------------------------------------

HALTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # settings of the stand-in, changes to the connection, cause and remedy
    "wrong S2S token": ({}, {"token": "wrong"}, "not_authorized.*put the app's S2S security token into the connection"),
    "wrong S2S token, 202": ({"enforce": False}, {"token": "wrong"}, "wrong_s2s_token; status 202.*S2S Security"),
    "no S2S token": ({}, {"token": None}, "not_authorized.*put the app's S2S security token into the connection"),
    "unknown app token": ({"app_tokens": ["other"]}, {}, "app_token_not_found.*check app_token in the connection"),
    "unknown event token": ({"event_tokens": ["other"]}, {}, "invalid_event_token.*check event_token"),
    "inactive app": ({"inactive_app_tokens": [APP_TOKEN]}, {}, "app_inactive.*activate the app"),
    "a redirect": ({"fault_plan": ["redirect"]}, {}, "redirected.*check the connection's endpoint"),
}


@pytest.mark.parametrize("name", HALTS)
def test_a_batch_that_adjust_condemns_costs_one_request_and_fails_for_good(
    adjust: SandboxServer, connect: Connect, tmp_path: Path, said: Said, name: str
) -> None:
    settings, changes, words = HALTS[name]
    adjust.configure(**settings)
    connect(adjust.url, **changes)
    rejected = tmp_path / "rejected.jsonl"
    with pytest.raises(AirflowFailException, match=words) as failure:
        operator([purchase(number) for number in range(20)], rejected_path=str(rejected)).execute({})
    assert adjust.stats()["requests"] == 1
    assert adjust.stats()["recorded"] == 0
    # Every event that was read is listed, to be sent once the cause is mended.
    assert sorted(line["position"] for line in lines(rejected)) == list(range(1, 21))
    assert {line["outcome"] for line in lines(rejected)} <= {"held", "in_doubt"}
    assert "Delivery stopped early" in str(said)
    assert not reveals(said)
    assert not reveals("".join(traceback.format_exception(failure.value)))


def test_an_event_in_doubt_is_sent_again_before_what_follows_it(adjust: SandboxServer) -> None:
    adjust.configure(fault_plan=[None, "reset_after"])
    result = send([purchase(number, gps_adid=device(1)) for number in range(3)])
    assert result["delivered"] == 3
    assert adjust.stats()["repeated"] == 1
    assert adjust.stats()["order_violations"] == 0


@pytest.mark.parametrize("durable", [False, pytest.param(True, marks=has_task_state_store)])
def test_an_event_in_doubt_can_be_held_with_all_that_follows_it(
    adjust: SandboxServer, tmp_path: Path, durable: bool
) -> None:
    adjust.configure(fault_plan=[None, "reset_after"])
    rejected = tmp_path / "rejected.jsonl"
    rows = [purchase(number, gps_adid=device(1)) for number in range(4)]
    task = operator(rows, on_in_doubt="hold", rejected_path=str(rejected), max_rejected=10)
    # With a checkpoint a retry may resolve them; without one it would send the first event again.
    context = {"task_state_store": TaskStateStore()} if durable else {}
    with pytest.raises(EventsUnresolved if durable else AirflowFailException) as failure:
        task.execute(context)
    assert "3 of 4 events are held or in doubt, 0 were refused" in str(failure.value)
    assert "what is in doubt may already be in Adjust" in str(failure.value)
    assert [(line["event_id"], line["outcome"]) for line in lines(rejected)] == [
        ("o-1", "in_doubt"),
        ("o-2", "held"),
        ("o-3", "held"),
    ]
    assert adjust.stats()["repeated"] == 0


def test_an_adjust_that_never_settles_anything_ends_the_delivery_and_a_retry_may_go_on(
    adjust: SandboxServer, said: Said
) -> None:
    adjust.configure(faults="503=1", retry_after=0)
    with pytest.raises(AdjustUnreachable, match="no event could be settled in 7 attempts") as failure:
        operator([purchase(number) for number in range(50)]).execute({})
    assert adjust.stats()["requests"] == 7
    assert not reveals(said)
    assert not reveals("".join(traceback.format_exception(failure.value)))


def test_a_killed_task_waits_for_what_is_in_flight_and_sends_nothing_more(adjust: SandboxServer) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from (purchase(number) for number in range(3))
        task.on_kill()
        yield from (purchase(number) for number in range(3, 1000))

    task = operator(rows())
    with pytest.raises(DeliveryStopped, match="the task was killed"):
        task.execute({})
    assert adjust.stats()["recorded"] <= 3
    assert adjust.stats()["abandoned"] == 0


def test_a_full_disk_is_what_the_task_fails_with(adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, line: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("airflow_provider_adjust.operators.receipt_files.ReceiptFile.write", full)
    with pytest.raises(AirflowFailException, match="OSError: Part of the events was sent"):
        operator([purchase(number) for number in range(50)], responses_path="/tmp/unused.jsonl").execute({})
    assert adjust.stats()["recorded"] > 0


def test_a_task_that_is_killed_before_it_sends_never_sends(adjust: SandboxServer) -> None:
    task = operator([purchase(1)])
    task.on_kill()
    with pytest.raises(DeliveryStopped, match="the task was killed"):
        task.execute({})
    assert adjust.stats()["requests"] == 0


# --- Dry run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing_and_shows_the_first_events_with_ids_masked(
    adjust: SandboxServer, said: Said, tmp_path: Path
) -> None:
    rows = [purchase(number, callback_params={"who": IP_ADDRESS}) for number in range(9, -1, -1)]
    rows[3]["revenue"] = "-1"
    rejected = tmp_path / "rejected.jsonl"
    result = send(rows, dry_run=True, rejected_path=str(rejected))
    assert (result["skipped"], result["invalid"], result["delivered"]) == (9, 1, 0)
    assert adjust.stats()["requests"] == 0
    assert not rejected.exists()
    shown = str(said)
    assert "Row 10 would be sent as event o-0\n" in shown  # the earliest is the first
    assert "  revenue=1.25\n" in shown
    assert "  gps_adid=de71…\n" in shown
    assert shown.count("would be sent as event") == 2 * 5  # the text, and the entry that it comes from
    assert "Dry run, nothing was sent" in shown
    assert not reveals(said)


# --- Several apps -----------------------------------------------------------------------------------------------------


def test_each_row_goes_through_the_connection_of_its_app(
    adjust: SandboxServer, connect: Connect, tmp_path: Path
) -> None:
    rows = [purchase(number, os_name="ios" if number % 2 else "android") for number in range(10)]
    rows.append(purchase(10, os_name="windows"))
    rows.append(purchase(11, os_name=None))
    rejected = tmp_path / "rejected.jsonl"
    with SandboxServer(tokens=["iosToken"], app_tokens=["iosApp"]) as other:
        connect(adjust.url, "adjust_android")
        connect(other.url, "adjust_ios", token="iosToken", app_token="iosApp", environment="sandbox")
        result = send(
            rows,
            adjust_conn_id={"ios": "adjust_ios", "android": "adjust_android"},
            route_by="os_name",
            rejected_path=str(rejected),
            max_rejected=2,
        )
        assert sorted(filter(None, recorded(other))) == [device(number) for number in (1, 3, 5, 7, 9)]
        assert set(recorded(other, "app_token")) == {"iosApp"}
        assert set(recorded(other, "environment")) == {"sandbox"}
    assert sorted(filter(None, recorded(adjust))) == [device(number) for number in (0, 2, 4, 6, 8)]
    assert set(recorded(adjust, "environment")) == {"production"}
    assert (result["delivered"], result["by_reason"]) == (10, {"unknown_route": 2})
    assert [line["position"] for line in lines(rejected)] == [11, 12]
    assert lines(rejected)[0]["detail"] == "os_name is 'windows'; adjust_conn_id has android, ios"


def test_a_route_column_that_adjust_does_not_know_is_not_sent(adjust: SandboxServer) -> None:
    rows = [purchase(1, brand="a")]
    assert send(rows, adjust_conn_id={"a": "adjust_default"}, route_by="brand")["delivered"] == 1
    assert recorded(adjust, "brand") == [None]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"adjust_conn_id": {"ios": "adjust_default"}}, "several connections need route_by"),
        ({"adjust_conn_id": {}, "route_by": "os_name"}, "several connections need route_by"),
        ({"route_by": "os_name"}, "route_by needs adjust_conn_id to be a mapping"),
        ({"id_field": "gps_adid"}, "id_field='gps_adid' holds a device's id"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not an IANA name"),
        ({"event_token": "f0-ob4r"}, "event_token must be letters and digits only"),
        ({"transport": "pigeon"}, "transport is one of auto, curl, requests, not 'pigeon'"),
        ({"environment": "Production"}, "environment is 'Production'"),
    ],
)
def test_arguments_that_cannot_be_fail_before_anything_is_sent(
    adjust: SandboxServer, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator([purchase(1)], **arguments).execute({})
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize("give", [list, iter, json.dumps])
def test_without_an_environment_nothing_is_sent(
    adjust: SandboxServer, connect: Connect, give: Callable[[Any], Any]
) -> None:
    connect(adjust.url, environment=None)
    with pytest.raises(AirflowFailException, match="the event has no environment; set it to production or sandbox"):
        operator(give([purchase(number) for number in range(3)])).execute({})
    assert adjust.stats()["requests"] == 0
    assert send([purchase(1)], environment="sandbox")["delivered"] == 1
    assert send([purchase(2, environment="production")])["delivered"] == 1
    assert recorded(adjust, "environment") == ["sandbox", "production"]


def test_the_arguments_reach_the_events(adjust: SandboxServer) -> None:
    """One row in which every argument that shapes an event shows."""
    adjust.configure(app_tokens=["otherApp"], event_tokens=["buyToken"])
    row = purchase(1, created_at=START.replace(tzinfo=None).isoformat(), event="buy", campaign_id="c-1")
    row["gaid"] = row.pop("gps_adid")
    send(
        [row],
        event_token=None,
        event_tokens={"buy": "buyToken"},
        app_token="otherApp",
        environment="sandbox",
        column_map={"gaid": "gps_adid"},
        extra_params=["campaign_id"],
        event_id_param="order",
        timezone="Etc/GMT-2",
        max_in_flight=1,
        max_events_per_second=1000,
    )
    [event] = adjust.events()
    assert event["params"] == {
        "s2s": "1",
        "app_token": "otherApp",
        "event_token": "buyToken",
        "environment": "sandbox",
        "gps_adid": device(1),
        "created_at_unix": str(int(START.timestamp()) - 2 * 3600),
        "revenue": "1.25",
        "currency": "EUR",
        "ip_address": IP_ADDRESS,
        "user_agent": "AgentOfOnePerson/1.0",
        "campaign_id": "c-1",
        "callback_params": '{"order":"o-1"}',
    }


# --- Privacy ----------------------------------------------------------------------------------------------------------

PERSONAL = {"idfa": device(2), "callback_params": {"ip": IP_ADDRESS}, "partner_params": json.dumps({"id": device(3)})}
FAILURES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # events, arguments, settings of the stand-in
    "refused by Adjust": ([purchase(1, **PERSONAL)], {}, {"unknown_devices": [device(1)]}),
    "opted out": ([purchase(1, **PERSONAL)], {}, {"opted_out_devices": [device(1)]}),
    "condemned": ([purchase(1, **PERSONAL)], {}, {"tokens": ["other"]}),
    "condemned by 202": ([purchase(1, **PERSONAL)], {}, {"tokens": ["other"], "enforce": False}),
    "unreachable": ([purchase(1, **PERSONAL)], {}, {"fault_plan": ["429"], "retry_after": 900}),
    "in doubt": ([purchase(1, **PERSONAL)], {"on_in_doubt": "hold"}, {"fault_plan": ["truncate"]}),
    "out of order": (iter([purchase(2, **PERSONAL), purchase(1)]), {}, {}),
    "the same event twice": ([purchase(1, **PERSONAL), purchase(1)], {}, {}),
    "broken JSON": (json.dumps([purchase(1)])[:-9], {}, {}),
    "no JSON": (str([purchase(1)]), {}, {}),
    "a single row": (purchase(1), {}, {}),
    "no rows": ([device(1), [IP_ADDRESS], None], {}, {}),
    "no such route": ([purchase(1, os_name=device(2))], {"route_by": "os_name", "adjust_conn_id": {"a": "adjust_default"}}, {}),
    "no such event": ([purchase(1, event=device(2))], {"event_tokens": {"buy": EVENT_TOKEN}}, {}),
    "an id where another value belongs": (
        [purchase(n, **{name: device(9)}) for n, name in enumerate(
            ("revenue", "currency", "ip_address", "os_name", "created_at", "environment", "session_count", "att_status",
             "tracking_enabled", "callback_params", "app_token", "event_token", "s2s")
        )],
        {}, {},
    ),
    "a wrong type": ([purchase(1, gps_adid=[device(1)], ip_address={"ip": IP_ADDRESS})], {}, {}),
    "an app token that is none": ([purchase(1)], {"app_token": f"{APP_TOKEN}-{S2S_TOKEN}"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_reveals_a_device_an_address_or_a_token(adjust: SandboxServer, said: Said, name: str) -> None:
    events, arguments, settings = FAILURES[name]
    adjust.configure(**settings)
    with pytest.raises(Exception) as failure:
        operator(events, **arguments).execute({})
    assert not reveals("".join(traceback.format_exception(failure.value)))
    assert not reveals(said)


def test_success_reveals_nothing_either(adjust: SandboxServer, said: Said) -> None:
    result = send([purchase(number, order_id=..., **PERSONAL) for number in range(5)], id_field=None)
    assert "Delivery ended" in str(said)
    assert not reveals(said)
    assert not reveals(result)
