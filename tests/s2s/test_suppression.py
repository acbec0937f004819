"""A device that opted out or was erased is remembered by a keyed digest, and nothing of it is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fake_transport import LOST, Answer, FakeTransport
from s2s_case import APP, GPS_ADID, NOW, row

from airflow_provider_adjust.s2s import AdjustUnreachable, DeliveryHalted, Receipt, Retries, RowOptions, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.sender import Sender
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.keys import DigestKey, DigestKeys
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.schema import deliveries, suppressions, totals
from airflow_provider_adjust.s2s.ledger.suppression import (
    ASKED_TO_ERASE,
    Place,
    count,
    lift,
    suppress,
    under_other_keys,
)
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target

OPTED_OUT = Answer(451, '{"error": "Event request failed (Device is opted out)"}')
KEY = b"the key of the digests"
#: Where the rows of these tests go.
HERE = Place(APP, "sandbox", "")
OTHER = "7d0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"


def purchase(order: str, second: int = 0, **changes: Any) -> dict[str, Any]:
    return row(order_id=order, created_at=NOW - timedelta(seconds=1000 - second), **changes)


class Runs:
    """Deliveries that share a ledger."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.requests: list[int] = []
        self.not_recognised = 0
        self._made = 0

    def __call__(
        self,
        *rows: dict[str, Any],
        answers: Answer | None = None,
        keys: Sequence[bytes] = (KEY,),
        host: str = "s2s.adjust.com",
    ) -> list[Receipt]:
        self._made += 1
        ledger = Ledger(self.engine, TaskInstanceId("dag", f"run {self._made}", "send"))
        transport = FakeTransport(otherwise=answers) if answers else FakeTransport()
        parser = EventParser(RowOptions(id_field="order_id"), digest_keys=keys)
        route = Route(parser, Target(f"https://{host}/event"), None, 1.0)
        sender = Sender(
            {None: route},
            transport,
            SendOptions(max_resends=3, retries=Retries(attempts=1)),
            ledger=ledger,
            now=lambda: NOW,
        )
        try:
            return sorted(sender.send(list(rows)), key=lambda receipt: receipt.position)
        finally:
            sender.save()
            ledger.end()
            ledger.close()
            self.requests = transport.positions
            self.not_recognised = ledger.suppressions.not_recognised

    def claims(self, *rows: dict[str, Any]) -> list[tuple[str, str] | None]:
        """Claim the rows' events at once; how each that is not to be sent ends."""
        ledger = Ledger(self.engine, TaskInstanceId("dag", "claims", "send"))
        ledger.attach({None: "s2s.adjust.com"}, digest_keys={None: DigestKeys([KEY])})
        parser = EventParser(RowOptions(id_field="order_id"), digest_keys=[KEY])
        jobs = [Job(parser.parse(each, now=NOW), position, each) for position, each in enumerate(rows, 1)]
        answers = ledger.begin_claim(jobs).result()
        ledger.end()
        ledger.close()
        return [(each.outcome.value, each.reason) if isinstance(each, Receipt) else None for each in answers]


@pytest.fixture
def run(ledger_engine: sa.Engine) -> Runs:
    return Runs(ledger_engine)


def ends(receipts: Sequence[Receipt]) -> list[tuple[str, str]]:
    return [(receipt.outcome.value, receipt.reason) for receipt in receipts]


REFUSED = ("rejected", "device_opted_out")
DELIVERED = ("delivered", "")


def records(engine: sa.Engine, table: sa.Table) -> Sequence[Any]:
    with engine.connect() as connection:
        return connection.execute(sa.select(table)).all()


def test_a_device_is_known_however_the_letters_of_its_id_are_written(run: Runs) -> None:
    md5, adid, own = "00112233445566778899aabbccddeeff", "df6c5653080670612cd2f9766ddc0814", "Console 7"
    ids = [
        ({"adid": adid}, {"adid": adid.upper()}, REFUSED),
        ({"gps_adid_lower_md5": md5.upper()}, {"gps_adid_lower_md5": md5}, REFUSED),
        ({"win_adid": GPS_ADID}, {"win_adid": GPS_ADID.replace("-", "").upper()}, REFUSED),
        # A text of one's own may differ by its letters only.
        ({"external_device_id": own}, {"external_device_id": own.upper()}, DELIVERED),
    ]
    for number, (first, second, end) in enumerate(ids):
        assert ends(run(purchase(f"o-{number}", gps_adid=None, **first), answers=OPTED_OUT)) == [REFUSED]
        assert ends(run(purchase(f"p-{number}", 1, gps_adid=None, **second))) == [end]


def test_a_device_that_adjust_says_has_opted_out_costs_no_request_again(run: Runs) -> None:
    first = run(purchase("o-1", adid="a1", gps_adid=GPS_ADID), answers=OPTED_OUT)
    assert ends(first) == [REFUSED]
    # Each of its ids is known, under any event token, and another device's is not.
    assert run.requests == [1]
    rows = [
        purchase("o-2", 1, adid="a1", gps_adid=OTHER, event_token="other1"),
        purchase("o-3", 2),
        purchase("o-4", 3, gps_adid=OTHER),
    ]
    later = run(*rows)
    assert ends(later) == [REFUSED, REFUSED, DELIVERED]
    assert run.requests == [3]
    assert "the ledger remembers it" in later[0].detail
    assert (later[0].http_status, later[0].attempts) == (None, 0)
    # It is news of that run, which counts it, and nothing that an earlier one has settled.
    assert not later[0].settled_before
    summary = DeliverySummary()
    for receipt in later:
        summary.add(receipt)
    assert summary.as_result(seconds=0, rejected_path=None)["by_reason"] == {"device_opted_out": 2}
    counted = [(each.outcome, each.reason, each.events) for each in records(run.engine, totals)]
    assert sorted(each for each in counted if each[0] == "rejected") == [("rejected", "device_opted_out", 1)] * 3


