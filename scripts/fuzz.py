"""Search for a row, a file or an answer that is neither accepted nor refused with a reason; coverage guides it (atheris).

    python scripts/fuzz.py parse --seconds 600
    python scripts/fuzz.py csv --seconds 600
    python scripts/fuzz.py jsonl --seconds 600
    python scripts/fuzz.py classify --seconds 600

`parse` makes an event of a row and checks what would be sent; `csv` and `jsonl` read the bytes of a file between rows that
must not get lost in it; `classify` reads answers. A finding is written to a file, its name is printed, and the run fails.
Needs the group `fuzz`; atheris has wheels for Linux.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import atheris

from airflow_provider_adjust.s2s import RowOptions

with atheris.instrument_imports(include=["airflow_provider_adjust"]):
    from airflow_provider_adjust.files.csv_rows import csv_rows
    from airflow_provider_adjust.files.json_rows import json_lines
    from airflow_provider_adjust.s2s.account.rejected import rejected_line, response_line
    from airflow_provider_adjust.s2s.answers.classify import classify
    from airflow_provider_adjust.s2s.answers.outcome import Outcome
    from airflow_provider_adjust.s2s.answers.receipt import Receipt
    from airflow_provider_adjust.s2s.checkpoint import Checkpoint
    from airflow_provider_adjust.s2s.delivery.intake import Intake
    from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
    from airflow_provider_adjust.s2s.errors import InputUnreadable
    from airflow_provider_adjust.s2s.events.parser import EventParser
    from airflow_provider_adjust.s2s.events.rows import UnreadableRow

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_GOOD: dict[str, Any] = {
    "app_token": "abc123abc123",
    "event_token": "f0ob4r",
    "environment": "sandbox",
    "created_at": NOW.timestamp(),
    "gps_adid": "3f0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8",
    "order_id": "o-1",
}
#: The first inputs, which the fuzzer changes, cuts and crosses.
_ROWS = [
    *({name: next(iter(parameter.choices), "1")} for name, parameter in EVENT.parameters.items()),
    {"revenue": 12.5, "currency": "EUR", "event": "purchase", "order_id": 7, "extra": None},
    {"callback_params": {"a": [1, "x", None], "b": True}, "partner_params": '{"a": "1"}'},
    {"created_at": "2026-05-01T12:00:00.5+02:00", "ip_address": "2001:db8::1"},
    {"created_at": "2026-05-01 11:00:00.250 UTC", "ip_address": "::ffff:192.0.2.1", "tracking_enabled": "t"},
    {"callback_params": [["a", "1"], {"key": "b", "value": 2}], "partner_params": {"v": {"f": [{"v": "1"}]}}},
    {"gps_adid": "null", "idfa": "0-0", "event_token": "None", "order_id": "N/A", "session_count": "5.0"},
]
_ANSWERS = [
    '200\n\n{"status": "OK", "skan": {"conversion_value": 1}}',
    '400\n\n{"error": "Event request failed (Ignoring event, earlier unique event tracked)"}',
    '404\n\n{"error": "Event request failed (Device not found) (adid: 3f0b2f6c-8a51)"}',
    '429\n120\n{"error": "Too many requests", "retry_in": 5000}',
    "503\nFri, 01 May 2026 12:00:00 GMT\n<html>",
    '202\n\n{"message": "Wrong authentication token: \'x\' from 192.0.2.1"}',
]
#: After the first byte, which chooses the escape character: quotes that are closed, open, within, doubled and escaped.
_CSV = [
    '0"a, b",c,d\n"a\nb",c,d\n',
    '0"10 inch,c,d\na,12",d\n',
    '0a,10" tablet,d\n"a ""b""",c,"d"\n',
    '0a,"b\\"\n"c\\",d"\n',
    '1"say \\"hi\\"",a\\,b,\\N\nmy\\\nphone,b,c\n',
    "2a,b\na,b,c,d\n\n \n",
]
_JSONL = [
    '{"a": 1}{"b": 2} {"c": [1, null, "x"]}\n',
    '{"a": 1, "a": 2}\n{"c": {"d": 1, "d": 2}}\n',
    '{"a": 1}\r\n[]\n7 8\n{"a"\n',
]
#: What the tests read a file's rows between.
_MARK = "M"
_MARKED_LINE = f"{_MARK},{_MARK},{_MARK}"
#: The outcomes of the inputs.
ends: Counter[str] = Counter()


class _Nowhere:
    """A checkpoint's store that forgets."""

    def load(self) -> None:
        return None

    def save(self, state: dict[str, Any]) -> None:
        json.dumps(state)


