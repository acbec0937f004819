"""Every way to fail, with marked secrets: none of them is in anything that a real Airflow writes, down to DEBUG.

Not searched are the rejected file, which holds the user's own data, and what a DAG's author puts into XCom.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote_plus

import pytest
from airflow.sdk import Connection
from airflow.sdk.log import redact
from s2s.raw_server import Connection as RawConnection
from s2s.raw_server import RawServer
from table import table

from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.ledger.schema import VERSION
from airflow_provider_adjust.sandbox import SandboxServer

pytestmark = pytest.mark.airflow

S2S_TOKEN = "mark0s2s0token7c1e"
API_TOKEN = "mark0api0token7c1e"
DEVICE_IDS = {name: f"mark-{name.replace('_', '-')}-7c1e-de71ce" for name in sorted(EVENT.device_ids)}
PERSONAL = DEVICE_IDS | {"ip_address": "203.0.113.78", "user_agent": "MarkedAgent/7.1 (one; person)"}
CALLBACK, PARTNER = "marked callback value 7c1e", "marked partner value 7c1e"

DAG = """
import json, logging, os
from dataclasses import replace
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s import LookupPolicy


class Send(AdjustSendEventsOperator):
    def send_options(self):
        return replace(super().send_options(), lookups=LookupPolicy(wait=0.1))  # the stand-in's Device API does not lag


for name in ("urllib3", "requests", "sqlalchemy", "sqlalchemy.engine", "airflow_provider_adjust"):
    logging.getLogger(name).setLevel("DEBUG")
FOLDER = Path(os.environ["TEST_FOLDER"])

with DAG(
    "every_failure",
    schedule=None,
    default_args={"retries": 0},
    user_defined_macros={"rows": lambda: (FOLDER / "good.json").read_text()},
):
    for task_id, arguments in json.loads((FOLDER / "tasks.json").read_text()).items():
        Send(task_id=task_id, **{"event_token": "f0ob4r", "id_field": "order_id"} | arguments)
