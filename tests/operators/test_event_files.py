"""Events out of files: each kind, what spoils a file, and what spoils one of its rows only."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import ObjectStoragePath
from operators.adjust_account import START, device, purchase, recorded, reveals
from operators.sending import jsonl, lines, operator, send
from pyarrow import parquet

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sandbox import SandboxServer


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
        ("night.jsonl", None, "night.jsonl does not exist"),
        ("night.parquet", None, "night.parquet does not exist"),
        ("night.json", b'[{"gps_adid": "de71ce00-0000-4000-8000-000000000001"', "is not JSON"),
        ("night.json", b"", r"is not JSON \(line 1, column 1\)"),
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
    # Without a correction it is refused again, with a reason.
    assert send(str(rejected), max_rejected=1)["invalid"] == 1


def test_a_line_of_csv_with_too_many_columns_is_one_invalid_row(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    head, first, second = as_csv([purchase(1), purchase(2)]).splitlines()
    path.write_bytes(b"\n".join([head, first + b",more,and more", second]))
    result = send(str(path), max_rejected=1)
    assert (result["delivered"], result["by_reason"]) == (1, {"unreadable_row": 1})


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


def test_a_row_that_cannot_be_read_is_rejected_with_its_line_and_the_others_are_sent(
    adjust: SandboxServer, tmp_path: Path
) -> None:
    path, rejected = tmp_path / "night.csv", tmp_path / "rejected.jsonl"
    head, first, second, third = as_csv([purchase(each, device_name="-") for each in (1, 2, 3)]).splitlines()
    path.write_bytes(b"\n".join([head, first, second.replace(b",-", b',"10 inch'), third]))
    result = send(str(path), max_rejected=1, rejected_path=str(rejected))
    assert (result["delivered"], result["by_reason"]) == (2, {"unreadable_row": 1})
    [refused] = lines(rejected)
    assert refused["position"] == 2
    assert refused["detail"].startswith("line 3 has a quote that is not closed")


def test_a_file_ends_at_ambiguous_rows_and_the_rows_before_are_delivered(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    rows = as_csv([purchase(number, device_name="-") for number in range(6)])
    records = rows.split(b"\r\n")
    records[3], records[5] = records[3].replace(b",-", b',"10 inch'), records[5].replace(b",-", b',12"')
    path.write_bytes(b"\r\n".join(records))
    with pytest.raises(AirflowFailException, match="InputUnreadable: line 4 of the file night"):
        operator(str(path)).execute({})
    assert sorted(filter(None, recorded(adjust))) == [device(0), device(1)]


def test_a_wrong_head_fails_the_task_for_good_before_anything_is_sent(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_bytes(as_csv([purchase(1)]).replace(b",", b";"))
    with pytest.raises(AirflowFailException, match="the fields are separated by semicolons") as failure:
        operator(str(path)).execute({})
    assert not reveals(failure.value)
    assert adjust.stats()["requests"] == 0


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_is_read_in_the_order_of_its_names(adjust: SandboxServer, tmp_path: Path, ending: str) -> None:
    for number in (2, 1, 3):
        (tmp_path / f"part-{number}.csv").write_bytes(as_csv([purchase(number, gps_adid=device(7))]))
    assert send(f"{tmp_path.as_uri()}{ending}")["delivered"] == 3


def test_escape_char_is_an_argument(adjust: SandboxServer, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_bytes(as_csv([purchase(1, device_name='10" tablet')]).replace(b'""', b'\\"'))
    assert send(str(path), max_rejected=1)["by_reason"] == {"unreadable_row": 1}
    assert send(str(path), escape_char="\\")["delivered"] == 1
    assert recorded(adjust, "device_name") == ['10" tablet']
