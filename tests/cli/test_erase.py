"""`erase`: what goes from the ledger, the checkpoints and the files, what is left, and what is said of it."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
import sqlalchemy as sa
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from ledger_rows import write_deliveries
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, device, purchase, reveals
from operators.old_ledger import remembered

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.files.erasing import Device, Subject, remove_lines
from airflow_provider_adjust.s2s import EventParser, RowOptions
from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.schema import deliveries

Cli = Callable[..., Any]


def line(number: int, event_id: str | None = None, **changes: Any) -> str:
    row = purchase(number, **changes)
    return rejected_line(Receipt(Outcome.REJECTED, "device_not_found", event_id or row["order_id"], number, row=row))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two events of device 1 (one of them also with a response), one of device 2, and what else lies in such a folder."""
    folder = tmp_path / "files"
    (folder / "may").mkdir(parents=True)
    (folder / "night.jsonl").write_text("\n".join([line(1), line(2), line(3, gps_adid=device(1).upper())]) + "\n")
    answered = [
        response_line(Receipt(Outcome.DELIVERED, "", f"o-{number}", number, answer=b'{"status": "OK"}'))
        for number in (1, 2)
    ]
    (folder / "may" / "responses.jsonl").write_text("\n".join(answered) + "\n")
    (folder / "other.txt").write_text("o-1")
    return folder


def remember(ledger: sa.Engine, *ids: str, **facts: Any) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    given = {
        "app_token": APP_TOKEN,
        "event_token": EVENT_TOKEN,
        "environment": "production",
        "status": "delivered",
        "occurred_at": now - timedelta(days=1),
        "updated_at": now,
    }
    with ledger.begin() as connection:
        write_deliveries(connection, [{**given, **facts, "event_id": each} for each in ids])


def reasons(ledger: sa.Engine) -> dict[str, str]:
    with ledger.connect() as connection:
        return {each.event_id: each.reason for each in connection.execute(sa.select(deliveries))}


def ids_in(path: Path) -> list[str]:
    return [json.loads(each)["event_id"] for each in path.read_text().splitlines()]


LEDGER = ("--ledger-conn-id", "adjust_ledger")


def test_an_event_is_erased_only_if_that_is_confirmed(cli: Cli, ledger: sa.Engine, folder: Path) -> None:
    remember(ledger, "o-1", "o-2")
    command = ("erase", "--event-id", "o-1", *LEDGER, "--files", folder)
    before = (folder / "night.jsonl").read_bytes()
    done = cli(*command)
    assert done.code == 0, done
    assert done.out.startswith("Would be erased; --yes does it\n")
    assert (folder / "night.jsonl").read_bytes() == before
    assert reasons(ledger) == {"o-1": "", "o-2": ""}
    os.chmod(folder / "night.jsonl", 0o644)
    done = cli(*command, "--yes", "--output", "json")
    assert done.code == 0, done
    report = json.loads(done.out)
    assert report["erased"] is True
    stores = {each["store"].removeprefix(f"{folder}/"): each for each in report["stores"]}
    assert {name: each["removed"] for name, each in stores.items() if each["found"]} == {
        "ledger adjust_ledger: delivered": 1,
        "night.jsonl": 1,
        "may/responses.jsonl": 1,
    }
    assert "never sent again" in stores["ledger adjust_ledger: delivered"]["left"]
    assert ids_in(folder / "night.jsonl") == ["o-2", "o-3"]
    assert ids_in(folder / "may" / "responses.jsonl") == ["o-2"]
    assert stat.S_IMODE((folder / "night.jsonl").stat().st_mode) == 0o600
    assert sorted(each.name for each in folder.iterdir()) == ["may", "night.jsonl", "other.txt"]
    assert reasons(ledger) == {"o-1": "erased", "o-2": ""}
    done = cli(*command, "--yes")
    assert "erased before" in done.out