"""


class Written(NamedTuple):
    """All that Airflow wrote, by where; and how each task ended."""

    texts: dict[str, str]
    states: dict[str, str]


def rows() -> list[dict[str, Any]]:
    start = datetime.now(UTC) - timedelta(hours=1)
    return [
        {
            "order_id": f"o-{number}",
            "created_at": (start + timedelta(seconds=number)).isoformat(),
            "revenue": "1.25",
            "currency": "EUR",
            **PERSONAL,
            "callback_params": {"customer": CALLBACK},
            "partner_params": json.dumps({"customer": PARTNER}),
        }
        for number in range(3)
    ]


def bad_rows() -> list[dict[str, Any]]:
    """Each personal parameter once more, in a form that is refused."""
    good = rows()[0]
    broken: list[dict[str, Any]] = [
        {name: value} for name, secret in PERSONAL.items() for value in ([secret], {"a": secret}, secret * 100)
    ]
    broken += [
        {"callback_params": f'{{"customer": "{CALLBACK}'},
        {"callback_params": {"customer": {"name": CALLBACK}}},
        {"partner_params": [PARTNER]},
        {"ip_address": "203.0.113.78:443"},
        {"revenue": "-1"},
        {"Gps_Adid": DEVICE_IDS["gps_adid"]},
        {"created_at": "yesterday"},
        {"currency": "XYZ"},
    ]
    return [good | {"order_id": f"bad-{place}"} | each for place, each in enumerate(broken)]


def echoing(status: int, *headers: str) -> Callable[[RawConnection], None]:
    """Answer with everything that was asked, credentials included."""

    def script(connection: RawConnection) -> None:
        while request := connection.read():
            sent = f"{request.line} {request.headers.get('authorization')} {request.body.decode()}"
            values = [value for _, value in parse_qsl(request.body.decode()) if value not in "1.25 EUR sandbox"]
            plain = " and ".join([S2S_TOKEN, f"Bearer {S2S_TOKEN}", *values])
            body = json.dumps({"error": f"{plain[:200]} {sent}"[:900], "message": sent}).encode()
            head = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}", f"X-Echo: {sent}", "", ""]
            connection.send("\r\n".join(head).encode() + body)

    return script


#: Those that may be green have event tokens of their own: in one lane, the order of the tasks would decide.
TASKS: dict[str, dict[str, Any]] = {
    "delivered": {"events": "good.jsonl", "responses_path": "responses.jsonl", "event_token": "f0ob4r1"},
    "rendered": {"events": "{{ rows() }}", "event_token": "f0ob4r2"},
    "no_json": {"events": "[{{ rows() }}"},
    "no_list": {"events": "{{ rows()[1:-1] }}"},
    "shown": {"events": "good.jsonl", "dry_run": True},
    "refused": {"events": "bad.jsonl", "rejected_path": "rejected.jsonl"},
    "no_order": {"events": "backwards.jsonl"},
    "wrong_token": {"events": "good.jsonl", "adjust_conn_id": "wrong"},
    "nobody_there": {"events": "good.jsonl", "adjust_conn_id": "away"},
    "no_rows": {"events": "none.jsonl"},
    "no_folder": {"events": "bad.jsonl", "rejected_path": "good.json/rejected.jsonl", "max_rejected": 999},
    "broken_ledger": {"events": "good.jsonl", "ledger_conn_id": "broken"},
    "ledger": {"events": "good.jsonl", "ledger_conn_id": "ledger", "event_token": "f0ob4r3"},
    "lost": {"events": "good.jsonl", "adjust_conn_id": "lost", "on_in_doubt": "hold", "rejected_path": "lost.jsonl"},
    "verified": {"events": "good.jsonl", "adjust_conn_id": "lost", "on_in_doubt": "verify"},
    "with_requests": {"events": "good.jsonl", "transport": "requests", "adjust_conn_id": "says_404"},
    **{
        f"echo_{status}": {"events": "good.jsonl", "adjust_conn_id": f"says_{status}"}
        for status in (200, 202, 401, 404)
    },
    "echo_503": {"events": "good.jsonl", "adjust_conn_id": "says_503"},
}
#: The only ones that may be green.
GREEN = {"delivered", "rendered", "shown", "ledger"}


def connection(host: str, token: str = S2S_TOKEN, api: str | None = None) -> str:
    extra = {"app_token": "4w565xzmb54d", "environment": "sandbox", "api_token": API_TOKEN, "api_endpoint": api or host}
    return json.dumps({"conn_type": "adjust", "host": host, "password": token, "extra": extra})


@pytest.fixture(scope="module")
def written(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("secrets")
    home = folder / "airflow"
    (home / "dags").mkdir(parents=True)
    # By SQLite itself: who opens and closes its file past it loses this process's locks on it, and it breaks.
    with (
        closing(sqlite3.connect(airflow_db / "airflow.db")) as empty,
        closing(sqlite3.connect(home / "airflow.db")) as copy,
    ):
        empty.backup(copy)
    (home / "dags" / "every_failure.py").write_text(DAG)
    files = {"good": rows(), "bad": bad_rows(), "backwards": rows()[::-1]}
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (folder / "good.json").write_text(json.dumps(rows()))
    with sqlite3.connect(folder / "broken.db") as broken:
        # It says that it has the tables, and has none.
        broken.execute("CREATE TABLE adjust_ledger_version (version INTEGER)")
        broken.execute(f"INSERT INTO adjust_ledger_version VALUES ({VERSION})")
    tasks = {
        task_id: {
            name: (folder / value).as_uri() if str(value).endswith(".jsonl") else value for name, value in each.items()
        }
        for task_id, each in TASKS.items()
    }
    (folder / "tasks.json").write_text(json.dumps(tasks))
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxServer(tokens=[S2S_TOKEN], api_tokens=["another"]))
        connections = {
            "ADJUST_DEFAULT": connection(sandbox.url),
            "WRONG": connection(sandbox.url, token=S2S_TOKEN + "x"),
            "AWAY": connection("http://127.0.0.1:9").replace('"api_token"', '"connect_timeout": 1, "api_token"'),
        }
        for status, *headers in ((200,), (202,), (401,), (404,), (503, "Retry-After: 9999")):
            server = stack.enter_context(RawServer(echoing(status, *map(str, headers))))
            connections[f"SAYS_{status}"] = connection(server.url.removesuffix("/event"))

        def reset(lost: RawConnection) -> None:
            lost.read()
            lost.reset()

        server = stack.enter_context(RawServer(reset))
        api = stack.enter_context(RawServer(echoing(500)))
        connections["LOST"] = connection(server.url.removesuffix("/event"), api=api.url.removesuffix("/event"))
        for name in ("ledger", "broken"):
            connections[name.upper()] = json.dumps({"conn_type": "sqlite", "host": str(folder / f"{name}.db")})
        environment = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "TEST_FOLDER": str(folder),
            **{f"AIRFLOW_CONN_{name}": value for name, value in connections.items()},
        }
        command = [sys.executable, "-m", "airflow", "dags", "test", "every_failure"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    for path in home.rglob("*"):
        if path.is_file() and path.suffix != ".db":
            texts[str(path.relative_to(home))] = path.read_text(errors="replace")
    texts["metadata database"] = dump(home / "airflow.db")
    texts["ledger"] = dump(folder / "ledger.db")
    with sqlite3.connect(home / "airflow.db") as database:
        states = dict(database.execute("SELECT task_id, state FROM task_instance WHERE dag_id = 'every_failure'"))
    (folder / "stdout.txt").write_text(done.stdout + done.stderr)
    return Written(texts, states)


def dump(path: Path) -> str:
    """Every row of every table, as text, whatever its columns are."""
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "\n".join(f"{table} {row}" for table in tables for row in database.execute(f'SELECT * FROM "{table}"'))


def forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, encoded, escaped, or without its hyphens; all in lower case."""
    return {form.lower() for form in (secret, quote_plus(secret), secret.replace("-", ""), json.dumps(secret)[1:-1])}


