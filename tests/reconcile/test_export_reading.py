"""Which files are exports, what their first line says, and which of their lines are read."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from reconcile.export_case import APP, DAY, HEAD, NOON, TOKEN, WINDOW, export, line

from airflow_provider_adjust.reconcile.exports.heads import FIELDS, UnknownHead, check_columns, definition, read_head
from airflow_provider_adjust.reconcile.exports.names import ExportFile, of_app, read_name
from airflow_provider_adjust.reconcile.exports.reader import Line, Reading, Wanted, read_files
from airflow_provider_adjust.reconcile.exports.values import amount_of, id_in, micros_of, seconds_of
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

WANTED = Wanted(APP, "production", {TOKEN: 7})
AT = int(NOON.timestamp())


def read(*files: ExportFile, wanted: Wanted = WANTED) -> tuple[list[Line], Reading]:
    reading = Reading()
    return list(read_files(files, wanted, reading)), reading


def ids(lines: list[Line]) -> list[str]:
    return [each.event_id for each in lines]


def test_a_name_says_app_hour_definition_and_part() -> None:
    for path, expected in {
        "b/x/4w565xzmb54d_2026-05-01T130000_0a1b_77.csv.gz": ("4w565xzmb54d", 13, "0a1b", "77"),
        "4w565xzmb54d_2026-05-01T130000_0a1b.csv.gz": ("4w565xzmb54d", 13, "0a1b", ""),
        "4w565xzmb54d_2026-05-01T135900_0a1b_7_7.csv": ("4w565xzmb54d", 13, "0a1b", "7_7"),
    }.items():
        found = read_name(path)
        assert found is not None
        assert (found.app_token, found.hour.hour, found.definition, found.part) == expected
        assert (found.hour.tzinfo, found.hour.minute) == (UTC, 0)
    for path in (
        "notes.csv.gz",
        "4w565xzmb54d_2026-05-01_0a1b.csv.gz",
        "4w565xzmb54d_2026-13-01T130000_0a1b.csv.gz",
        "4w565xzmb54d_2026-05-01T130000_0a1b.parquet",
        "4w565xzmb54d_2026-05-01T130000_0a1b.csv.gz.tmp",
    ):
        assert read_name(path) is None, path


def test_an_apps_files_are_read_once_each_by_the_hour() -> None:
    later, earlier = export([], hour=NOON), export([], hour=DAY)
    copy, unpacked = later._replace(path=f"copy/{later.path}"), export([], hour=DAY, packed=False)
    found = of_app([later, copy, export([], app="another"), earlier, unpacked], APP)
    assert found == [earlier, later]


def test_a_window_is_a_day_days_or_two_times() -> None:
    berlin = timezone(timedelta(hours=2))
    for given, zone, expected in (
        ("2026-05-01", UTC, WINDOW),
        (DAY.date(), UTC, WINDOW),
        ("2026-04-30:2026-05-01", UTC, Window(DAY - timedelta(days=1), WINDOW.end)),
        ("2026-05-01T00:00:00+00:00/2026-05-02T00:00:00+00:00", UTC, WINDOW),
        (" 2026-05-01 00:00 / 2026-05-02 00:00 ", UTC, WINDOW),
        ((datetime(2026, 5, 1), datetime(2026, 5, 2)), UTC, WINDOW),
        ((DAY, "2026-05-02T02:00:00+02:00"), UTC, WINDOW),
        ("2026-05-01", berlin, Window(DAY - timedelta(hours=2), WINDOW.end - timedelta(hours=2))),
    ):
        assert Window.parse(given, zone) == expected, given
    assert str(WINDOW) == "2026-05-01 00:00 UTC to 2026-05-02 00:00 UTC"
    half = Window(DAY + timedelta(minutes=30), DAY + timedelta(minutes=90))
    assert list(half.hours()) == [DAY, DAY + timedelta(hours=1)]
    for given, said in (
        ("yesterday", "give a day"),
        ("a/b", "give a day"),
        (None, "give a day"),
        ("2026-05-02/2026-05-01", "ends"),
    ):
        with pytest.raises(AdjustConfigurationError, match=said):
            Window.parse(given)


def test_columns_are_found_in_every_documented_form() -> None:
    for head, expected in {
        HEAD: {"app_token": 0, "event_token": 3, "event_id": 4, "created_at": 5, "revenue_float": 6, "currency": 7},
        '"My app is great",{event},[event_id]': {"event_token": 1, "event_id": 2},
        "{event},event_id": {"event_token": 0, "event_id": 1},
        "event,event_id\n": {"event_token": 0, "event_id": 1},
        '"event_id",{event},"a, ""b""",event_id': {"event_token": 1, "event_id": 3},
        '"{event}","[event_id]"': {"event_token": 0, "event_id": 1},
        '"event","event_id"': {"event_token": 0, "event_id": 1},
        "\ufeff{event} , [event_id],{event}": {"event_token": 0, "event_id": 1},
        "{event},{callback_parameters},{revenue}": {"event_token": 0, "callback_parameters": 1, "revenue": 2},
    }.items():
        found = read_head(head)
        assert expected.items() <= found.places.items(), head
    assert read_head('"a, ""b""",{event},[event_id],').width == 4