def test_a_device_is_erased_with_the_events_that_its_lines_name(
    cli: Cli, ledger: sa.Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(ledger, "o-1", "o-2", "o-3")
    command = ("erase", *LEDGER, "--files", folder, "--yes")
    given = f"gps_adid={device(1)}\n\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    done = cli(*command, "--device", "-", "--output", "json")
    assert done.code == 0, done
    assert not reveals(done.out + done.err)
    assert ids_in(folder / "night.jsonl") == ["o-2"]
    assert ids_in(folder / "may" / "responses.jsonl") == ["o-2"]
    assert reasons(ledger) == {"o-1": "erased", "o-2": "", "o-3": "erased"}
    assert "holds no device" in json.loads(done.out)["not_reached"][0]
    path = tmp_path / "devices.txt"
    path.write_text(given.replace("1\n", "2\n", 1))
    assert cli(*command, "--device", path).code == 0
    assert ids_in(folder / "night.jsonl") == []


def test_a_devices_events_without_an_id_are_found_by_the_connections_keys(
    cli: Cli, ledger: sa.Engine, folder: Path, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("http://127.0.0.1:9", digest_key="new, old")
    options = RowOptions(app_token=APP_TOKEN, event_token=EVENT_TOKEN, environment="production")
    row = purchase(9, order_id=...)
    ids = [
        EventParser(options, digest_keys=keys).parse(row).event_id
        for keys in ((), b"old", b"new", S2S_TOKEN.encode(), b"unknown")
    ]
    old = purchase(9, order_id=..., created_at="2020-01-01T00:00:00Z")
    lines = [line(9, "refused", order_id=...), line(10, "old", **(old | {"order_id": ...}))]
    lines += [line(11, "no event", gps_adid=device(9), revenue="much", order_id=...), '{"cut off": "' + device(9)]
    lines += [json.dumps({"event_id": "answered", "response": {"adid": device(9)}}), json.dumps(["no", "mapping"])]
    lines += [
        line(12, "too old and no event", **(old | {"gps_adid": device(9), "app_token": "a", "callback_params": 1}))
    ]
    (folder / "night.jsonl").write_text("\n".join(lines))
    remember(ledger, *ids)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"gps_adid={device(9)}"))
    connection = ("--connection", "adjust_default", "--event-token", EVENT_TOKEN)
    done = cli("erase", "--device", "-", *connection, *LEDGER, "--files", folder / "night.jsonl", "--yes")
    assert done.code == 0, done
    assert [reasons(ledger)[each] for each in ids] == ["erased"] * 4 + [""]
    assert (folder / "night.jsonl").read_text() == '["no", "mapping"]\n'


def test_an_event_of_another_app_or_event_token_is_left(cli: Cli, folder: Path) -> None:
    path = folder / "night.jsonl"
    texts = [line(1, app_token="a"), line(1, app_token="b"), line(1), line(1, app_token="a", event_token="e2")]
    path.write_text("\n".join([*texts, '{"event_id": "o-1", "response": {}}', '{"event_id": "o-1", "row"']) + "\n")
    done = cli("erase", "--event-id", "o-1", "--app-token", "a", "--event-token", "e1", "--files", path, "--yes")
    assert done.code == 0, done
    assert path.read_text().splitlines() == [texts[1], texts[3]]
    assert "not asked: no --ledger-conn-id" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name an event with --event-id"),
        (("--event-id", " "), "name an event with --event-id"),
        (("--device", "gps_adid=1"), "everybody could read the id"),
        (("--event-id", "o-1", "--files", "no such folder"), "does not exist"),
        (("--event-id", "o-1", "--ledger-conn-id", "nobody_has_it"), "there is no connection"),
        (("--event-id", "o-1", "--connection", "nobody_has_it"), "there is no connection"),
    ],
)
def test_what_cannot_be_erased_is_refused(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    done = cli("erase", *arguments)
    assert (done.code, words in done.err) == (2, True), done


def test_a_link_is_left_alone_and_reported(cli: Cli, folder: Path) -> None:
    (folder / "link.jsonl").symlink_to(folder / "night.jsonl")
    done = cli("erase", "--event-id", "o-1", "--files", folder, "--yes")
    assert done.code == 3
    assert "link.jsonl  " in done.out
    assert (folder / "link.jsonl").is_symlink()
    assert ids_in(folder / "night.jsonl") == ["o-2", "o-3"]


def test_a_file_that_cannot_be_rewritten_is_unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "night.jsonl").read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        remove_lines(ObjectStoragePath(f"file://{folder}/night.jsonl"), Subject(["o-1"]))
    assert (folder / "night.jsonl").read_bytes() == before
    assert sorted(each.name for each in folder.iterdir()) == ["may", "night.jsonl", "other.txt"]


def test_a_file_on_object_storage_is_rewritten() -> None:
    attach("memory", fs=fsspec.filesystem("memory"))
    path = ObjectStoragePath("memory://erase/night.jsonl")
    with path.open("wb") as file:
        file.write(f"{line(1)}\n{line(2)}\n".encode())
    remove_lines(path, Subject(devices=[Device("gps_adid", device(1))]))
    with path.open("rb") as file:
        assert [json.loads(each)["event_id"] for each in file] == ["o-2"]


