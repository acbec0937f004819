"""Digests of what rows hold have a key, and a key may be changed: every event is recognised, and none is sent twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from effort import examples
from fake_transport import LOST, OK, UNKNOWN_DEVICE, WRONG_TOKEN, Answer, FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore
from s2s_case import GPS_ADID, NOW, parse, row

from airflow_provider_adjust.s2s import EVENT, Checkpoint, EventParser, Retries, Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import receipt_for
from airflow_provider_adjust.s2s.delivery.intake import row_digest
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    CheckpointMismatch,
    DeliveryStopped,
    LedgerUnavailable,
)
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKey, DigestKeys
from airflow_provider_adjust.s2s.events.parser import parse_event
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.ledger.erase import erase
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.records import Content, compare_content, content_digest
from airflow_provider_adjust.s2s.ledger.schema import STATUSES, database_now, events, tries, versions
from airflow_provider_adjust.s2s.ledger.tries import Holder, TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target

OLD, NEW, OTHER = b"the key of last year, long enough", b"the key of this year, long enough", b"nobody knows this one"
HOLDER = Holder(1, "dag", "run", "task", -1, 1, False)
SMALLEST = {"app_token": ..., "event_token": ..., "environment": ...}
_OPTIONS: dict[str, Any] = {"app_token": "app1", "event_token": "event1", "environment": "sandbox"}


def make_rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        row(created_at=NOW - timedelta(hours=5, seconds=-place), gps_adid=f"d-{place}", **SMALLEST, **more)
        for place in range(count)
    ]


def send(
    rows: list[Any],
    keys: Any,
    *,
    engine: sa.Engine | None = None,
    checkpoint: MemoryStore | None = None,
    transport: FakeTransport | None = None,
    run: str = "run",
    routes: dict[str | None, Any] | None = None,
    options: dict[str, Any] | None = None,
    task: str = "send",
    **sending: Any,
) -> tuple[DeliverySummary, list[int]]:
    """Send the rows with the keys; the summary, and the positions of what was sent."""
    transport = transport or FakeTransport()
    target = Target("http://127.0.0.1/event")
    ledger = (
        Ledger(
            engine,
            TaskInstanceId("dag", run, task),
            now=lambda: NOW,
            **{name: sending[name] for name in ("on_in_doubt", "id_scope") if name in sending},
        )
        if engine
        else None
    )
    try:
        made = {
            name: Route(
                EventParser(RowOptions(**_OPTIONS | (options or {})), ignored=("os",), digest_keys=each), target
            )
            for name, each in (routes or {None: keys}).items()
        }
        sender = Sender(
            made,
            transport,
            SendOptions(retries=Retries(attempts=2, jitter=lambda: 0.0), **sending),
            route_by="os" if routes else None,
            ledger=ledger,
            checkpoint=Checkpoint(checkpoint) if checkpoint else None,
            now=lambda: NOW,
        )
        try:
            list(sender.send(rows))
        finally:
            sender.save()
        return sender.sink.summary, transport.positions
    finally:
        if ledger:
            ledger.end()
            ledger.close()


def recorded(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {each.event_id: STATUSES[each.status] for each in connection.execute(sa.select(events))}


# -- digests -------------------------------------------------------------------------------------------------------------


def test_without_a_key_digests_are_those_of_older_versions() -> None:
    event = parse(revenue="9.90", currency="USD")
    assert event.event_id == "6bed709b09bb786013b96c088db4aec4"
    as_kept = repr(sorted(event.params.items()))
    assert content_digest(event, UNKEYED) == UNKEYED.content(as_kept) == 8560291187407131907
    assert row_digest(row(created_at="x")) == "3ff684b5b6736c5f393a4044cbbde3c3"


def test_the_event_id_that_is_sent_along_does_not_count_as_content() -> None:
    """The default of event_id_param was none; a digest of then, or one made with another key, is the same event's."""
    keys = DigestKeys(NEW)
    changes: dict[str, Any] = {"revenue": "9.90", "currency": "USD", "callback_params": {"a": "b"}}
    then, named, now = (parse({"event_id_param": name}, **changes) for name in (None, "order", "event_id"))
    other = parse({"event_id_param": "event_id"}, **{**changes, "callback_params": {"a": "c"}})
    digests = {content_digest(each, keys.newest) for each in (then, named, now)}
    assert len(digests) == 1
    assert content_digest(other, keys.newest) not in digests
    # What an older version, which was told to send the id, has written down.
    as_sent = SimpleNamespace(content=-8933541072909292594)
    event = parse({"event_id_param": "event"}, revenue="9.90", currency="USD")
    assert compare_content(event, as_sent, HOLDER, DigestKeys()) is Content.SAME
    assert compare_content(now, as_sent, HOLDER, DigestKeys()) is Content.OTHER