def test_columns_may_be_named() -> None:
    for head in ("{event_name},[order],{happened_at}", "{event_name},order,{happened_at}"):
        found = read_head(head, {"event_id": "[order]", "event_token": "{event_name}", "created_at": "{happened_at}"})
        assert (found.places, found.id_key) == ({"event_token": 0, "event_id": 1, "created_at": 2}, "order")
    assert read_head("{event},order", {"event_id": "order"}).places["event_id"] == 1
    with pytest.raises(UnknownHead, match=r"has no column \{paid\};"):
        read_head(HEAD, {"revenue_float": "{paid}"})
    check_columns({"event_id": "[order]"})
    with pytest.raises(AdjustConfigurationError, match="columns has 'id'; known are app_token,"):
        check_columns({"id": "[order]"})


def test_a_head_without_the_id_or_the_event_is_refused_with_the_definition_to_paste() -> None:
    for head, lacks in {
        "{event},{created_at}": "[event_id]",
        "[event_id],{created_at}": "{event}",
        '"event_id",{event}': "[event_id]",
        "{callback_parameters}": "{event}",
        "nothing": "{event} and [event_id]",
        "": "{event} and [event_id]",
        '"unclosed,{event}': "[event_id]",
    }.items():
        with pytest.raises(UnknownHead) as caught:
            read_head(head)
        assert f"has no column {lacks};" in str(caught.value), head
        assert str(caught.value).endswith(definition())
    assert definition() == HEAD
    assert read_head(definition()).places.keys() == {each.name for each in FIELDS} - {"revenue", "callback_parameters"}
    assert "[order]" in definition({"event_id": "[order]"})


def test_times_are_seconds_in_every_form() -> None:
    for text in (
        str(AT),
        f"{AT}.9",
        str(AT * 1000 + 1),
        "2026-05-01T12:00:00Z",
        "2026-05-01 12:00:00",
        "2026-05-01 12:00:00 UTC",
        "2026-05-01T14:00:00+0200",
        "2026-05-01 12:00:00 +0000",
    ):
        assert seconds_of(text) == AT, text
    for text in ("", "yesterday", "05/01/2026 12:00", "-5", "nan", "1e30", "0001-01-01T00:00:00+14:00 +"):
        assert seconds_of(text) is None, text


def test_amounts_are_millionths() -> None:
    for text, is_cents, expected in (
        ("9.9", False, 9_900_000),
        ("990", True, 9_900_000),
        ("", False, 0),
        ("0.1234567", False, 123_457),
        ("-1.5", False, -1_500_000),
        ("12345678901.23", False, 12_345_678_901_230_000),
        ("much", False, None),
        ("NaN", False, None),
        ("1e12", False, None),
    ):
        assert micros_of(text, is_cents=is_cents) == expected, text
    assert str(amount_of(3, 2_500_000)) == "5.5"


def test_the_id_may_be_among_all_callback_parameters() -> None:
    for text, expected in {
        '{"event_id": "A-1"}': "A-1",
        '{"event_id": 5}': "5",
        '{"other": "A-1"}': "",
        '{"event_id": null}': "",
        "[]": "",
        "{broken": "",
    }.items():
        assert id_in(text, "event_id") == expected
    lines, _ = read(export([f'{TOKEN},"{{""event_id"":""A,1""}}"'], head="{event},{callback_parameters}"))
    assert ids(lines) == ["A,1"]


