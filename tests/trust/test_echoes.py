"""A server that repeats what was sent, in any spelling: no log, error, file, report or command shows it."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import pytest
from operators.adjust_account import EVENT_TOKEN, Connect, Said, purchase
from operators.sending import lines, operator
from s2s.echoes import PLACES, SPELLINGS

from airflow_provider_adjust.__main__ import main

#: Values of one person. No word of them is one that a message has by itself.
VALUES = {
    "gps_adid": "de71ce00-0000-4000-8000-0000000000aa",
    "ip_address": "203.0.113.77",
    "user_agent": "Qwertz Uiopü/7.1 (Xyzzy <Plugh>; fr_FR)",
    "callback_params": json.dumps({"who": "Jürgen Möllerström", "mail": "jmoe@mail.example"}),
    "device_name": "Zaphod's Phöne",
}
#: What of the values, in whatever spelling, would be recognised.
MARKS = (
    "de71",
    "ce00",
    "00aa",
    "203.0",
    "113.77",
    "qwertz",
    "uiop",
    "xyzzy",
    "plugh",
    "rgen",
    "llerstr",
    "jmoe",
    "zaphod",
)


class _Echo(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        place, spelling = self.answer
        sent = " ".join([*dict(parse_qsl(body)).values(), self.headers.get("Authorization", "")])
        status, text, content_type = PLACES[place](SPELLINGS[spelling](sent))
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        if content_type:
            self.send_header(
                "Content-Type", " ".join(content_type.encode("latin-1", "replace").decode("latin-1").split())
            )
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo() -> Iterator[tuple[str, type[_Echo]]]:
    handler = type("Echo", (_Echo,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


def reveals(text: str) -> list[str]:
    lowered = text.lower()
    return [mark for mark in (*MARKS, "s2stoken") if mark in lowered]


@pytest.mark.parametrize("place", ["bracket", "a 200", "page", "content type alone"])
def test_no_echo_is_shown(
    connect: Connect,
    said: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    shown: list[str] = []
    with echo() as (url, handler):
        connect(url)
        (tmp_path / "rows.jsonl").write_text(json.dumps(purchase(1, **VALUES)))
        for number, spelling in enumerate(
            ("as sent", "percent", "HTML", "JSON twice", "escapes", "tabs", "ended", "in groups")
        ):
            handler.answer = place, spelling
            rejected = tmp_path / f"{number}.jsonl"
            task = operator([purchase(1, **VALUES)], rejected_path=str(rejected))
            with pytest.raises(Exception) as failed:
                task.execute({})
            shown += traceback.format_exception(failed.value)
            for line in lines(rejected) if rejected.exists() else []:
                shown.append(
                    json.dumps({name: value for name, value in line.items() if name != "row"}, ensure_ascii=False)
                )
        with pytest.raises(SystemExit):
            main(["send", str(tmp_path / "rows.jsonl"), "--event-token", EVENT_TOKEN, "--id-field", "order_id"])
    shown += [*capsys.readouterr(), str(said)]
    assert reveals("\n".join(shown)) == []