def test_a_digest_is_that_of_keyed_blake2() -> None:
    """Written down once more, without the code that it checks."""
    secret = blake2b(NEW, digest_size=32, person=b"adjust-digests").digest()
    unkeyed_id = parse().event_id
    expected = blake2b(unkeyed_id.encode(), key=secret, digest_size=16, person=b"event-id").hexdigest()
    keyed = parse_event(row(), now=NOW, digest_keys=NEW)
    assert keyed.event_id == expected
    assert keyed.unkeyed_id == unkeyed_id
    text = repr(sorted((keyed.own_params or {}).items()))
    digest = blake2b(text.encode(), key=secret, digest_size=16, person=b"content").digest()
    assert content_digest(keyed, DigestKey.of(NEW)) == int.from_bytes(digest[:8], "big", signed=True)


@settings(max_examples=examples(50))
@given(secrets=st.lists(st.binary(min_size=1, max_size=200), min_size=2, max_size=5, unique=True), text=st.text())
def test_digests_of_two_keys_and_two_purposes_never_meet(secrets: list[bytes], text: str) -> None:
    keys = [*(DigestKey.of(secret) for secret in secrets), UNKEYED]
    text = text.encode("utf-8", "backslashreplace").decode()
    digests = []
    for key in keys:
        fingerprint = key.fingerprint()
        fingerprint.update(text.encode())
        digests += [key.row(text), *([] if key is UNKEYED else [key.event_id(text), fingerprint.hexdigest()])]
        assert key.row(text) == fingerprint.hexdigest() or key is not UNKEYED, (
            "one digest for all, as older versions had"
        )
    assert len(set(digests)) == len(digests)
    assert len({key.content(text) for key in keys}) == len({key.id for key in keys}) == len(keys)


@settings(max_examples=examples(50))
@given(older=st.permutations([OLD, OTHER, b"a", b"b" * 500]))
def test_ids_are_made_with_the_newest_key_in_whatever_order_the_older_ones_are(older: list[bytes]) -> None:
    alone = parse_event(row(), now=NOW, digest_keys=NEW)
    assert parse_event(row(), now=NOW, digest_keys=[NEW, *older, NEW]).event_id == alone.event_id
    assert parse_event(row(), now=NOW, digest_keys=[older[0], NEW]).event_id != alone.event_id
    keys = DigestKeys([NEW, *older, NEW])
    assert len(keys.all) == len(older) + 2
    assert keys.all[-1] is UNKEYED


def test_an_empty_key_is_refused_and_no_key_is_shown() -> None:
    for given_keys in (b"", [NEW, b""]):
        with pytest.raises(AdjustConfigurationError, match="a digest key is empty"):
            DigestKeys(given_keys) if given_keys else DigestKeys([b""])
    parser = EventParser(RowOptions(), digest_keys=NEW)
    assert NEW.decode() not in repr(vars(parser))


def test_equal_rows_and_rows_that_are_not_events_have_keyed_names() -> None:
    parser = EventParser(RowOptions(), digest_keys=NEW)
    first, second = (parser.parse(row(), now=NOW, count_equal=lambda *_, n=n: n) for n in (0, 1))
    unkeyed = EventParser(RowOptions()).parse(row(), now=NOW, count_equal=lambda *_: 1)
    assert second.unkeyed_id == unkeyed.event_id
    assert len({first.event_id, second.event_id, unkeyed.event_id}) == 3
    invalid = row(created_at="yesterday")
    assert row_digest(invalid, DigestKey.of(NEW)) != row_digest(invalid)
    _, sent = send([row(**SMALLEST, created_at="yesterday")], NEW)
    assert sent == []