def parse(data: bytes) -> None:
    """Parse a good row that the input changes or, where the input is not an object, the input itself."""
    row: Any
    try:
        row = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        row = UnreadableRow("the line is not JSON")
    if isinstance(row, dict):
        row = _GOOD | {"order_id": "o-2"} | row
    parser = EventParser(
        RowOptions(
            id_field="order_id",
            event_id_param="event_id",
            extra_params=["extra"],
            event_tokens={"purchase": "f0ob4r"},
            max_revenue={"EUR": 1000},
        )
    )
    items = Checkpoint(_Nowhere()).resume(Intake({None: parser}, now=lambda: NOW).sorted([_GOOD, row]))
    _, item = sorted(items, key=lambda each: each.position)
    line = rejected_line(item if isinstance(item, Receipt) else Receipt(Outcome.HELD, "", "", 2, row=item.row))
    assert line.isascii()
    assert line.isprintable()
    if isinstance(item, Receipt):
        ends[item.reason] += 1
        assert item.detail.isprintable()
        assert len(item.detail) < 1000
    else:
        ends["event"] += 1
        sent = parse_qsl(item.event.body, keep_blank_values=True, strict_parsing=True)
        assert dict(sent) == item.event.params
        assert len(sent) == len(item.event.params)


def csv(data: bytes) -> None:
    """Read a CSV file of the input's lines with a marked row after each.

    No value holds a marked row; each line is at most one row or one refusal; a file ends early only as documented.
    """
    escape_char = (None, "\\", '"')[data[0] % 3] if data else None
    lines = data[1:].split(b"\n")
    marked = b"".join(line + b"\n" + _MARKED_LINE.encode() + b"\n" for line in lines)
    file = _text(b"order_id,device_name,currency\n" + marked)
    most = len(re.split(r"\r\n|\r|\n", file.read()))
    file.seek(0)
    count, ended = 0, None
    try:
        for row in csv_rows(file, "the file", RowOptions(escape_char=escape_char)):
            count += 1
            if isinstance(row, UnreadableRow):
                ends["refused"] += 1
                assert row.problem.isprintable()
                assert "line " in row.problem
            else:
                ends["row"] += 1
                assert list(row) == ["order_id", "device_name", "currency"]
                assert not any(_MARKED_LINE in value for value in row.values())
    except InputUnreadable as error:
        ends["ended"] += 1
        ended = str(error)
    assert ended is None or ended.startswith("line ")
    assert count < most


def jsonl(data: bytes) -> None:
    """Read a JSON Lines file of the input's lines with a marked row after each. No marked row is lost or changed."""
    mark = {"order_id": _MARK}
    marked = json.dumps(mark).encode() + b"\n"
    lines = data.split(b"\n")
    found = 0
    for row in json_lines(_text(marked + b"".join(line + b"\n" + marked for line in lines)), "the file"):
        found += row == mark
        if isinstance(row, UnreadableRow):
            ends[row.reason] += 1
            assert row.problem.isprintable()
            assert row.problem.startswith("line ")
        else:
            ends[type(row).__name__] += 1
    assert found >= len(lines) + 1


def _text(content: bytes) -> io.TextIOWrapper:
    """A file as an event file is opened."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape", newline="")


def answer(data: bytes) -> None:
    """Classify an answer: the status on a line, the wait on the next, then a body of any bytes."""
    status, _, rest = data.partition(b"\n")
    retry_after, _, body = rest.partition(b"\n")
    number = int(status) if status.isdigit() and len(status) == 3 else 200
    verdict = classify(number, body, retry_after=retry_after.decode("latin-1") or None)
    ends[verdict.outcome.value] += 1
    assert verdict.message.isprintable()
    assert len(verdict.message) <= 300
    assert verdict.retry_after is None or verdict.retry_after >= 0
    assert verdict.outcome is not Outcome.DELIVERED or number == 200
    assert response_line(Receipt(verdict.outcome, verdict.reason, "", 1, answer=body)).isprintable()
    assert "3f0b2f6c" not in verdict.message


#: Each subject's test, and its first inputs.
_SUBJECTS: dict[str, tuple[Callable[[bytes], None], list[str]]] = {
    "parse": (parse, [json.dumps(row) for row in _ROWS]),
    "csv": (csv, _CSV),
    "jsonl": (jsonl, _JSONL),
    "classify": (answer, _ANSWERS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=_SUBJECTS)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    test, seeds = _SUBJECTS[arguments.subject]
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_text(seed)
    started = time.monotonic()

    def end(code: int) -> None:
        seconds = time.monotonic() - started
        print(f"{ends.total():,} inputs in {seconds:.0f} s: {dict(ends.most_common(20))}", flush=True)
        shutil.rmtree(corpus)
        os._exit(code)  # libFuzzer takes any other end for a finding

    def until_the_end(data: bytes) -> None:
        if time.monotonic() - started > arguments.seconds:
            end(0)
        try:
            test(data)
        except BaseException:
            shutil.rmtree(corpus)  # the finding is beside it
            raise

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end(130))
    options = ["-max_len=4000", "-timeout=20", "-handle_int=0", "-handle_term=0", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], until_the_end)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
