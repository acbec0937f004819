"""CSV, read strictly: no value holds another row, and a line that is not CSV is refused by its number."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from files.reading import problem, read_bytes
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adjust.files.csv_rows import MOST_LINES, csv_rows
from airflow_provider_adjust.files.lines import LONGEST_LINE
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InputUnreadable
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import UnreadableRow

HEAD = "order_id,device_name,revenue,currency\n"
GOOD = "o-9,a phone,1.25,EUR\n"


def read_csv(tmp_path: Path, text: str, **options: Any) -> tuple[list[Any], str]:
    """Each row as its values, or as the words of its refusal; and the error that ended the file."""
    rows, error = read_bytes(tmp_path / "night.csv", text.encode(), **options)
    return [list(row.values()) if isinstance(row, dict) else problem(row) for row in rows], error


READ_AS_MEANT = [
    ("o-1,phone,1.25,EUR", ["o-1", "phone", "1.25", "EUR"]),
    ('"o-1","phone","1.25","EUR"', ["o-1", "phone", "1.25", "EUR"]),
    ('o-1,"a, b",1.25,EUR', ["o-1", "a, b", "1.25", "EUR"]),
    ('o-1,"10"" tablet",1.25,EUR', ["o-1", '10" tablet', "1.25", "EUR"]),
    ('o-1,"""",1.25,EUR', ["o-1", '"', "1.25", "EUR"]),
    ('o-1,"",,', ["o-1", "", "", ""]),
    ('o-1,"my\nphone",1.25,EUR', ["o-1", "my\nphone", "1.25", "EUR"]),
    ('o-1,"my\r\n\r\n""phone"", \n",1.25,EUR', ["o-1", 'my\r\n\r\n"phone", \n', "1.25", "EUR"]),
    ('"o\n1",phone,1.25,EUR', ["o\n1", "phone", "1.25", "EUR"]),
    ('o-1,phone,1.25,"E\nUR"', ["o-1", "phone", "1.25", "E\nUR"]),
    ('o-1,"{\n  ""a"": ""1"",\n  ""b"": ""2""\n}",1.25,EUR', ["o-1", '{\n  "a": "1",\n  "b": "2"\n}', "1.25", "EUR"]),
    (r"o-1,C:\new,1.25,EUR", ["o-1", r"C:\new", "1.25", "EUR"]),
]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_valid_csv_is_read_as_it_is_meant(tmp_path: Path, ending: str) -> None:
    for line, values in READ_AS_MEANT:
        text = f"{HEAD.strip()}{ending}{ending}{line}{ending}{GOOD.strip()}"
        assert read_csv(tmp_path, text) == ([values, ["o-9", "a phone", "1.25", "EUR"]], ""), line