def test_every_task_ended_as_it_should(written: Written) -> None:
    ended = {task_id: state == "success" for task_id, state in written.states.items()}
    assert ended == {task_id: task_id in GREEN for task_id in TASKS}


def test_what_is_searched_is_what_was_said(written: Written) -> None:
    said = written.texts["stdout"] + written.texts["stderr"]
    for words in ("Delivery ended", "LedgerUnavailable", "StreamOutOfOrder", "DeliveryHalted", "AdjustUnreachable"):
        assert words in said
    assert "urllib3" in said, "the libraries' own debug lines must be there"
    assert "adjust_event" in written.texts["ledger"]
    assert "events (not shown: they hold device ids)" in written.texts["metadata database"]


@table(
    "secret",
    [S2S_TOKEN, API_TOKEN, *PERSONAL.values(), CALLBACK, PARTNER],
    ids=lambda secret: re.sub(r"\W", "-", secret),
)
def test_a_secret_is_nowhere(written: Written, secret: str) -> None:
    found = [
        f"{where}: …{line[max(0, at - 80) : at + 40]}…"
        for where, text in written.texts.items()
        for line in text.lower().splitlines()
        # Airflow's own line of how it learns what to mask; it stands in no task's log, only in `dags test` at DEBUG.
        if "msg=masksecret(" not in line
        for form in forms(secret)
        if (at := line.find(form)) >= 0
    ]
    assert not found, found[:3]


def test_both_tokens_of_a_connection_are_masked_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a hook of another class: only the hook has registered the secret for masking."""
    secrets = ("mark0s2s0token0of0a0backend", "mark0api0token0of0a0backend")
    given = Connection(
        conn_id="adjust_default", conn_type="adjust", password=secrets[0], extra=json.dumps({"api_token": secrets[1]})
    )
    monkeypatch.setattr(AdjustS2SHook, "get_connection", lambda *_: given)
    assert AdjustS2SHook().settings.api_token == secrets[1]
    assert redact(f"a log line with {secrets[0]} and {secrets[1]}") == "a log line with *** and ***"
