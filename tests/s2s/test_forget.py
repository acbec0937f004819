"""Devices are erased at a pace that all tasks share, each is asked for once, and the ledger says who asked for which."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from s2s_case import APP, GPS_ADID

from airflow_provider_adjust.s2s import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    NotAdjust,
)
from airflow_provider_adjust.s2s.delivery.forget import Forgetter, devices_of, forget_target, post, read_completion
from airflow_provider_adjust.s2s.events.device_id import DeviceId
from airflow_provider_adjust.s2s.events.keys import UNKEYED, DigestKey, DigestKeys
from airflow_provider_adjust.s2s.ledger.erasures import PACE, ErasureLog, ErasureStatus, Order, erasures_of
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import erasures, suppressions
from airflow_provider_adjust.s2s.transports import Completion, Failure
from airflow_provider_adjust.sandbox import SandboxConfig, SandboxServer
from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.erasure import forget_device

KEY = b"the key of the digests"
HOST = "gdpr.adjust.com"
NOON = datetime(2026, 5, 1, 12)
ORDER = Order(HOST, APP, "production", "ticket 17", "dag", "run 1", "forget")
OK = Completion(None, 200, b'{"status": "OK"}')
BUSY = Completion(None, 429, b"")
LOST = Completion(None, failure=Failure.NO_ANSWER, failure_name="ReadTimeout")


def ids(*numbers: int) -> list[dict[str, str]]:
    return [{"gps_adid": f"{number:08x}{GPS_ADID[8:]}"} for number in numbers]


class Clock:
    """The time of the database, of the stand-in and of waiting code."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self, _: sa.Connection) -> datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()

    def wait(self, seconds: float) -> bool:
        self.at += timedelta(seconds=seconds)
        return False


class Adjust:
    """The stand-in, asked without a network; or planned answers."""

    def __init__(self, clock: Clock, *planned: Completion) -> None:
        self.sandbox = Sandbox(SandboxConfig(clock=clock.seconds))
        self.planned = list(planned)
        self.asked: list[DeviceId] = []

    def __call__(self, device: DeviceId) -> Completion:
        self.asked.append(device)
        if self.planned:
            return self.planned.pop(0)
        query = forget_target("", None, APP, "production", device).query.encode()
        status, body = forget_device(query, None, self.sandbox)
        return Completion(None, status, json.dumps(body).encode())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(ledger_engine: sa.Engine) -> sa.Engine:
    prepare(ledger_engine)
    return ledger_engine


def forgetter(
    engine: sa.Engine,
    clock: Clock,
    send: Callable[[DeviceId], Completion],
    *,
    order: Order = ORDER,
    keys: tuple[bytes, ...] = (KEY,),
    limit: int = 10_000,
    seconds: float = 1e6,
    wait: Callable[[float], bool] | None = None,
) -> Forgetter:
    log = ErasureLog(engine, order, DigestKeys(keys), now=clock.now)
    return Forgetter(log, send, limit=limit, seconds=seconds, wait=wait or clock.wait)


def run(made: Forgetter, rows: Iterable[Any]) -> dict[str, int]:
    for _ in made.run(rows):
        pass
    return {name: count for name, count in made.summary.as_result().items() if count}


def records(engine: sa.Engine, table: sa.Table = erasures) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table)).all())


def test_each_request_has_its_turn_and_its_record(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock)
    rows = [*ids(1, 2), {"adid": "a1", "idfa": GPS_ADID, "order": 7}, *ids(1)]
    assert run(forgetter(engine, clock, adjust), rows) == {
        "read": 4, "devices": 4, "erased": 4, "requests": 4,
    }  # fmt: skip
    assert clock.at == NOON + 3 * timedelta(seconds=PACE)
    kept = records(engine)
    assert [each.asked_at for each in kept] == [NOON + number * timedelta(seconds=PACE) for number in range(4)]
    first = kept[0]
    key = DigestKey.of(KEY)
    assert first.device == key.device("gps_adid", ids(1)[0]["gps_adid"])
    assert (first.digest_key, first.id_type, first.status, first.http_status) == (key.id, "gps_adid", "erased", 200)
    assert (first.destination, first.app_token, first.environment) == (HOST, APP, "production")
    assert (first.asked_by, first.dag_id, first.run_id, first.task_id) == ("ticket 17", "dag", "run 1", "forget")
    assert first.answered_at == NOON
    assert GPS_ADID[8:] not in str(kept) + str(records(engine, suppressions))
    assert [each.id_type for each in kept] == ["gps_adid", "gps_adid", "idfa", "adid"]
    assert {(each.destination, each.reason) for each in records(engine, suppressions)} == {("", "erased")}