REFUSED_BY_LINE = [
    ('o-1,10" tablet,1.25,EUR', "field 2 has a quote but does not begin with one"),
    ('o-1,"10" tablet,1.25,EUR', "in field 2, a quote is followed by neither a comma nor the line's end"),
    ('o-1, "phone",1.25,EUR', "field 2 has a quote but does not begin with one"),
    ('o-1,"10 inch,1.25,EUR', "has a quote that is not closed"),
    ('o-1,"10"",1.25,EUR', "has a quote that is not closed"),
    (r'o-1,"say \"hi\" there",1.25,EUR', "in field 2, a quote"),
    (r'o-1,"10\"",1.25,EUR', "has a quote that is not closed"),
    ("o-1,phone,1.25", "line 3 has 3 fields and the head has 4"),
    ("o-1", "line 3 has 1 fields and the head has 4"),
    ("o-1,a, b,1.25,EUR", "line 3 has 5 fields and the head has 4"),
    ('o-1,"my\nphone",1.25', "line 3 has 3 fields and the head has 4"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED_BY_LINE)
def test_a_line_that_is_not_csv_is_one_unreadable_row_with_its_number(tmp_path: Path, line: str, words: str) -> None:
    rows, error = read_csv(tmp_path, f'{HEAD}{GOOD}{line}\n{GOOD}o-8,"x, y",1,EUR\n')
    assert error == ""
    first, refused, second, third = rows
    assert first == second == ["o-9", "a phone", "1.25", "EUR"]
    assert third == ["o-8", "x, y", "1", "EUR"]
    assert refused.startswith("unreadable_row: line 3 ")
    assert words in refused
    assert len(refused) < 200


NOT_TOLD_APART = [
    # Two quotes that are not closed make one value of whole rows.
    f'o-1,"10 inch,1,EUR\n{GOOD}o-2,12",1,EUR\n',
    'o-1,"10 inch,1,EUR\no-2,12",1,EUR\n',
    f'o-1,"10 inch, with a comma,1,EUR\n{GOOD}{GOOD}o-2,12",1,EUR\n',
    # One of the right form, and one of too many fields.
    f'o-1,"10 inch,1,EUR\n{GOOD}o-2,12",1,EUR,more\n',
    # A backslash that may have been meant to keep the quote open.
    f'o-1,phone,1.25,"E\\"\n{GOOD}',
    f'o-1,"say \\"hi\n{GOOD}there\\"",1,EUR\n',
    f'o-1,"x\\",1,EUR\n{GOOD}there",1,EUR\n',
]


@pytest.mark.parametrize("lines", NOT_TOLD_APART)
def test_where_a_row_may_end_in_two_places_the_file_ends_with_the_number_of_the_line(
    tmp_path: Path, lines: str
) -> None:
    rows, error = read_csv(tmp_path, HEAD + GOOD + lines + GOOD)
    assert rows == [["o-9", "a phone", "1.25", "EUR"]]
    assert error.startswith("InputUnreadable: line 3 of the file night.csv: ")
    assert error.endswith("This row and those after it were not sent")
    assert len(error) < 220


def test_a_quote_that_is_never_closed_takes_in_no_more_than_a_limit(tmp_path: Path) -> None:
    long = HEAD + 'o-1,"10 inch,1,EUR\n' + GOOD * (MOST_LINES + 1)
    assert "InputUnreadable: line 2 of the file night.csv: a quote is not closed" in read_csv(tmp_path, long)[1]
    wide = HEAD + 'o-1,"10 inch,1,EUR\n' + f"o-2,{'x' * (LONGEST_LINE // 2)},1,EUR\n" * 3
    assert "InputUnreadable: line 2 of the file night.csv: a quote is not closed" in read_csv(tmp_path, wide)[1]


WITH_BACKSLASHES = [
    (r'o-1,"say \"hi\"",1.25,EUR', 'say "hi"'),
    (r"o-1,a\, b,1.25,EUR", "a, b"),
    (r'o-1,"C:\\",1.25,EUR', "C:\\"),
    (r"o-1,C:\new,1.25,EUR", r"C:\new"),
    (r'o-1,"10"" \"",1.25,EUR', '10" "'),
    (r'o-1,"\"""\"",1.25,EUR', '"""'),
    (r"o-1,\N,1.25,EUR", ""),
    (r'o-1,"\N",1.25,EUR', r"\N"),
    ("o-1,my\\\nphone,1.25,EUR", "my\nphone"),
    ("o-1,my\\\r\nphone,1.25,EUR", "my\r\nphone"),
    ('o-1,"my\\\nphone\nand \\"more\\"",1.25,EUR', 'my\nphone\nand "more"'),
]


def test_escape_char_reads_a_file_that_escapes_with_a_backslash(tmp_path: Path) -> None:
    for line, value in WITH_BACKSLASHES:
        rows, error = read_csv(tmp_path, f"{HEAD}{line}\n{GOOD}", escape_char="\\")
        assert (rows[0], error) == (["o-1", value, "1.25", "EUR"], ""), line
        assert len(rows) == 2


def test_a_quote_as_escape_char_states_that_a_backslash_is_text(tmp_path: Path) -> None:
    line = 'o-1,phone,1.25,"C:\\"\n'
    assert read_csv(tmp_path, HEAD + line + GOOD, escape_char='"')[0][0] == ["o-1", "phone", "1.25", "C:\\"]


def test_an_escape_character_at_the_end_of_the_file_refuses_its_line(tmp_path: Path) -> None:
    for line in ("o-1,a,1,\\", 'o-1,"a\\'):
        (refused,), error = read_csv(tmp_path, HEAD + line, escape_char="\\")
        assert refused.startswith("unreadable_row: line 2 ")
        assert error == ""


@pytest.mark.parametrize("escape_char", ["", "ab", ",", "\n", "x", " "])
def test_what_cannot_be_an_escape_character_is_refused(tmp_path: Path, escape_char: str) -> None:
    assert "AdjustConfigurationError: escape_char is" in read_csv(tmp_path, HEAD, escape_char=escape_char)[1]


WRONG_HEADS: list[tuple[str, dict[str, Any], str]] = [
    ("o-1,de71ce00-0000-4000-8000-000000000001,1.25,EUR\n", {}, "its first line has 4 fields which look like values"),
    (HEAD.replace(",", ";"), {}, "the fields are separated by semicolons"),
    (HEAD.replace(",", ";").replace("order_id", '"order_id"'), {}, "the fields are separated by semicolons"),
    (HEAD.replace(",", "\t"), {}, "the fields are separated by tabs"),
    (HEAD.replace(",", "|"), {}, "the fields are separated by vertical bars"),
    ('{"gps_adid": "de71ce00", "revenue": 1}\n', {}, "the lines are JSON"),
    ('currency,"device_name\nx,y\n', {}, "line 1 of the file night.csv is not a line of column names"),
    ("x" * (LONGEST_LINE + 1), {}, "its first line is too long for names"),
]


@pytest.mark.parametrize(("head", "options", "words"), WRONG_HEADS)
def test_an_invalid_header_is_one_configuration_error_before_the_first_row(
    tmp_path: Path, head: str, options: dict[str, Any], words: str
) -> None:
    rows, error = read_csv(tmp_path, head + GOOD * 3, **options)
    assert rows == []
    assert error.startswith("AdjustConfigurationError: ")
    assert words in error
    assert "de71ce00" not in error


def test_the_columns_are_checked_once_before_the_first_row(tmp_path: Path) -> None:
    checked: list[tuple[Any, str]] = []
    text = ("," + HEAD + GOOD * 3).encode()
    read_bytes(tmp_path / "night.csv", text, check=lambda names, where: checked.append((names, where)))
    assert checked == [(["", *HEAD.strip().split(",")], "the file night.csv")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_one_configuration_error(tmp_path: Path, encoding: str) -> None:
    for name in ("night.csv", "night.jsonl", "night.json"):
        rows, error = read_bytes(tmp_path / name, (HEAD + GOOD).encode(encoding))
        assert (rows, error) == (
            [], f"AdjustConfigurationError: the file {name} is written as UTF-16; write it as UTF-8. Nothing was sent",
        )  # fmt: skip


def test_a_head_is_known_by_one_name_of_adjusts_column_map_id_field_or_extra_params(tmp_path: Path) -> None:
    for name, options in {
        "created_at": {},
        "gaid": {"column_map": {"gaid": "gps_adid"}},
        "order": {"id_field": "order"},
        "event": {"event_tokens": {"purchase": "f0ob4r"}},
        "mine": {"extra_params": ["mine"]},
    }.items():
        assert read_csv(tmp_path, f"{name},x\n1,2\n", **options) == ([["1", "2"]], "")


def test_a_value_may_be_as_large_as_adjust_takes_it(tmp_path: Path) -> None:
    value = "x" * 990_000
    rows, _ = read_csv(tmp_path, f'{HEAD}o-1,{value},1,EUR\no-2,"{value}",1,EUR\n')
    assert [row[1] for row in rows] == [value, value]


class Endless:
    """A text file of one line that does not end for a long time."""

    def __init__(self, start: str, size: int) -> None:
        self._start = start
        self._left = size

    def readline(self, limit: int) -> str:
        if self._start:
            start, self._start = self._start, ""
            return start
        self._left -= limit
        return "x" * limit if self._left > 0 else "x\n" if self._left > -limit else ""


def test_a_line_that_does_not_end_is_one_unreadable_row_and_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        rows = list(csv_rows(Endless(HEAD, 100 * LONGEST_LINE), "the file", RowOptions()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [problem(row)[:50] for row in rows] == ["unreadable_row: line 2 has more than 4,194,304 cha"]
    assert peak < 4 * LONGEST_LINE


class Text:
    """A text file in memory, as a worker reads it."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)

    def readline(self, limit: int) -> str:
        return self._lines.pop(0) if self._lines else ""


@given(
    st.lists(st.text(alphabet='a",\\\n', max_size=12), max_size=6),
    st.sampled_from([None, "\\", '"']),
)
def test_any_lines_give_rows_refusals_or_the_documented_error(lines: list[str], escape_char: str | None) -> None:
    """A marked row between them is a row of its own, is refused, or is not reached; it is never within a value."""
    text = "".join(f"{line}\nM,M,M\n" for line in lines)
    seen = 0
    try:
        for row in csv_rows(Text(f"order_id,device_name,currency\n{text}"), "it", RowOptions(escape_char=escape_char)):
            if not isinstance(row, UnreadableRow):
                assert not any("M,M,M" in value for value in row.values())
                seen += list(row.values()) == ["M", "M", "M"]
    except InputUnreadable:
        return
    except AdjustConfigurationError:
        raise AssertionError("the head is good") from None
    assert seen <= len(lines)