def test_the_ledger_has_no_id_and_no_digest_that_another_key_would_make(run: Runs) -> None:
    run(purchase("o-1"), answers=OPTED_OUT)
    [kept] = records(run.engine, suppressions)
    assert kept.device == DigestKey.of(KEY).device("gps_adid", GPS_ADID)
    assert (kept.digest_key, kept.reason) == (DigestKey.of(KEY).id, "opted_out")
    assert GPS_ADID not in str(kept)


def test_the_record_of_earlier_runs_has_priority(run: Runs) -> None:
    """A delivered event stays delivered; one in doubt is not sent again; one that was refused here may be sent after a lift."""
    run(purchase("delivered"), purchase("doubt", 1, gps_adid=OTHER))
    with pytest.raises(AdjustUnreachable):
        run(purchase("doubt", 2, event_token="other1"), answers=LOST)
    key = DigestKey.of(KEY)
    digests = [key.device("gps_adid", GPS_ADID)]
    with run.engine.begin() as connection:
        suppress(connection, HERE, digests * 2, key, ASKED_TO_ERASE)
        suppress(connection, HERE, digests, key, "again")
        [known] = count(connection)
    assert (known.ids, known.reason, known.app_token, known.destination) == (1, ASKED_TO_ERASE, APP, "")
    rows = purchase("delivered"), purchase("doubt", 2, event_token="other1"), purchase("new", 3)
    again = run(*rows)
    assert ends(again) == [("skipped", "delivered_before"), REFUSED, REFUSED]
    assert "its erasure was asked for" in again[1].detail
    assert run.requests == []
    assert {each.event_id: each.status for each in records(run.engine, deliveries) if each.event_token == "other1"} == {
        "doubt": "in_doubt"
    }
    with run.engine.begin() as connection:
        assert lift(connection, HERE, digests) == 1
    assert ends(run(*rows)) == [("skipped", "delivered_before"), DELIVERED, DELIVERED]


def test_it_holds_for_the_app_the_environment_and_adjust_by_whichever_host(run: Runs) -> None:
    run(purchase("o-1"), answers=OPTED_OUT)
    assert ends(run(purchase("o-2"), host="gateway.example.com")) == [REFUSED]
    elsewhere: tuple[dict[str, Any], ...] = ({"app_token": "other1other1"}, {"environment": "production"})
    for other in elsewhere:
        assert ends(run(purchase("o-3", **other))) == [DELIVERED]
    both = [purchase("o-8"), purchase("o-9", 1, environment="production")]
    assert run.claims(*both) == [REFUSED, None]
    # A stand-in's word holds for the stand-in only, and Adjust's not for the stand-in.
    assert ends(run(purchase("o-4"), host="127.0.0.1")) == [DELIVERED]
    run(purchase("o-5", gps_adid=OTHER), host="127.0.0.1", answers=OPTED_OUT)
    assert ends(run(purchase("o-6", gps_adid=OTHER), host="127.0.0.1")) == [REFUSED]
    assert ends(run(purchase("o-7", gps_adid=OTHER))) == [DELIVERED]


def test_an_older_key_is_recognised_and_ids_of_a_lost_one_are_counted(run: Runs) -> None:
    run(purchase("o-1"), purchase("o-2", 1, gps_adid=OTHER), answers=OPTED_OUT)
    assert ends(run(purchase("o-3"), keys=(b"a newer key", KEY))) == [REFUSED]
    assert run.not_recognised == 0
    assert ends(run(purchase("o-4"), purchase("o-5", 1), keys=(b"a newer key",))) == [DELIVERED] * 2
    assert run.not_recognised == 2
    with run.engine.connect() as connection:
        assert under_other_keys(connection, HERE, {DigestKey.of(KEY).id}) == 0
        assert under_other_keys(connection, HERE, set()) == 2


def test_without_a_key_no_device_is_remembered(run: Runs) -> None:
    """Of a list of ids, anybody could find those in the table by trial."""
    run(purchase("o-1"), answers=OPTED_OUT, keys=())
    assert records(run.engine, suppressions) == []
    assert ends(run(purchase("o-2"), keys=())) == [DELIVERED]


def test_many_digests_are_asked_for_in_several_statements(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_adjust.s2s.ledger.suppression._BATCH", 2)
    rows = [purchase(f"o-{number}", number, gps_adid=f"{number:08x}{GPS_ADID[8:]}") for number in range(5)]
    run(*rows, answers=OPTED_OUT)
    again = [{**each, "order_id": f"{each['order_id']}, later"} for each in rows]
    assert ends(run(*again)) == [REFUSED] * 5


def test_a_device_that_is_refused_here_proves_no_token(run: Runs) -> None:
    """Tokens that Adjust has not taken yet still cost one request if they are wrong."""
    run(purchase("o-1"), answers=OPTED_OUT)
    wrong = Answer(400, '{"error": "Event request failed (Invalid event token)"}')
    others = [purchase(f"o-{number}", number, gps_adid=f"{number:08x}{GPS_ADID[8:]}") for number in range(2, 9)]
    with pytest.raises(DeliveryHalted):
        run(purchase("o-9", 1), *others, answers=wrong)
    assert len(run.requests) == 1


def test_two_kinds_of_id_with_one_text_are_two_devices() -> None:
    key = DigestKey.of(KEY)
    assert key.device("idfa", "x") != key.device("idfv", "x")