def test_a_thousand_erasures_with_a_kill_in_the_middle_ask_for_each_device_once(tmp_path: Any, clock: Clock) -> None:
    """The stand-in refuses an eleventh request in a minute, and none is."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    prepare(engine)
    adjust = Adjust(clock)
    rows = ids(*range(1000))

    class Killed(BaseException):
        """As a process that ends: nothing of this run runs after it."""

    def dies_in_the_middle(seconds: float) -> bool:
        if len(adjust.asked) == 500:
            raise Killed
        return clock.wait(seconds)

    with pytest.raises(Killed):
        run(forgetter(engine, clock, adjust, wait=dies_in_the_middle), rows)
    statuses = Counter(each.status for each in records(engine))
    assert statuses == {"erased": 500, "waiting": 1}
    assert run(forgetter(engine, clock, adjust), rows) == {
        "read": 1000, "devices": 1000, "known": 500, "erased": 500, "requests": 500,
    }  # fmt: skip
    assert set(Counter(adjust.asked).values()) == {1}
    assert len(adjust.asked) == 1000
    kept = records(engine)
    assert Counter((each.status, each.http_status) for each in kept) == {("erased", 200): 1000}
    asked = sorted(each.asked_at for each in kept)
    assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(asked, asked[10:], strict=False))
    assert timedelta(minutes=100) <= clock.at - NOON < timedelta(minutes=103)
    assert len(records(engine, suppressions)) == 1000
    engine.dispose()


def test_tasks_share_the_pace_and_do_not_ask_for_one_anothers_devices(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock)
    other = Order(HOST, "other1other1", "sandbox", dag_id="dag", run_id="run 2", task_id="forget")
    [mine, theirs] = ids(1, 2)
    logs = [ErasureLog(engine, order, DigestKeys([KEY]), now=clock.now) for order in (ORDER, other)]
    assert logs[0].reserve(DeviceId("gps_adid", mine["gps_adid"])) == 0
    assert logs[1].reserve(DeviceId("gps_adid", theirs["gps_adid"])) == pytest.approx(PACE)
    same = Order(HOST, APP, "production", dag_id="dag", run_id="run 3", task_id="forget")
    at_once = ErasureLog(engine, same, DigestKeys([KEY]), now=clock.now)
    assert at_once.reserve(DeviceId("gps_adid", mine["gps_adid"])) is ErasureStatus.ELSEWHERE
    assert run(forgetter(engine, clock, adjust, order=same), [mine]) == {"read": 1, "devices": 1, "elsewhere": 1}
    assert run(forgetter(engine, clock, adjust, order=same), ids(3)) == {
        "read": 1, "devices": 1, "erased": 1, "requests": 1,
    }  # fmt: skip
    assert clock.at == NOON + timedelta(seconds=2 * PACE)
    # That task was killed, as it turns out: nobody waits for it longer than a request takes.
    clock.at += timedelta(minutes=3)
    assert run(forgetter(engine, clock, adjust, order=same), [mine])["erased"] == 1


def test_what_is_left_is_left_for_the_next_run(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock)
    assert run(forgetter(engine, clock, adjust, limit=2), ids(1, 2, 3, 4)) == {
        "read": 4, "devices": 4, "erased": 2, "left": 2, "requests": 2,
    }  # fmt: skip
    later = run(forgetter(engine, clock, adjust, seconds=2 * PACE), ids(1, 2, 3, 4, 5, 6))
    assert (later["known"], later["erased"], later["left"]) == (2, 2, 2)
    assert run(forgetter(engine, clock, adjust, limit=0), ids(5, 6))["left"] == 2
    assert len(records(engine)) == 4, "what is left has no record yet"
    assert len(records(engine, suppressions)) == 4


def test_a_dry_run_counts_and_asks_for_nothing(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock)
    run(forgetter(engine, clock, adjust), ids(1))
    dry = forgetter(engine, clock, adjust).check([*ids(1, 2), {"oaid": "o"}])
    assert (dry.known, dry.left, dry.invalid, dry.requests) == (1, 1, 1, 0)
    assert len(adjust.asked) == 1
    assert len(records(engine)) == 1


def test_answers_that_settle_nothing_are_asked_for_again(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock, LOST, Completion(None, 503, b""), OK, BUSY, OK, BUSY._replace(retry_after="90"), OK)
    assert run(forgetter(engine, clock, adjust), ids(1, 2, 3)) == {
        "read": 3, "devices": 3, "erased": 3, "requests": 7,
    }  # fmt: skip
    # Three turns for the first device; the next at the pace, then a minute; and then what Adjust asked for.
    expected = 3 * PACE + 60 + PACE + 90
    assert clock.at - NOON == timedelta(seconds=expected)
    with pytest.raises(AdjustUnreachable):
        run(forgetter(engine, clock, Adjust(clock, LOST, LOST, LOST)), ids(4))
    [last] = [each for each in records(engine) if each.status != "erased"]
    assert (last.status, last.answered_at) == ("asked", None)
    assert run(forgetter(engine, clock, adjust), ids(4))["erased"] == 1


def test_one_device_without_an_answer_keeps_no_other_from_its_turn(engine: sa.Engine, clock: Clock) -> None:
    """Adjust may fail for one device each night; where it fails for two in a row, it is away."""
    broken = Completion(None, 500, b'{"error": "Forget device failed (Internal error)"}')

    def adjust(device: DeviceId) -> Completion:
        return broken if device.id_value.startswith("00000001") else OK

    for erased, known in ((3, 0), (0, 3)):
        made = forgetter(engine, clock, adjust)
        with pytest.raises(AdjustUnreachable, match="for 1 devices, the last in row 2: the gps_adid") as caught:
            run(made, ids(0, 1, 2, 3))
        assert "all others were asked for" in str(caught.value)
        assert (made.summary.erased, made.summary.known, made.summary.requests) == (erased, known, erased + 3)
        assert made.summary.details[0].startswith("row 2: the gps_adid")
        assert GPS_ADID[8:] not in str(made.summary) + str(caught.value)
    away = forgetter(engine, clock, lambda _: LOST)
    with pytest.raises(AdjustUnreachable, match="no event could be settled"):
        run(away, ids(4, 5, 6))
    assert away.summary.requests == 6
    busy = forgetter(engine, clock, lambda _: BUSY)
    with pytest.raises(AdjustUnreachable, match="status 429"):
        run(busy, ids(4, 5, 6))
    assert busy.summary.requests == 3


def test_what_adjust_refuses_again_and_again_keeps_no_other_from_its_turn(engine: sa.Engine, clock: Clock) -> None:
    def adjust(device: DeviceId) -> Completion:
        is_bad = device.id_value.startswith(("00000001", "00000002"))
        return Completion(None, 400, b'{"error": "Invalid device id"}') if is_bad else OK

    for refused, erased, left in ((2, 0, 2), (0, 2, 2), (2, 0, 0)):
        ended = forgetter(engine, clock, adjust, limit=2)
        run(ended, ids(1, 2, 3, 4))
        assert (ended.summary.refused, ended.summary.erased, ended.summary.left) == (refused, erased, left)


def test_a_device_that_several_rows_name_is_one(engine: sa.Engine, clock: Clock) -> None:
    rows = ids(1, 2, 1, 1)
    dry = forgetter(engine, clock, Adjust(clock)).check(rows)
    assert (dry.read, dry.devices, dry.left) == (4, 2, 2)
    assert run(forgetter(engine, clock, Adjust(clock), limit=1), rows) == {
        "read": 4, "devices": 2, "erased": 1, "left": 1, "requests": 1,
    }  # fmt: skip


def test_the_rows_are_read_before_the_first_turn(engine: sa.Engine, clock: Clock) -> None:
    """A database ends a query if its rows are not read for an hour."""
    read = 0

    def query() -> Iterator[dict[str, str]]:
        nonlocal read
        for each in ids(*range(1200)):
            read += 1
            yield each

    made = forgetter(engine, clock, Adjust(clock), limit=3)
    for _ in made.run(query()):
        assert read == 1200
    assert (made.summary.erased, made.summary.left) == (3, 1197)


def test_all_tasks_wait_where_adjust_is_busy(engine: sa.Engine, clock: Clock) -> None:
    first = ErasureLog(engine, ORDER, DigestKeys([KEY]), now=clock.now)
    assert first.reserve(DeviceId("adid", "a"), after=60.0) == 60
    second = ErasureLog(engine, ORDER, DigestKeys([KEY]), now=clock.now)
    assert second.reserve(DeviceId("adid", "b")) == pytest.approx(60 + PACE)


def test_what_adjust_refuses_is_counted_by_row_and_asked_for_again_in_the_next_run(
    engine: sa.Engine, clock: Clock
) -> None:
    gone = Completion(None, 451, b'{"error": "Forget device failed (Device is opted out)"}')
    bad = Completion(None, 400, b'{"error": "Invalid device id"}')
    made = forgetter(
        engine,
        clock,
        Adjust(clock, bad, gone, Completion(None, 404, b'{"error": "Event request failed (Device not found)"}')),
    )
    assert run(made, [{"oaid": "o"}, 7, *ids(1, 2, 3)]) == {
        "read": 5, "devices": 3, "invalid": 2, "refused": 2, "opted_out": 1, "requests": 3,
    }  # fmt: skip
    assert made.summary.details[0].startswith(
        "row 1: the row has no usable device id; Adjust erases by one of gps_adid"
    )
    assert made.summary.details[1] == "row 2: the row is not a mapping of names to values"
    assert made.summary.details[2].startswith("row 3: Adjust refuses the gps_adid (status 400")
    assert GPS_ADID[8:] not in str(made.summary)
    assert sorted(each.status for each in records(engine)) == ["opted_out", "refused", "refused"]
    again = run(forgetter(engine, clock, Adjust(clock)), ids(1, 2, 3))
    assert (again["erased"], again["known"]) == (2, 1)
    many = forgetter(engine, clock, Adjust(clock))
    run(many, [7] * 20)
    assert len(many.summary.details) == 10


def test_a_refused_token_and_a_stranger_end_the_run(engine: sa.Engine, clock: Clock) -> None:
    cases = [
        (401, '{"error": "Forget device failed (Failed to authorize request)"}', DeliveryHalted, "not_authorized"),
        (400, '{"error": "Forget device failed (Invalid app token)"}', DeliveryHalted, "invalid_app_token"),
        (403, '{"error": "Session failed (scope)"}', DeliveryHalted, "GDPR scope"),
        (403, "<html>Blocked</html>", NotAdjust, "not_adjust"),
        (451, "<html>Unavailable for legal reasons</html>", NotAdjust, "not_adjust"),
        (451, "Unavailable For Legal Reasons", NotAdjust, "not_adjust"),
        (400, "<html>Bad request</html>", NotAdjust, "not_adjust"),
        (200, "<html>Log in</html>", NotAdjust, "not_adjust"),
    ]
    for number, (status, body, error, words) in enumerate(cases):
        made = forgetter(engine, clock, Adjust(clock, Completion(None, status, body.encode())))
        with pytest.raises(error, match=words):
            run(made, ids(number))
    assert {each.status for each in records(engine)} == {"asked"}


def test_a_device_that_opted_out_need_not_be_asked_for_again_however_adjust_says_so(
    engine: sa.Engine, clock: Clock
) -> None:
    answers = [
        Completion(None, 451, b""),
        Completion(None, 451, b'{"status": "opted out"}'),
        Completion(None, 403, b'{"error": "Forget device failed (Device is opted out)"}'),
    ]
    assert run(forgetter(engine, clock, Adjust(clock, *answers)), ids(1, 2, 3))["opted_out"] == 3
    assert run(forgetter(engine, clock, Adjust(clock)), ids(1, 2, 3))["known"] == 3


def test_a_killed_task_ends_before_the_next_request(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock)
    made = forgetter(engine, clock, adjust)

    def until_the_first() -> None:
        for _ in made.run(ids(1, 2, 3)):
            made.stop()

    with pytest.raises(DeliveryStopped):
        until_the_first()
    assert (len(adjust.asked), made.summary.erased) == (1, 1)
    assert len(records(engine)) == 1
    waiting = forgetter(engine, clock, adjust, wait=lambda _: True)
    with pytest.raises(DeliveryStopped, match="the next run asks"):
        run(waiting, ids(2))
    assert sorted(each.status for each in records(engine)) == ["erased", "waiting"]
    log = ErasureLog(engine, ORDER, DigestKeys([KEY]))
    real = Forgetter(log, adjust, limit=5, seconds=60)
    real.stop()
    with pytest.raises(DeliveryStopped):
        run(real, ids(2))


def test_a_device_is_known_under_an_older_key(engine: sa.Engine, clock: Clock) -> None:
    adjust = Adjust(clock, LOST, LOST, LOST)
    with pytest.raises(AdjustUnreachable):
        run(forgetter(engine, clock, adjust), ids(1))
    run(forgetter(engine, clock, adjust), ids(2))
    newer = (b"a newer key", KEY)
    assert run(forgetter(engine, clock, adjust, keys=newer), ids(1, 2)) == {
        "read": 2, "devices": 2, "erased": 1, "known": 1, "requests": 1,
    }  # fmt: skip
    assert {each.digest_key for each in records(engine)} == {DigestKey.of(KEY).id, DigestKey.of(b"a newer key").id}
    # Without the older key, nobody can tell that it was erased; then both keys know one device.
    logs = [ErasureLog(engine, ORDER, DigestKeys(keys)) for keys in (newer, (b"a newer key",), (b"a third key",))]
    assert [log.under_other_keys() for log in logs] == [0, 1, 2]
    assert run(forgetter(engine, clock, adjust, keys=(b"a newer key",)), ids(2))["erased"] == 1
    assert run(forgetter(engine, clock, adjust, keys=newer), ids(2))["known"] == 1


def test_what_a_row_names() -> None:
    assert devices_of({"gps_adid": f" {GPS_ADID.upper()} ", "adid": None, "idfa": "0000-0000", "name": "x"}) == [
        DeviceId("gps_adid", GPS_ADID)
    ]
    assert devices_of({"adid": "DF6C5653080670612CD2F9766DDC0814"}) == [
        DeviceId("adid", "df6c5653080670612cd2f9766ddc0814")
    ]
    refused = devices_of({"idfa": 1.5})
    assert isinstance(refused, str)
    assert "idfa" in refused
    assert repr(DeviceId("idfa", "secret")) == "DeviceId(id_name='idfa')"


def test_a_device_that_somebody_types_is_read_and_never_repeated() -> None:
    assert DeviceId.parse(f" gps_adid = {GPS_ADID.upper()}\n", "line 1") == DeviceId("gps_adid", GPS_ADID)
    for line in (GPS_ADID, f"order_id={GPS_ADID}", "gps_adid=", "gps_adid=0000-0000"):
        with pytest.raises(AdjustConfigurationError, match="line 7 must be PARAMETER=VALUE") as caught:
            DeviceId.parse(line, "line 7")
        assert GPS_ADID not in str(caught.value)


def test_the_proof_of_an_erasure_is_found_by_the_digest(engine: sa.Engine, clock: Clock) -> None:
    run(forgetter(engine, clock, Adjust(clock)), ids(1, 2))
    digest = DigestKey.of(KEY).device("gps_adid", ids(1)[0]["gps_adid"])
    with engine.connect() as connection:
        [proof] = erasures_of(connection, HOST, APP, "production", [digest])
        assert not erasures_of(connection, HOST, APP, "sandbox", [digest])
    assert (proof.device, proof.status, proof.asked_at) == (digest, "erased", NOON)


_KILLED = """
import sys
import sqlalchemy as sa
from airflow_provider_adjust.s2s.delivery.forget import Forgetter, forget_target, post
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.ledger.erasures import ErasureLog, Order