def test_the_content_under_an_older_key_has_the_id_that_was_sent_then() -> None:
    """An older version took it for content, and under another key it was another id."""
    options, keys = RowOptions(event_id_param="event"), [NEW, OLD]
    now = parse_event(row(), options, now=NOW, digest_keys=keys)
    for key, made_with in ((DigestKey.of(OLD), OLD), (UNKEYED, ())):
        then = parse_event(row(), options, now=NOW, digest_keys=made_with)
        record = SimpleNamespace(content=key.content(repr(sorted(then.params.items()))))
        assert compare_content(now, record, HOLDER, DigestKeys(keys)) is Content.SAME
        assert then.event_id != now.event_id


# -- the ledger ----------------------------------------------------------------------------------------------------------


def test_a_second_delivery_with_the_new_key_and_the_old_one_sends_nothing(ledger_engine: sa.Engine) -> None:
    rows = make_rows(5, callback_params={"a": "b"})
    options = {"event_id_param": "event"}
    _, sent = send(rows, OLD, engine=ledger_engine, run="1", options=options)
    assert sent == [1, 2, 3, 4, 5]
    for place, keys in enumerate(([NEW, OLD], [NEW, OTHER, OLD], [OTHER, NEW, OLD], OLD), start=2):
        summary, sent = send(rows, keys, engine=ledger_engine, run=str(place), options=options)
        assert (summary.reasons, sent) == (Counter({("skipped", "delivered_before"): 5}), [])
    # A clear of the first run: its result covers all tries.
    summary, sent = send(rows, [NEW, OLD], engine=ledger_engine, run="1", options=options)
    assert (summary.outcomes, sent) == (Counter(delivered=5), [])
    summary, sent = send([*rows, rows[0]], [NEW, OLD], engine=ledger_engine, run="1", options=options)
    assert (summary.outcomes, sent) == (Counter(delivered=6 - 1 + 1), [6]), "two equal purchases are two"


def test_a_key_that_is_not_known_any_more_sends_nothing_where_ids_are_digests(ledger_engine: sa.Engine) -> None:
    rows = make_rows(3)
    send(rows, OLD, engine=ledger_engine, run="1")
    for keys in (NEW, (), [NEW, OTHER]):
        transport = FakeTransport()
        with pytest.raises(AdjustConfigurationError, match=r"earlier digest_key, or S2S token, last in .*digest_key"):
            send(rows, keys, engine=ledger_engine, run="2", transport=transport)
        assert transport.positions == []
    # It can be got out of: with the older key, ...
    assert send(rows, [NEW, OLD], engine=ledger_engine, run="2")[1] == []
    # ... or, where nobody has it, by a word to the ledger;
    with ledger_engine.begin() as connection:
        made_with = connection.execute(tries.update().values(digest_keys="")).rowcount
    assert made_with
    assert send(make_rows(4)[3:], b"found", engine=ledger_engine, run="after")[1] == [1]
    # what has an id of its own does not depend on a key.
    with_ids = [each | {"order": str(place)} for place, each in enumerate(rows)]
    for keys in (OLD, NEW):
        _, sent = send(with_ids, keys, engine=ledger_engine, run=f"3 {keys!r}", options={"id_field": "order"})
    assert sent == []


def test_it_does_not_matter_which_task_made_the_ids(ledger_engine: sa.Engine) -> None:
    """A backfill, or the command line, sends the same events."""
    rows = make_rows(2)
    send(rows, OLD, engine=ledger_engine, run="1")
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        send(rows, NEW, engine=ledger_engine, run="2", task="backfill")
    assert send(rows, [NEW, OLD], engine=ledger_engine, run="3", task="backfill")[1] == []


def test_each_app_of_several_needs_its_own_earlier_key(ledger_engine: sa.Engine) -> None:
    rows = [each | {"os": ("ios", "android")[place % 2]} for place, each in enumerate(make_rows(4))]
    apps = [each | {"app_token": f"{each['os']}app"} for each in rows]
    ios, android = OLD, OTHER
    assert len(send(apps, None, engine=ledger_engine, run="1", routes={"ios": ios, "android": android})[1]) == 4
    # The keeper took one old key for both.
    mixed_up: dict[str | None, Any] = {"ios": [NEW, ios], "android": [NEW, ios]}
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        send(apps, None, engine=ledger_engine, run="2", routes=mixed_up)
    right: dict[str | None, Any] = {"ios": [NEW, ios], "android": [NEW, android]}
    assert send(apps, None, engine=ledger_engine, run="3", routes=right)[1] == []


