"""Whatever a command writes, a row, a file's name or an error cannot steer the terminal or forge a line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, purchase

from airflow_provider_adjust.cli.definition import ADJUST
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.cli.words import Words
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

Cli = Callable[..., Any]
FileOf = Callable[..., Path]
HOSTILE = "o-1\x1b]0;OWNED\x07\x1b[2J\x1b[31m\u202eall rows are valid\nexit 0\r\x85\u2028[/]"
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")


def is_harmless(text: str) -> bool:
    """Only line ends, and Rich's own colours, are left of what is not printable."""
    lines = text.split("\n")
    if any(line.startswith(("exit 0", "all rows")) for line in lines):
        return False
    allowed = "".join(lines)
    for colour in range(110):
        for code in (f"\x1b[{colour}m", f"\x1b[1;{colour}m"):
            allowed = allowed.replace(code, "")
    return allowed.isprintable()


@pytest.mark.parametrize("is_terminal", [False, True], ids=["a pipe", "a terminal"])
def test_no_row_steers_the_terminal(
    cli: Cli, file_of: FileOf, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
    good = purchase(1, order_id=HOSTILE, device_name=HOSTILE, os_name="ios") | {HOSTILE: HOSTILE}
    bad = [
        purchase(2, order_id=HOSTILE, currency=HOSTILE),
        purchase(3, event=HOSTILE),
        purchase(4, created_at=HOSTILE),
        purchase(5) | {HOSTILE + "2": 1},
    ]
    for command in ("validate", "preview"):
        done = cli(command, file_of(purchase(1, order_id=HOSTILE), good, *bad, name="ro\x1b[2Jws.jsonl"), *EVENT)
        assert "o-1" in done.out
        assert is_harmless(done.out), ascii(done.out)
        assert is_harmless(done.err), ascii(done.err)
    done = cli("validate", f"/nowhere/{HOSTILE}.jsonl", *EVENT)
    assert done.err
    assert is_harmless(done.err), ascii(done.err)


def test_everything_that_a_terminal_writes_is_made_printable(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.say(HOSTILE, HOSTILE)
    terminal.complain(ValueError(HOSTILE))
    terminal.trace(f"Traceback\n{HOSTILE}")
    terminal.table(HOSTILE, ("a", "b"), [(HOSTILE, "x" * 5000)])
    with terminal.progress(HOSTILE, 3):
        pass
    out, err = capsys.readouterr()
    assert is_harmless(out), ascii(out)
    assert "\x1b" not in err
    assert "OWNED" in out
    assert "OWNED" in err
    assert max(map(len, out.splitlines())) < 2500


def test_messages_name_flags_and_leave_what_is_quoted() -> None:
    by_name = {each.name: each for each in ADJUST.commands}
    send, prune = by_name["send"], by_name["files"].commands[0]  # type: ignore[union-attr]
    words = Words(send)  # type: ignore[arg-type]
    for text, said in (
        ("name it in extra_params.", "name it in --extra-params."),
        ("ignore_columns is *; see id_field", "--ignore-columns is *; see --id-field"),
        ("unknown columns: 'extra_params', 'id_field'", "unknown columns: 'extra_params', 'id_field'"),
        ("/tmp/rejected_path.jsonl and rejected_path.jsonl", "/tmp/rejected_path.jsonl and rejected_path.jsonl"),
        # Adjust's parameters, which are columns, and an argument that the command does not have.
        ("the event has no event_token, app_token", "the event has no event_token, app_token"),
        ("route_by needs a mapping", "route_by needs a mapping"),
        ("missing: event_token; set it in the operator, or select it", "missing: event_token; give --event-token, or select it"),
        ("in the connection, the operator or the row", "in the connection, the command line or the row"),
        ('meant: column_map={"a b": "idfa", "x": "adid"}', "meant: --column-map 'a b=idfa' --column-map x=adid"),
        ('  drop: ignore_columns=["a", "b"]\n  more', "  drop: --ignore-columns a --ignore-columns b\n  more"),
        ('if it identifies a row: id_field="order_id"', "if it identifies a row: --id-field order_id"),
        ("column_map={broken", "--column-map={broken"),
    ):  # fmt: skip
        assert words.of(text) == said
    assert Words(prune).of("older_than is 5 days") == "--older-than-days is 5 days"  # type: ignore[arg-type]
    assert Words().of("id_field") == "id_field"


def test_an_error_of_the_provider_has_no_class_name_and_its_list_has_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.complain(AdjustConfigurationError("two things:\n  one\n  two\nforged"))
    terminal.complain(EOFError("broken off"))
    assert capsys.readouterr().err == "Error: two things:\n  one\n  two\\nforged\nEOFError: broken off\n"


def test_a_narrow_terminal_breaks_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "60", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    words = (
        "12 device_not_found, 1,200.50 USD: a retry cannot help; check environment and app token, and look at the row"
    )
    path = f"/a/folder/{'x' * 70}.jsonl"
    terminal.say(words, f"  {words}", f"see {path}")
    terminal.table("T", ("reason", "row", "what to do"), [("invalid: invalid_currency", "1,000", words)])
    terminal.complain(AdjustConfigurationError(words))
    out, err = capsys.readouterr()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out + err)
    assert path in plain
    for line in plain.splitlines():
        assert len(line) <= 60 or path in line
        for word in line.strip("│ ").split():
            assert (
                path in line
                or word.strip("│") in f"{words} see T reason row what to do Error: invalid: invalid_currency 1,000"
                or set(word) <= set("╭─┬╮├┼┤╰┴╯│")
            )