url, gdpr_url, rows = sys.argv[1], sys.argv[2], eval(sys.argv[3])
order = Order("127.0.0.1", "abc123abc123", "production", "", "dag", "run 1", "forget")
log = ErasureLog(sa.create_engine(url), order, DigestKeys([b"the key of the digests"]))
send = lambda device: post(forget_target(gdpr_url, None, order.app_token, order.environment, device), (5, 5))
print("begun", flush=True)
for _ in Forgetter(log, send, limit=10, seconds=600).run(rows):
    print("asked", flush=True)
"""


def test_a_process_that_is_killed_between_two_requests_is_continued(tmp_path: Path) -> None:
    """Killed for good, while it waits for the turn of the second device, which it has written down."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = sa.create_engine(url)
    prepare(engine)
    rows = ids(1, 2, 3)
    with SandboxServer() as sandbox:
        command = [sys.executable, "-c", _KILLED, url, sandbox.url, repr(rows)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["begun\n", "asked\n"]
            while len(records(engine)) < 2:
                pass
            process.kill()
        assert [each.status for each in records(engine)] == ["erased", "waiting"]
        assert len(sandbox.erasures()) == 1
        order = Order("127.0.0.1", APP, "production", dag_id="dag", run_id="run 1", task_id="forget")
        log = ErasureLog(engine, order, DigestKeys([KEY]))

        def send(device: DeviceId) -> Completion:
            return post(forget_target(sandbox.url, None, APP, "production", device), (5, 5))

        assert run(Forgetter(log, send, limit=10, seconds=600, wait=lambda _: False), rows) == {
            "read": 3, "devices": 3, "erased": 2, "known": 1, "requests": 2,
        }  # fmt: skip
        assert [each["gps_adid"] for each in sandbox.erasures()] == [row["gps_adid"] for row in rows]
    assert [each.status for each in records(engine)] == ["erased"] * 3
    engine.dispose()


def test_no_erasure_without_a_key_or_for_a_long_story(engine: sa.Engine) -> None:
    with pytest.raises(AdjustConfigurationError, match="digest_key"):
        ErasureLog(engine, ORDER, DigestKeys())
    with pytest.raises(AdjustConfigurationError, match="asked_by has 251 characters"):
        ErasureLog(engine, Order(HOST, APP, "production", "x" * 251), DigestKeys([KEY]))
    assert DigestKeys().newest is UNKEYED


def test_over_a_network_the_id_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    device = DeviceId("gps_adid", GPS_ADID)
    with SandboxServer(tokens=["T"]) as sandbox:
        target = forget_target(sandbox.url, "T", APP, "sandbox", device)
        assert read_completion(post(target, (5, 5)))[1] is ErasureStatus.ERASED
        assert sandbox.erasures() == [{"s2s": "1", "app_token": APP, "environment": "sandbox", "gps_adid": GPS_ADID}]
    assert read_completion(post(target, (1, 1)))[0].reason == "connection_failed"
    assert "Starting new HTTP connection" in caplog.text
    assert GPS_ADID not in caplog.text + repr(target)