def test_a_task_of_one_app_needs_no_key_of_another_app(ledger_engine: sa.Engine) -> None:
    """A backfill of one app beside a task of two."""
    rows = [each | {"os": ("ios", "android")[place % 2]} for place, each in enumerate(make_rows(4))]
    send(rows, None, engine=ledger_engine, run="1", routes={"ios": OLD, "android": OTHER})
    assert send(make_rows(5)[4:], OLD, engine=ledger_engine, run="2", task="backfill")[1] == [1]
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        send(make_rows(6)[5:], NEW, engine=ledger_engine, run="3", task="backfill")


@pytest.mark.parametrize("status", ["delivered", "in doubt"])
def test_a_rejected_line_is_its_event_whatever_key_made_its_id(ledger_engine: sa.Engine, status: str) -> None:
    """A file is corrected and sent after the key was changed; files of older versions have ids without a key."""
    [given] = make_rows(1)
    of_key = {keys: parse_event(given, RowOptions(**_OPTIONS), now=NOW, digest_keys=keys) for keys in ((), OLD, NEW)}
    first = FakeTransport(otherwise=OK if status == "delivered" else LOST)
    send([given], OLD, engine=ledger_engine, run="1", transport=first, on_in_doubt="hold")
    lines = [
        ResubmittedRow(given | {"revenue": "9.99", "currency": "EUR"}, event.event_id, event.unkeyed_id)
        for event in of_key.values()
    ]
    lines.append(ResubmittedRow(given, of_key[()].event_id))
    for number, line in enumerate(lines):
        for keys in ([NEW, OLD], OLD):
            summary, sent = send([line], keys, engine=ledger_engine, run=f"again {number} {keys!r}", on_in_doubt="hold")
            assert sent == [], (number, summary.reasons)


def test_an_erased_event_is_not_sent_again_after_its_key_was_lost(ledger_engine: sa.Engine) -> None:
    rows = make_rows(1)
    send(rows, OLD, engine=ledger_engine, run="1")
    with ledger_engine.begin() as connection:
        connection.execute(events.update().values(occurred_at=database_now(connection)))
    assert erase(ledger_engine, recorded(ledger_engine)) is not None
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        send(rows, NEW, engine=ledger_engine, run="2")
    summary, sent = send(rows, [NEW, OLD], engine=ledger_engine, run="3")
    assert (sent, summary.reasons) == ([], Counter({("skipped", "erased"): 1}))


def test_a_key_without_events_or_of_long_ago_is_not_missed(ledger_engine: sa.Engine) -> None:
    """As after a wrong token: nothing was sent, so that nothing can be sent twice."""
    rows = make_rows(3)
    with pytest.raises(DeliveryStopped):
        send(rows, OTHER, engine=ledger_engine, transport=FakeTransport(otherwise=WRONG_TOKEN))
    assert send(rows, OLD, engine=ledger_engine)[1] == [1, 2, 3]
    with ledger_engine.begin() as connection:
        long_ago = database_now(connection) - timedelta(days=59)
        connection.execute(tries.update().values(started_at=long_ago))
    assert send(make_rows(4)[3:], NEW, engine=ledger_engine, run="later")[1] == [1]


def test_a_key_of_long_ago_is_missed_where_events_have_no_age(ledger_engine: sa.Engine) -> None:
    endless = replace(EVENT, max_age=None)
    events_of = [replace(parse_event(row(), now=NOW, digest_keys=keys), endpoint=endless) for keys in (OLD, NEW)]
    for run, event, keys in zip("12", events_of, (OLD, NEW), strict=True):
        ledger = Ledger(ledger_engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW)
        ledger.attach({}, digest_keys={None: DigestKeys(keys)}, ids_are_digests=True)
        claimed = ledger.begin_claim([Job(event, 1, row())])
        if run == "1":
            claimed.result()
            with ledger_engine.begin() as connection:
                connection.execute(tries.update().values(started_at=NOW.replace(tzinfo=None, year=2020)))
        else:
            with pytest.raises(AdjustConfigurationError, match="digest_key"):
                claimed.result()
        ledger.end()
        ledger.close()