def test_a_short_id_is_found_under_its_name_only() -> None:
    short = Device.parse("external_device_id = 77 ")
    for entry, expected in (
        ({"row": {"external_device_id": 77}}, True),
        ({"row": {"external_device_id": " 77"}}, True),
        ({"row": {"callback_params": {"external_device_id": "77"}}}, True),
        ({"position": 77, "row": {"revenue": "77", "list": ["77"]}}, False),
    ):
        assert short.is_in(entry) is expected, entry
    assert "77" not in repr(short)
    long = Device("idfa", "C0734921-0000")
    for text, expected in (("device c0734921-0000.", True), ("xC0734921-0000", False)):
        assert long.is_in_text(text) is expected
    for wrong in ("", "gps_adid", "=1", "gps_adid= "):
        with pytest.raises(AdjustConfigurationError, match="PARAMETER=VALUE"):
            Device.parse(wrong)


def test_an_id_is_found_where_a_device_is_named_and_as_it_is_sent() -> None:
    android = Device("Android_ID", "1234-5678-90AB-CDEF")
    for entry, expected in (
        ({"row": {"android_id": "1234567890abcdef"}}, True),
        ({"row": {"ANDROID_ID": "1234567890ABCDEF"}}, True),
        ({"row": {"callback_params": '{"android_id": "1234567890abcdef"}'}}, True),
        ({"row": {"callback_params": [{"adid": "1234-5678-90ab-cdef"}]}}, True),
        ({"event_id": "1234567890abcdef", "row": {"order_id": "1234567890abcdef"}}, False),
        ({"row": {"order_id": "1234-5678-90AB-CDEF", "user_agent": "1234-5678-90AB-CDEF", "android_id": None}}, False),
        ({"row": {"android_id": "x" * 600, "callback_params": "{torn"}}, False),
    ):
        assert android.is_in(entry) is expected, entry
    assert Device("my_device", " Q1 ").is_in({"row": {"MY_DEVICE": "q1"}})


def test_a_link_to_a_folder_is_left_alone_and_reported(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "sub").symlink_to(folder)
    before = (folder / "night.jsonl").read_bytes()
    done = cli("erase", "--event-id", "o-1", "--files", tmp_path / "named", "--yes")
    assert (done.code, "sub " in done.out) == (3, True), done
    assert (folder / "night.jsonl").read_bytes() == before


def test_a_database_without_a_ledger_is_reported(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = {"conn_type": "sqlite", "host": str(tmp_path / "empty.db")}
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps(url))
    assert "the database has no ledger" in cli("erase", "--event-id", "o-1", *LEDGER).out


def test_an_unknown_event_is_nowhere(cli: Cli, ledger: sa.Engine) -> None:
    remember(ledger, "o-1")
    done = cli("erase", "--event-id", "o-9", *LEDGER, "--yes")
    assert done.code == 0
    assert remembered(ledger) == {"o-1"}
    assert "not asked: no --files" in done.out


@pytest.fixture
def checkpoint(airflow_db: Path) -> Iterator[Callable[[], list[str]]]:
    """A checkpoint in Airflow's own database, which names the events o-1 and o-12; what it says of them."""
    pytest.importorskip("airflow.models.task_state_store")
    summary = DeliverySummary()
    for number, (event_id, reason) in enumerate((("o-1", "invalid_revenue"), ("o-12", "device_not_found")), start=1):
        summary.add(Receipt(Outcome.REJECTED, reason, event_id, number, detail="much"))
    state = json.dumps({"version": 4, "settled": summary.as_state()})
    [address] = re.findall(r"sqlite:///(.+)", conf.get("database", "sql_alchemy_conn"))
    with closing(sqlite3.connect(address)) as database:
        values = (999_999, "send", -1, "adjust_checkpoint", "dag", "run", state, "2026-11-01 00:00:00")
        columns = "dag_run_id, task_id, map_index, key, dag_id, run_id, value, updated_at"
        database.execute(f"INSERT INTO task_state_store ({columns}) VALUES ({', '.join('?' * len(values))})", values)
        database.commit()

        def details() -> list[str]:
            [(value,)] = database.execute("SELECT value FROM task_state_store WHERE dag_run_id = 999999")
            return [each[-1] for each in json.loads(value)["settled"]["first_details"]]

        yield details
        database.execute("DELETE FROM task_state_store WHERE dag_run_id = 999999")
        database.commit()


@pytest.mark.airflow
def test_a_checkpoint_names_the_event_no_more(
    cli: Cli, checkpoint: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("erase", "--event-id", "o-1", "--output", "json")

    def found(*more: str) -> tuple[int, str]:
        [held] = (each for each in json.loads(cli(*command, *more).out)["stores"] if each["store"] == "checkpoints")
        return held["found"], held["left"]

    both = ["row 1 (event o-1): much", "row 2 (event o-12): much"]
    assert (found()[0], checkpoint()) == (1, both)
    with monkeypatch.context() as patched:
        patched.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", "somewhere.else")
        assert "not reached" in found("--yes")[1]
    assert (found("--yes")[0], checkpoint()) == (1, both[1:])
    assert found("--yes")[0] == 0
