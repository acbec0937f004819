"""`validate` and `preview`: what they find in a file, what they show of it, and their exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, START, Connect, purchase, reveals

Cli = Callable[..., Any]
FileOf = Callable[..., Path]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")


def test_a_file_of_good_rows_is_valid(cli: Cli, file_of: FileOf) -> None:
    done = cli("validate", file_of(purchase(1), purchase(2)), *EVENT)
    assert (done.code, done.err) == (0, "")
    assert "read          2\nvalid         2  2.50 EUR\n" in done.out
    assert "nothing was sent" in done.out


def test_what_is_refused_is_named_by_row_id_and_reason(cli: Cli, file_of: FileOf) -> None:
    old = purchase(0, created_at=START.replace(year=START.year - 1).isoformat())
    done = cli("validate", file_of(old, purchase(1), purchase(2, revenue="-1"), purchase(3, currency="Euro")), *EVENT)
    assert done.code == 1
    refused = done.out.partition("Refused\n")[2].splitlines()[2:5]
    assert [line.split()[:4] for line in refused] == [
        ["expired:", "expired", "1", "o-0"],
        ["invalid:", "invalid_revenue", "3", "o-2"],
        ["invalid:", "invalid_currency", "4", "o-3"],
    ]
    assert "valid         1  1.25 EUR\n" in done.out
    assert not reveals(done.out)


def test_of_many_refused_rows_the_first_are_listed_and_all_are_counted(cli: Cli, file_of: FileOf) -> None:
    done = cli("validate", file_of(*(purchase(number, revenue="-1") for number in range(50))), *EVENT)
    assert done.out.count("invalid: invalid_revenue") == 20 + 1
    assert "invalid: invalid_revenue      50" in done.out
    assert "... and 30 more refused rows\n" in done.out


def test_a_file_without_rows_is_reported(cli: Cli, file_of: FileOf, tmp_path: Path) -> None:
    (tmp_path / "head.csv").write_text("order_id,gps_adid,created_at\n")
    for file in (file_of(), tmp_path / "head.csv"):
        for command in ("validate", "preview"):
            done = cli(command, file, *EVENT)
            assert (done.code, "Warning: no row was read" in done.err) == (0, True), done


def test_revenue_is_summed_up_by_currency(cli: Cli, file_of: FileOf) -> None:
    rows = [purchase(1, revenue="1000.005"), purchase(2, revenue="3", currency="USD"), purchase(3, revenue="-1")]
    assert "valid         2  1,000.005 EUR, 3 USD\n" in cli("validate", file_of(*rows), *EVENT).out


def test_a_column_that_looks_like_an_id_is_offered_to_id_field(cli: Cli, file_of: FileOf, tmp_path: Path) -> None:
    for command in ("validate", "preview"):
        done = cli(command, file_of(purchase(1), purchase(2)), *EVENT[:2])
        assert "--id-field order_id" in done.err + done.out, done
    rows = file_of(purchase(1) | {"shop": "x"}, purchase(2))
    done = cli("validate", rows, *EVENT)
    assert "id_field" not in done.out + done.err
    assert "in --extra-params" in done.out + done.err or "--ignore-columns shop" in done.err, done


def test_a_stream_out_of_time_order_is_refused_and_a_list_is_sorted(cli: Cli, file_of: FileOf, tmp_path: Path) -> None:
    rows = [purchase(2), purchase(1)]
    done = cli("validate", file_of(*rows), *EVENT)
    assert done.code == 1
    assert done.err.startswith("Error: ")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert cli("validate", tmp_path / "rows.json", *EVENT).code == 0


def test_a_csv_file_is_read_as_the_operator_reads_it(cli: Cli, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*purchase(1), "gaid"])
        writer.writeheader()
        writer.writerow(purchase(1, gps_adid="") | {"gaid": purchase(1)["gps_adid"]})
    options = ("--column-map", "gaid=gps_adid", "--column-map", "gps_adid=android_id", "--timezone", "Europe/Berlin")
    assert cli("validate", tmp_path / "rows.csv", *EVENT, *options).code == 0


def test_an_amount_above_max_revenue_is_refused_for_all_currencies_or_for_one(cli: Cli, file_of: FileOf) -> None:
    file = file_of(purchase(1, revenue="500", currency="EUR"), purchase(2, revenue="900", currency="JPY"))
    for options, valid in (
        (("--max-revenue", "400"), 0),
        (("--max-revenue", "EUR=400"), 1),
        (("--max-revenue", "EUR=400", "--max-revenue", "JPY=899.5"), 0),
        (("--max-revenue", "900"), 2),
    ):
        done = cli("validate", file, *EVENT, *options)
        assert done.out.count("invalid: above_max_revenue") == (0 if valid == 2 else 3 - valid), options


def test_several_columns_identify_a_row(cli: Cli, file_of: FileOf) -> None:
    file = file_of(*(purchase(number) | {"order_id": "77", "period": number} for number in (1, 2)))
    done = cli("preview", file, "--event-token", EVENT_TOKEN, "--id-field", "order_id", "--id-field", "period")
    assert done.code == 0
    assert "event 77|1," in done.out
    assert "event 77|2," in done.out


def test_a_bad_optional_value_is_left_out_on_request(cli: Cli, file_of: FileOf) -> None:
    file = file_of(purchase(1, tracking_enabled="perhaps"))
    assert cli("validate", file, *EVENT).code == 1
    assert cli("validate", file, *EVENT, "--on-bad-optional", "leave_out").code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("missing.jsonl", *EVENT), "missing.jsonl does not exist"),
        (("rows.txt", *EVENT), "must end in .jsonl, .json, .csv or .parquet"),
        (("folder.jsonl", *EVENT), "folder.jsonl has no file in it"),
        (("broken.jsonl.gz", *EVENT), "broken.jsonl.gz cannot be read: "),
        (("broken.json", *EVENT), "broken.json is not JSON"),
        (("object.json", *EVENT), "must be a list of rows, not a dict"),
        (("rows.jsonl", "--id-field", "order_id"), "event_token"),
        (("rows.jsonl", "--event-token", "not a token"), "event_token"),
        (("rows.jsonl", *EVENT, "--column-map", "gaid"), "--column-map takes NAME=VALUE, not 'gaid'"),
        (("rows.jsonl", *EVENT, "--timezone", "Mars/Olympus"), "Mars/Olympus"),
        (("rows.jsonl", *EVENT, "--environment", "staging"), "environment"),
        (("rows.jsonl", "--event-token", "f0ob4r", "--id-field", "gps_adid"), "--id-field='gps_adid'"),
        (
            ("rows.jsonl", "--event-token", "f0ob4r", "--id-field", "order_no"),
            "no column 'order_no', which --id-field names",
        ),
        (("rows.jsonl", *EVENT, "--max-revenue", "much"), "--max-revenue is 'much'"),
        (("rows.jsonl", *EVENT, "--max-revenue", "5", "--max-revenue", "6"), "--max-revenue takes NAME=VALUE, not '5'"),
        (("rows.jsonl", *EVENT, "--adjust-conn-id", "nowhere"), "there is no connection 'nowhere'"),
    ],
)
def test_an_unusable_argument_is_reported_in_one_line(
    cli: Cli,
    file_of: FileOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: Path,
    options: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(purchase(1))
    (tmp_path / "rows.txt").touch()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "broken.jsonl.gz").write_text("no gzip")
    (tmp_path / "broken.json").write_text("[")
    (tmp_path / "object.json").write_text("{}")
    for command in ("validate", "preview"):
        done = cli(command, *options)
        assert done.code == 2, done
        assert done.err.startswith("Error: ")
        assert words in done.err
        assert not reveals(done.err)


@pytest.mark.parametrize("arguments", [(), ("validate",), ("explode",), ("preview", "rows.jsonl", "-n", "many")])
def test_a_wrong_command_line_shows_the_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert done.err.startswith("usage: python -m airflow_provider_adjust")


def test_the_preview_shows_the_first_events_with_ids_and_tokens_masked(cli: Cli, file_of: FileOf) -> None:
    done = cli("preview", file_of(*map(purchase, range(9))), *EVENT, "-n", "2", "--app-token", APP_TOKEN)
    assert done.code == 0
    assert [line.split(",")[0] for line in done.out.splitlines() if line.startswith("Row ")] == ["Row 1", "Row 2"]
    assert "gps_adid         de71…\n" in done.out
    assert "app_token        4w56…\n" in done.out
    assert "revenue          1.25\n" in done.out
    assert not reveals(done.out)


def test_the_preview_shows_neither_app_nor_environment_that_it_was_not_told(
    cli: Cli, file_of: FileOf, connect: Connect
) -> None:
    path = file_of(purchase(1))
    shown = cli("preview", path, *EVENT).out
    assert "app_token" not in shown
    assert "environment" not in shown
    connect(None)
    shown = cli("preview", path, *EVENT, "--adjust-conn-id", "adjust_default").out
    assert "app_token        4w56…\n" in shown
    assert "environment      production\n" in shown


def test_the_preview_of_a_stream_reads_no_further_than_it_shows(cli: Cli, file_of: FileOf) -> None:
    path = file_of(purchase(1, revenue="-1"), purchase(2), purchase(1))
    done = cli("preview", path, *EVENT, "-n", "1")
    assert (done.code, done.err) == (1, "")
    assert "invalid_revenue" in done.out
    assert cli("preview", path, *EVENT, "-n", "5").err.startswith("Error: ")


def test_an_ambiguous_csv_file_is_refused_and_escape_char_reads_it(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    row = purchase(1)
    values = ",".join(str(value) for value in row.values())
    path.write_text(f'{",".join(row)},device_name\n{values},"10\\" tablet"\n{values.replace("o-1", "o-2")},phone\n')
    done = cli("validate", str(path), *EVENT)
    assert done.code == 1, done
    assert "unreadable_row" in done.out
    assert cli("validate", str(path), *EVENT, "--escape-char", "\\").code == 0
    path.write_text(f'{",".join(row)},device_name\n{values},"x\\"\n{values}","\n')
    done = cli("validate", str(path), *EVENT)
    assert done.code == 1, done
    assert done.err.startswith("Error: line 2 of the file night.csv")