def test_events_are_recognised_that_a_ledger_without_keys_has(ledger_engine: sa.Engine) -> None:
    rows = make_rows(3)
    send(rows, (), engine=ledger_engine, run="1")
    # As shape 3 was: its tries had no keys.
    with ledger_engine.begin() as connection:
        for name in ("digest_keys", "ids_are_digests", "environment"):
            connection.exec_driver_sql(f"ALTER TABLE adjust_try DROP COLUMN {name}")
        connection.execute(versions.update().values(version=3))
    prepare(ledger_engine)
    prepare(ledger_engine)
    summary, sent = send(rows, NEW, engine=ledger_engine, run="2")
    assert (summary.reasons, sent) == (Counter({("skipped", "delivered_before"): 3}), [])
    # Without the key that was added, a row would be sent again only if it is new.
    assert send(make_rows(4), [OTHER, NEW], engine=ledger_engine, run="3")[1] == [4]


def test_an_event_that_is_sent_again_has_the_new_id_only(ledger_engine: sa.Engine) -> None:
    """Refused or in doubt before, under the old key; then it goes out, once, and is recognised from then on."""
    rows = make_rows(3)
    answers = FakeTransport({1: [LOST], 2: [UNKNOWN_DEVICE]})
    send(rows, OLD, engine=ledger_engine, run="1", transport=answers, on_in_doubt="hold")
    resubmitted = [ResubmittedRow(rows[1], old_id(rows[1]))]
    before = recorded(ledger_engine)
    assert sorted(before.values()) == ["delivered", "in_doubt", "rejected"]
    summary, sent = send(rows, [NEW, OLD], engine=ledger_engine, run="2")
    assert (dict(summary.outcomes), sent) == ({"delivered": 1, "skipped": 2}, [1])
    after = recorded(ledger_engine)
    assert len(after) == 3, "it was taken over, not written a second time"
    assert len(after.keys() - before.keys()) == 1
    assert send(resubmitted, [NEW, OLD], engine=ledger_engine, run="3")[1] == [1]
    assert send(rows, [NEW, OLD], engine=ledger_engine, run="4")[1] == []


def old_id(given_row: dict[str, Any]) -> str:
    return parse_event(given_row, RowOptions(**_OPTIONS), now=NOW, digest_keys=OLD).event_id


def test_of_an_event_with_two_ids_the_one_that_counts_most_decides(ledger_engine: sa.Engine) -> None:
    """Keys were changed by two tasks in two orders, and it was refused under the one id and delivered under the other."""
    rows = make_rows(2)
    send(rows, OLD, engine=ledger_engine, run="1", transport=FakeTransport({2: [UNKNOWN_DEVICE]}))
    with ledger_engine.begin() as connection:
        # As if the two had begun at once: neither sees what the other makes.
        connection.execute(tries.update().values(ids_are_digests=False))
    lost = FakeTransport({1: [UNKNOWN_DEVICE], 2: [LOST]})
    send(rows, NEW, engine=ledger_engine, run="2", transport=lost, on_in_doubt="hold")
    assert sorted(recorded(ledger_engine).values()) == ["delivered", "in_doubt", "rejected", "rejected"]
    with ledger_engine.begin() as connection:
        connection.execute(tries.update().values(ids_are_digests=True))
    summary, sent = send(rows, [NEW, OLD], engine=ledger_engine, run="3", max_resends=5)
    assert summary.reasons["skipped", "delivered_before"] == 1
    assert sent == [2]
    # The other way round: what counts most has the old id, and becomes the event's one.
    with ledger_engine.begin() as connection:
        connection.execute(events.update().values(status=3))
        connection.execute(events.update().where(events.c.event_id == old_id(rows[0])).values(status=4))
    summary, sent = send(rows[:1], [NEW, OLD], engine=ledger_engine, run="4", max_resends=5)
    assert (dict(summary.outcomes), sent) == ({"delivered": 1}, [1])
    assert old_id(rows[0]) not in recorded(ledger_engine)


def test_an_id_of_the_whole_app_is_found_under_an_older_key(ledger_engine: sa.Engine) -> None:
    """The same row as another kind of event has another digest, so only a line of a rejected file keeps its id."""
    [first] = make_rows(1)
    send([first], OLD, engine=ledger_engine, run="1", id_scope="app")
    again = ResubmittedRow(first, old_id(first))
    summary, sent = send(
        [again, *make_rows(1)],
        [NEW, OLD],
        engine=ledger_engine,
        run="2",
        id_scope="app",
        options={"event_token": "event2"},
    )
    assert (summary.reasons, sent) == (Counter({("skipped", "delivered_before"): 1}), [2])


