"""The contract of every endpoint. A new one needs a schema, a value, rules of the sandbox, and a sample here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import sqlalchemy as sa
from fake_transport import Answer, FakeTransport, by_outcome
from ledger_rows import end_leases
from memory_store import MemoryStore
from s2s_case import APP, NOW

from airflow_provider_adjust.s2s import (
    ENDPOINTS,
    Checkpoint,
    Endpoint,
    Event,
    EventParser,
    InvalidEvent,
    Ledger,
    Receipt,
    Route,
    RowOptions,
    Sender,
    SendOptions,
    TaskInstanceId,
    classify,
)
from airflow_provider_adjust.s2s.account.rejected import is_rejected_line, rejected_line, resubmitted_row
from airflow_provider_adjust.s2s.answers.classify import _BY_MESSAGE
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.redaction import mask_params
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sandbox.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
OK = b'{"status": "OK"}'


@dataclass(frozen=True)
class Sample:
    """A row of an endpoint that Adjust takes, and the page of the docs with its parameters."""

    row: Mapping[str, Any]
    page: str


_DEVICE = {"gps_adid": "30e31dc5-92c4-4fb5-9d25-d4a5a4e3e4c5", "created_at": NOW - timedelta(hours=1)}
SAMPLES = {
    "event": Sample(
        {**_DEVICE, "event_token": "f0ob4r", "revenue": "9.90", "currency": "EUR"}, page="reference/events.md"
    ),
    "ad_revenue": Sample(
        {**_DEVICE, "revenue": "0.0000042", "currency": "USD", "ad_impressions_count": 1}, page="guides/ad-revenue.md"
    ),
    "third_party_sharing": Sample(
        {"gps_adid": _DEVICE["gps_adid"], "sharing": "disable"}, page="guides/third-party-sharing.md"
    ),
}


@pytest.fixture(params=sorted(ENDPOINTS))
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


def test_every_endpoint_has_a_sample_and_rules_in_the_sandbox() -> None:
    assert SAMPLES.keys() == ENDPOINTS.keys()
    assert RULES.keys() == {each.path for each in ENDPOINTS.values()}


# --- what the tests share ---------------------------------------------------------------------------------------------


def rows_of(endpoint: Endpoint, count: int, **changes: Any) -> list[dict[str, Any]]:
    """Rows of one device, a second apart. Of a state, which has no time, each is another device's."""
    sample = SAMPLES[endpoint.name].row
    if endpoint.state is not None:
        return [{**sample, "gps_adid": f"device-{number}", **changes} for number in range(count)]
    start = sample["created_at"]
    return [
        {**sample, "number": f"row-{number}", "created_at": start + timedelta(seconds=number), **changes}
        for number in range(count)
    ]


def options_of(endpoint: Endpoint, **changes: Any) -> RowOptions:
    id_field = "number" if endpoint.state is None else None
    given = {"endpoint": endpoint.name, "app_token": APP, "environment": "sandbox", "id_field": id_field}
    return RowOptions(**(given | changes))


def parsed(endpoint: Endpoint, row: Mapping[str, Any], **changes: Any) -> Event:
    return EventParser(options_of(endpoint, **changes)).parse(row, now=NOW)


def sender_of(endpoint: Endpoint, transport: Any, *, at_once: int = 8, **memory: Any) -> Sender:
    route = Route(EventParser(options_of(endpoint)), Target(f"https://s2s.adjust.test{endpoint.path}"))
    return Sender({None: route}, transport, SendOptions(max_in_flight=at_once), now=lambda: NOW, **memory)


class Killed(BaseException):
    """Stands for kill -9."""


class Adjust:
    """A transport with the Adjust behind it, which takes everything, and is killed with the sender before a request."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.kill_before: int | None = None
        self._done: list[Completion] = []

    def submit(self, key: Any, target: Target, body: str) -> None:
        if self.received.total() == self.kill_before:
            raise Killed
        self.received[key.event.event_id] += 1
        self._done.append(Completion(key, 200, OK))

    def poll(self, timeout: float | None) -> list[Completion]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to free."""


