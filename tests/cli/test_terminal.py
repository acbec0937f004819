"""Whatever a command writes, a row, a file's name or an error cannot steer the terminal or forge a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, purchase

from airflow_provider_adjust.cli.terminal import Terminal

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