def test_content_of_a_key_that_is_not_known_is_taken_for_unchanged(ledger_engine: sa.Engine) -> None:
    rows = [each | {"order": str(place)} for place, each in enumerate(make_rows(3))]
    refused = FakeTransport(otherwise=UNKNOWN_DEVICE)
    options = {"id_field": "order"}
    send(rows, OLD, engine=ledger_engine, run="1", transport=refused, options=options)
    changed = [each | {"country": "de"} for each in rows]
    summary, sent = send(changed, NEW, engine=ledger_engine, run="2", options=options)
    assert (summary.reasons, sent) == (Counter({("skipped", "refused_before"): 3}), [])
    # A clear takes it over, and from then on it can be compared.
    summary, sent = send(rows, NEW, engine=ledger_engine, run="1", options=options)
    assert (dict(summary.outcomes), sent) == ({"rejected": 3}, [])
    assert send(changed, NEW, engine=ledger_engine, run="3", options=options)[1] == [1, 2, 3]


def test_a_task_that_takes_unknown_content_for_unchanged_counts_it(ledger_engine: sa.Engine) -> None:
    event = parse({"id_field": "order"}, order="o-1")
    counts = []
    for run, keys in (("1", OLD), ("2", OLD), ("3", NEW), ("4", [NEW, OLD])):
        ledger = Ledger(ledger_engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW)
        ledger.attach({}, digest_keys={None: DigestKeys(keys)})
        job = Job(event, 1, row())
        ledger.begin_claim([job]).result()
        ledger.settle(receipt_for(job, Outcome.DELIVERED, "", ""))
        ledger.end()
        ledger.close()
        counts.append(ledger.not_compared)
    assert counts == [0, 0, 1, 0]


def test_events_in_doubt_under_an_unknown_key_are_not_looked_up(ledger_engine: sa.Engine) -> None:
    """Nobody can say whether this row is the one that was sent."""
    event = parse({"id_field": "order"}, order="o-1")
    answers = []
    for run, keys in (("1", OLD), ("2", NEW), ("3", [NEW, OLD])):
        ledger = Ledger(ledger_engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW, on_in_doubt="verify")
        ledger.attach({}, digest_keys={None: DigestKeys(keys)})
        answers.append(ledger.begin_claim([Job(event, 1, row())]).result()[0])
        ledger.end()
        ledger.close()
    assert answers[1].reason == "not_verified"  # type: ignore[union-attr]
    assert "digest_key" in answers[1].detail  # type: ignore[union-attr]
    assert answers[2].sent_before  # type: ignore[union-attr]


def test_each_route_has_its_own_keys(ledger_engine: sa.Engine) -> None:
    rows = [each | {"os": ("ios", "android", "web")[place % 3]} for place, each in enumerate(make_rows(6))]
    then: dict[str | None, Any] = {"ios": OLD, "android": OTHER, "web": ()}
    assert send(rows, (), engine=ledger_engine, run="1", routes=then)[1] == [1, 2, 3, 4, 5, 6]
    now: dict[str | None, Any] = {"ios": OLD, "android": [NEW, OTHER], "web": [NEW, OTHER]}
    assert send(rows, (), engine=ledger_engine, run="2", routes=now)[1] == []
    lost: dict[str | None, Any] = {"ios": OLD, "android": b"lost", "web": OLD}
    transport = FakeTransport()
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        send(rows, (), engine=ledger_engine, run="3", routes=lost, transport=transport)
    assert transport.positions == []


def test_keys_that_cannot_be_written_down_end_the_delivery(
    ledger_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "run", "send"))
    ledger_engine.dispose()

    def fail(*_: Any, **__: Any) -> None:
        raise sa.exc.ProgrammingError("UPDATE", {}, Exception("no such table"))

    monkeypatch.setattr("airflow_provider_adjust.s2s.ledger.older_keys.note_setup", fail)
    with pytest.raises(LedgerUnavailable):
        ledger.attach({}, digest_keys={None: DigestKeys(NEW)})
    ledger.close()