def save_each(sender: Sender, rows: Any) -> None:
    """Send, and write what is known after each event."""
    for _ in sender.send(rows):
        sender.save()


@pytest.fixture
def ledger_of(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")

    def ledger_of(run: str = "run", attempt: int = 1) -> Ledger:
        return Ledger(engine, TaskInstanceId("dag", run, "send", try_number=attempt), max_resends=9, now=lambda: NOW)

    ledger_of.engine = engine  # type: ignore[attr-defined]
    yield ledger_of
    engine.dispose()


def send_through(ledger: Ledger, endpoint: Endpoint, transport: Any, rows: Any, **more: Any) -> list[Receipt]:
    sender = sender_of(endpoint, transport, ledger=ledger, **more)
    receipts = list(sender.send(rows))
    sender.save()
    ledger.end()
    ledger.close()
    return receipts


# --- the invariants ---------------------------------------------------------------------------------------------------


def test_order(endpoint: Endpoint) -> None:
    """One device's events go one after another in their order where Adjust demands that, and else at the same time."""
    transport = FakeTransport()
    rows = rows_of(endpoint, 20)[::-1]
    if endpoint.state is not None:  # in the order of the input
        rows = [
            {**row, "gps_adid": "one", "sharing": ("enable", "disable")[place % 2]} for place, row in enumerate(rows)
        ]
    assert len(by_outcome(sender_of(endpoint, transport).send(rows))["delivered"]) == 20
    assert transport.most_in_flight == (1 if endpoint.ordered else 8)
    sent = [dict(parse_qsl(body)) for body in transport.bodies]
    if endpoint.state is not None:
        assert [each[endpoint.state] for each in sent] == [row[endpoint.state] for row in rows]
    else:
        assert sent == sorted(sent, key=lambda each: int(each["created_at_unix"]))
    assert {target.url for target in transport.targets} == {f"https://s2s.adjust.test{endpoint.path}"}


def test_a_stream_is_refused_out_of_order_where_order_matters(endpoint: Endpoint) -> None:
    """If Adjust requires no order, a stream needs none either, unless equal rows are distinguished by counting."""
    has_time = endpoint.time != "none"
    for options, matters in (
        (options_of(endpoint), endpoint.ordered and has_time),
        (options_of(endpoint, id_field=None), has_time),
    ):
        parser = EventParser(options)
        rows = rows_of(endpoint, 3)
        if options.id_field is None:
            rows = [{name: value for name, value in row.items() if name != "number"} for row in rows]
        sender = Sender({None: Route(parser, Target("https://s2s.adjust.test/x"))}, FakeTransport(), now=lambda: NOW)
        if matters:
            with pytest.raises(StreamOutOfOrder):
                list(sender.send(iter(rows[::-1])))
        else:
            assert len(by_outcome(sender.send(iter(rows[::-1])))["delivered"]) == 3


def test_identity(endpoint: Endpoint) -> None:
    """An id is one event of this endpoint, app and environment; equal rows without ids are several events."""
    row = rows_of(endpoint, 1)[0]
    event = parsed(endpoint, row)
    assert event.identity[1] == endpoint.name
    others = [parsed(each, rows_of(each, 1)[0]) for each in ENDPOINTS.values() if each is not endpoint]
    others += [parsed(endpoint, row, app_token="other")]
    if "environment" in endpoint.parameters:
        others += [parsed(endpoint, row, environment="production")]
    assert event.identity not in {other.identity for other in others}
    twins = [{name: value for name, value in row.items() if name != "number"}] * 3
    parser = EventParser(options_of(endpoint, id_field=None))
    jobs = Sender({None: Route(parser, Target("https://s2s.adjust.test/x"))}, FakeTransport(), now=lambda: NOW).jobs(
        twins
    )
    assert len({job.event.event_id for job in jobs if job.event}) == (3 if endpoint.state is None else 1)


def test_masking(endpoint: Endpoint) -> None:
    """No value of a personal parameter is in what is shown of an event, nor in the refusal of its row."""
    personal = {name: f"0S3cret{place}" for place, name in enumerate(sorted(endpoint.device_ids))}
    row = {**rows_of(endpoint, 1)[0], **personal}
    if "callback_params" in endpoint.parameters:
        row["callback_params"] = {"user": "0S3cretUser"}
    event = parsed(endpoint, row)
    shown = [repr(event), str(mask_params(event.params, endpoint))]
    wrong = {
        "currency": "nothing",
        "revenue": "-1",
        "created_at": "never",
        "callback_params": "0S3cret",
        "sharing": "no",
    }
    for name, value in wrong.items():
        if name not in endpoint.parameters:
            continue
        with pytest.raises(InvalidEvent) as caught:
            parsed(endpoint, {**row, name: value})
        shown.append(caught.value.detail)
    assert len(shown) > 2
    assert [text for text in shown if re.search("0s3cret", text, re.IGNORECASE)] == []
    with pytest.raises(AdjustConfigurationError, match=r"personal data|id_field"):
        EventParser(options_of(endpoint, id_field="gps_adid"))


def test_resume(endpoint: Endpoint) -> None:
    """A retry continues where a killed try stopped, by its checkpoint."""
    rows, store, adjust = rows_of(endpoint, 12), MemoryStore(), Adjust()
    adjust.kill_before = 5
    sender = sender_of(endpoint, adjust, at_once=1, checkpoint=Checkpoint(store))
    with pytest.raises(Killed):
        save_each(sender, iter(rows))
    adjust.kill_before = None
    sender = sender_of(endpoint, adjust, at_once=1, checkpoint=Checkpoint(store))
    list(sender.send(iter(rows)))
    assert sorted(adjust.received.values()) == [1] * 12
    assert sender.sink.summary.outcomes["delivered"] == 12


def test_kill_with_a_ledger(endpoint: Endpoint, ledger_of: Any) -> None:
    """Whatever was killed and when, a later try sends the rest, and nothing twice."""
    rows, adjust = rows_of(endpoint, 12), Adjust()
    for attempt, kill_before in enumerate((0, 3, 3, 11, None), start=1):
        adjust.kill_before = kill_before
        ledger = ledger_of(attempt=attempt)
        if kill_before is not None:
            sender = sender_of(endpoint, adjust, at_once=1, ledger=ledger)
            with pytest.raises(Killed):
                save_each(sender, rows)
            ledger.close()
            end_leases(ledger_of.engine)
            continue
        send_through(ledger, endpoint, adjust, rows)
    assert sorted(adjust.received.values()) == [1] * 12


def test_the_ledger(endpoint: Endpoint, ledger_of: Any) -> None:
    """Delivered events are not sent again; the same ids at another endpoint are other events; a corrected row is reported."""
    for each in ENDPOINTS.values():
        assert (
            len(by_outcome(send_through(ledger_of("first"), each, FakeTransport(), rows_of(each, 3)))["delivered"]) == 3
        )
    again = FakeTransport()
    receipts = send_through(ledger_of("second"), endpoint, again, rows_of(endpoint, 4))
    assert len(by_outcome(receipts)["skipped"]) == 3
    assert again.positions == [4]
    if endpoint.amounts:
        other = "9.91" if endpoint.min_amount else "0.0000049"
        corrected = rows_of(endpoint, 1, **{endpoint.amounts[0]: other})
        [receipt] = send_through(ledger_of("third"), endpoint, FakeTransport(), corrected)
        assert receipt.reason == "differs_from_delivered"
    with ledger_of.engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT endpoint, event_token FROM adjust_delivery")).all()
    tokens = {(name, token) for name, token in kept if name == endpoint.name}
    assert tokens == {(endpoint.name, "f0ob4r" if endpoint.has_tokens else "")}


def test_the_rejected_file_round_trip(endpoint: Endpoint) -> None:
    """A resubmitted line of the rejected file is the same event with the same id, whatever the names of its columns."""
    row = {**rows_of(endpoint, 1)[0], "device": SAMPLES[endpoint.name].row["gps_adid"]}
    del row["gps_adid"]
    mapped = {"column_map": {"device": "gps_adid"}}
    for changes in ([mapped] if endpoint.state is None else []) + [{**mapped, "id_field": None}]:
        given = {name: value for name, value in row.items() if name != "number" or "id_field" not in changes}
        parser = EventParser(options_of(endpoint, **changes))
        error = f"{RULES[endpoint.path].failure} (Device not found)"
        refusing = FakeTransport(otherwise=Answer(404, json.dumps({"error": error})))
        sender = Sender({None: Route(parser, Target("https://s2s.adjust.test/x"))}, refusing, now=lambda: NOW)
        [receipt] = sender.send([given])
        assert receipt.reason == "device_not_found"
        line = json.loads(rejected_line(receipt, parser.columns))
        assert is_rejected_line(line)
        back = EventParser(options_of(endpoint)).parse(resubmitted_row(line), now=NOW)
        assert receipt.event is not None
        assert (back.params, back.event_id) == (receipt.event.params, receipt.event.event_id)


def test_answers(endpoint: Endpoint) -> None:
    """Adjust's messages mean the same in this endpoint's words: in any case, and with a second pair of brackets."""
    for message, outcome, reason in _BY_MESSAGE:
        for words in (message, message.upper(), message.capitalize()):
            text = f"{RULES[endpoint.path].failure} ({words}) (app_token:{APP})"
            verdict = classify(400, json.dumps({"error": text}))
            assert (verdict.outcome, verdict.reason) == (outcome, reason), text
    assert classify(200, OK).outcome.value == "delivered"
    unknown = classify(400, json.dumps({"error": f"{RULES[endpoint.path].failure} (something new)"}))
    assert unknown.reason == "http_400"


def test_dry_run(endpoint: Endpoint) -> None:
    """What would be sent is known without sending it."""
    transport = FakeTransport()
    rows = [*rows_of(endpoint, 2), *rows_of(endpoint, 1, gps_adid=None)]
    jobs = list(sender_of(endpoint, transport).jobs(rows))
    assert sorted(getattr(job, "reason", "valid") for job in jobs) == ["missing_device_id", "valid", "valid"]
    assert transport.sent == []


def test_first_contact(endpoint: Endpoint) -> None:
    """A source is refused for its columns before a row is read, by this endpoint's rules."""
    names = list(rows_of(endpoint, 1)[0])
    check_columns(names, "the sql", options_of(endpoint))
    for missing in sorted({"gps_adid", "created_at", "currency", "sharing"}.intersection(names)):
        with pytest.raises(AdjustConfigurationError, match="missing: "):
            check_columns([name for name in names if name != missing], "the sql", options_of(endpoint))


def test_the_docs(endpoint: Endpoint) -> None:
    """A page has the table of the endpoint's parameters."""
    page = (ROOT / "docs" / SAMPLES[endpoint.name].page).read_text(encoding="utf-8")
    assert [name for name in endpoint.parameters if f"| `{name}` |" not in page] == []
    assert endpoint.path in page


def test_the_sandbox(endpoint: Endpoint, adjust_sandbox: SandboxServer) -> None:
    """What the parser takes the sandbox takes; what either's rules demand, the sandbox misses."""
    adjust_sandbox.configure(clock=NOW.timestamp)
    url = adjust_sandbox.url + endpoint.path
    params = parsed(endpoint, rows_of(endpoint, 1)[0]).params
    assert requests.post(url, data=params, timeout=5).json() == {"status": "OK"}
    demanded = {*endpoint.rules.required, "gps_adid"} - {
        "environment",
        "created_at_unix",
    }  # Adjust does not demand these
    for name in demanded:
        answer = requests.post(url, data={key: each for key, each in params.items() if key != name}, timeout=5)
        assert classify(answer.status_code, answer.content).outcome.value in {"rejected", "halt"}, name
    assert adjust_sandbox.stats()["by_endpoint"] == {endpoint.name: 1}