def test_a_line_is_an_event_with_place_amount_and_time() -> None:
    first, second = export([line("A-1")]), export([line("B-1"), line("B-2", revenue="", currency="")], part="p2")
    lines, reading = read(first, second)
    assert lines[0] == Line(7, "A-1", AT, 9_900_000, 0, "EUR", 2)
    assert lines[2] == Line(7, "B-2", AT, 0, 0, None, (1 << 40) + 3)
    assert (reading.lines, reading.taken, reading.paths) == (3, 3, [first.path, second.path])
    assert reading.definitions == {7: {"d1"}}
    bare, _ = read(export([f"{TOKEN},A-1"], head="{event},[event_id]"))
    assert bare == [Line(7, "A-1", None, None, 0, None, 2)]
    cents, _ = read(export([f"{TOKEN},A-1,991"], head="{event},[event_id],{revenue}"))
    assert cents == [Line(7, "A-1", None, 9_910_000, 5_000, None, 2)]


def test_lines_of_others_are_counted_and_left_out() -> None:
    lines, reading = read(
        export(
            [
                line("A-1"),
                line("A-2", app="another"),
                line("A-3", environment="sandbox"),
                line("A-4", kind="install"),
                line("A-5", event="other1"),
                line(""),
                "too,short",
                line("A-7", at="noon"),
                line("A-8", revenue="much"),
                line("A-9", kind=""),
            ]
        )
    )
    assert ids(lines) == ["A-1", "", "A-7", "A-8", "A-9"]
    assert reading.broken_hours == {NOON}, "the line that is too short may be any event"
    assert reading.left_out == {
        "of another app": 1,
        "of another environment": 1,
        "no events": 1,
        "of other events": 1,
        "without an event id": 1,
        "malformed": 1,
        "(taken) with a time that cannot be read": 1,
        "(taken) with an amount that cannot be read": 1,
    }
    assert (reading.lines, reading.taken, reading.problems) == (10, 4, [])


def test_two_definitions_a_bom_and_an_unpacked_file_are_read_by_their_own_heads() -> None:
    lines, reading = read(
        export([line("A-1")]),
        export([f"A-2,{TOKEN}"], head="[event_id],{event}", definition="d2"),
        export([line("A-3")], before=b"\xef\xbb\xbf", part="p3"),
        export([line("A-4")], packed=False, part="p4"),
    )
    assert ids(lines) == ["A-1", "A-2", "A-3", "A-4"]
    assert reading.problems == []


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read() -> None:
    many = [line(f"A-{number}-{number * 7919 % 1009}") for number in range(2_000)]
    hours = [DAY + timedelta(hours=number) for number in range(7)]
    missing = export([])._replace(path="gone", name=export([], hour=hours[5]).name, open=lambda: open("/nowhere", "rb"))  # noqa: SIM115
    files = [
        export([], hour=hours[0], packed=False, head="", cut=1),
        export(many, hour=hours[1], cut=2_000),
        export(["x"], hour=hours[2], head="{adid}"),
        export([line("C-1", id="x" * 5_000_000)], hour=hours[3]),
        export([], hour=hours[4])._replace(open=lambda: io.BytesIO(b"\x1f\x8b and no more")),
        missing,
        export([line("B-1")], hour=hours[6]),
    ]
    lines, reading = read(*files)
    assert 0 < len(lines) < 2_000
    assert set(ids(lines)) <= {each.split(",")[4] for each in many} | {"B-1"}, "no id is cut"
    assert ids(lines)[-1] == "B-1"
    assert reading.broken_hours == set(hours[:6])
    assert reading.unknown_heads == 1
    assert [each.partition(": ")[0] for each in reading.problems] == [each.path for each in files[:6]]
    for problem, said in zip(
        reading.problems,
        ("(EOFError)", "(EOFError)", "has no column", "(Error)", "(BadGzipFile)", "(FileNotFoundError)"),
        strict=True,
    ):
        assert said in problem


def test_ids_are_compared_as_the_ledger_keeps_them() -> None:
    lines, _ = read(export([line("A-1")]), wanted=Wanted(APP, "production", {TOKEN: 7}, event_key=str.lower))
    assert ids(lines) == ["a-1"]


def test_a_line_as_long_as_a_request_may_be_does_not_end_its_file() -> None:
    head = "{event},[event_id],{callback_parameters}"
    lines, reading = read(export([f"{TOKEN},A-1,{'x' * 1_000_000}", f"{TOKEN},A-2,x"], head=head))
    assert (ids(lines), reading.problems) == (["A-1", "A-2"], [])
    _, endless = read(export([f'{TOKEN},A-1,"', *(["x" * 1000] * 5_000)], head=head))
    assert "damaged (Error)" in endless.problems[0], "a quote that is not closed does not fill the memory"