def test_no_device_can_be_guessed_from_the_ledger(ledger_engine: sa.Engine) -> None:
    """Everything but one value is known: with it, the digests of older versions were found by trial."""
    send([row(**SMALLEST, gps_adid=GPS_ADID)], NEW, engine=ledger_engine)
    guess = parse_event(row(), RowOptions(**_OPTIONS), now=NOW)
    with ledger_engine.connect() as connection:
        [record] = connection.execute(sa.select(events)).all()
        [made_with] = connection.scalars(sa.select(tries.c.digest_keys))
    assert record.event_id != guess.event_id
    assert record.content != content_digest(guess, UNKEYED)
    assert made_with == DigestKey.of(NEW).id


# -- the checkpoint ------------------------------------------------------------------------------------------------------


def stopped(rows: list[Any], keys: Any, store: MemoryStore, transport: FakeTransport, **more: Any) -> None:
    with pytest.raises(DeliveryStopped):
        send(rows, keys, checkpoint=store, transport=transport, **more)


@pytest.mark.parametrize(("before", "after"), [(OLD, [NEW, OLD]), ((), NEW), (NEW, [NEW, OLD]), ((), ())])
def test_a_retry_after_the_key_was_changed_continues(before: Any, after: Any) -> None:
    store, rows = MemoryStore(), make_rows(4)
    first = FakeTransport({3: [WRONG_TOKEN]})
    stopped(rows, before, store, first, max_in_flight=1)
    assert first.positions == [1, 2, 3]
    second = FakeTransport()
    summary, sent = send(rows, after, checkpoint=store, transport=second)
    assert (dict(summary.outcomes), sent) == ({"delivered": 4}, [3, 4])
    # The checkpoint has the new key now, and the next try continues with that alone.
    assert send(rows, after if isinstance(after, bytes) else after[:1], checkpoint=store)[1] == []


def test_a_checkpoint_of_an_older_version_is_continued() -> None:
    store, rows = MemoryStore(), make_rows(3)
    stopped(rows, (), store, FakeTransport({2: [WRONG_TOKEN]}), max_in_flight=1)
    state = store.load()
    assert state is not None
    assert (state["version"], state["digest_key"]) == (4, "")
    state["version"] = 3
    del state["digest_key"]
    store.save(state)
    assert send(rows, NEW, checkpoint=store)[1] == [2, 3]


def test_a_checkpoint_of_an_unknown_key_says_what_to_do_where_something_was_sent() -> None:
    store, rows = MemoryStore(), make_rows(3)
    stopped(rows, OLD, store, FakeTransport({2: [WRONG_TOKEN]}), max_in_flight=1)
    transport = FakeTransport()
    with pytest.raises(AdjustConfigurationError, match=r"Put the earlier digest_key, or S2S token, last"):
        send(rows, NEW, checkpoint=store, transport=transport)
    assert transport.positions == []
    assert send(rows, [NEW, OLD], checkpoint=store)[1] == [2, 3]


def test_a_checkpoint_of_a_wrong_token_is_left_behind() -> None:
    """Its key was made from the wrong token, and nothing that it settled can be sent twice."""
    store, rows = MemoryStore(), [row(**SMALLEST, created_at="yesterday"), *make_rows(2)]
    stopped(rows, OTHER, store, FakeTransport(otherwise=WRONG_TOKEN), max_in_flight=1)
    summary, sent = send(rows, NEW, checkpoint=store)
    assert (dict(summary.outcomes), sent) == ({"invalid": 1, "delivered": 2}, [2, 3])


def test_a_changed_input_is_detected_under_every_key() -> None:
    for keys in (OLD, [NEW, OLD]):
        store, rows = MemoryStore(), make_rows(3)
        stopped(rows, OLD, store, FakeTransport({2: [WRONG_TOKEN]}), max_in_flight=1)
        with pytest.raises(CheckpointMismatch):
            send([*rows[:1], *make_rows(3, country="de")[1:]], keys, checkpoint=store)


def test_a_checkpoint_of_several_routes_has_all_their_keys() -> None:
    rows = [each | {"os": ("ios", "android")[place % 2]} for place, each in enumerate(make_rows(4))]
    store, transport = MemoryStore(), FakeTransport(otherwise=Answer(503), answers={1: [OK], 2: [OK]})
    stopped(rows, (), store, transport, max_in_flight=1, routes={"ios": OLD, "android": OTHER})
    assert send(rows, (), checkpoint=store, routes={"ios": NEW, "android": [NEW, OLD]})[1] == [3, 4]
