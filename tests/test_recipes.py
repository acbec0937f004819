"""The recipes of the docs: each is run as it is written, on a real Postgres and against the sandbox, and does what its page says.

The first line of a block may name its file. A block of an operator alone is put into a DAG with daily intervals.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import jinja2
import pendulum
import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from example_files import EXAMPLES, REPOSITORY
from ledger_rows import write_deliveries, write_totals
from packaging.version import Version
from warm_airflow import airflow_command

from airflow_provider_adjust.__main__ import main
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.sandbox import SandboxServer

GUIDES = REPOSITORY / "docs" / "guides"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:#|--) ((?:dags|tests)/\S+)\n")
S2S_TOKEN = "the-s2s-token-of-the-recipes"
APP_TOKENS = {"adjust_default": "4w565xzmb54d", "adjust_ios": "4w565xzmb54d", "adjust_android": "9vn1c5ppnn5s"}

#: The last two midnights, UTC. An event may be 58 days old at most, so no date can be written down here.
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = MIDNIGHT - timedelta(days=1)

pytestmark = pytest.mark.airflow

SHOP = """
CREATE TABLE customers (customer_id INT, gps_adid TEXT, idfa TEXT, os_name TEXT);
CREATE TABLE purchases (
    order_id TEXT, legacy_id TEXT, customer_id INT, purchased_at TIMESTAMPTZ, amount NUMERIC(18, 2), amount_minor BIGINT,
    currency TEXT, coupon TEXT
);
CREATE TABLE contracts (contract_id INT, gps_adid TEXT, idfa TEXT);
CREATE TABLE renewals (contract_id INT, period TEXT, charged_at TIMESTAMPTZ, amount NUMERIC(18, 2), currency TEXT);
CREATE TABLE payments (
    payment_id TEXT, order_id TEXT, customer_id INT, kind TEXT, paid_at TIMESTAMPTZ, amount NUMERIC(18, 2), currency TEXT
);
CREATE TABLE adjust_purchases (
    order_id TEXT, created_at TIMESTAMP, revenue NUMERIC(18, 3), currency TEXT, gps_adid TEXT, idfa TEXT
);
"""


def recipe(page: str, heading: str, language: str) -> list[str]:
    """The blocks of one language in a recipe."""
    text = (GUIDES / page).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, heading
    return [code for name, code in FENCE.findall(rest.partition("\n## ")[0]) if name == language]


def files() -> Iterator[tuple[str, str]]:
    """The blocks that name their file."""
    for page in sorted(GUIDES.glob("recipes-*.md")):
        for _, code in FENCE.findall(page.read_text(encoding="utf-8")):
            if named := FILE.match(code):
                yield named[1], code


def gps(number: int) -> str:
    return f"38400000-8cf0-11bd-b23e-{number:012x}"


@dataclass
class Shop:
    """A warehouse and a ledger in one Postgres, a stand-in for Adjust, and a folder with the recipes' files."""

    engine: sa.Engine
    sandbox: SandboxServer
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            for row in rows:
                names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
                connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    def customers(self, *numbers: int) -> None:
        self.insert("customers", *({"customer_id": n, "gps_adid": gps(n), "os_name": "android"} for n in numbers))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql.replace("%", "%%"))]

    def test(self, dag_id: str, at: datetime) -> tuple[int, str]:
        """``airflow dags test``: its exit code and its log."""
        done = airflow_command("dags", "test", dag_id, at.isoformat(), env=os.environ | self.environment)
        log = done.stdout + done.stderr
        assert S2S_TOKEN not in log
        return done.returncode, log

    def succeed(self, dag_id: str, at: datetime) -> str:
        code, log = self.test(dag_id, at)
        assert code == 0, log[-5000:]
        return log

    def rows_changed(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    def statuses(self, event_token: str = "f0ob4r") -> dict[str, tuple[str, str]]:
        """What the ledger says of each event with the token, by its id."""
        query = f"SELECT event_id, status, reason FROM adjust_delivery WHERE event_token = '{event_token}'"
        return {key: (status, reason) for key, status, reason in self.rows(query)}

    def sent(self, event_token: str = "f0ob4r") -> list[dict[str, Any]]:
        """What Adjust recorded under the token, in order of receipt."""
        recorded = [event["params"] for event in self.sandbox.events()]
        return [event for event in recorded if event["event_token"] == event_token]


@contextmanager
def open_shop(postgres_url: str, folder: Path) -> Iterator[Shop]:
    name = f"recipes_{uuid4().hex}"
    server = sa.create_engine(
        sa.make_url(postgres_url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine = sa.create_engine(server.url.set(database=name))
    with engine.begin() as connection:
        connection.exec_driver_sql(SHOP)
    for path, code in files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code)
    settings: dict[str, Any] = {"tokens": [S2S_TOKEN], "app_tokens": sorted(set(APP_TOKENS.values()))}
    with SandboxServer(**settings) as sandbox:
        shop = Shop(engine, sandbox, folder)
        database = {"conn_type": "postgres", "host": server.url.query["host"], "login": "postgres", "schema": name}
        connections: dict[str, Any] = {"warehouse": database, "adjust_ledger": database}
        for conn_id, app_token in APP_TOKENS.items():
            extra = {"app_token": app_token, "environment": "production"}
            connections[conn_id] = {"conn_type": "adjust", "host": sandbox.url, "password": S2S_TOKEN, "extra": extra}
        shop.environment = {f"AIRFLOW_CONN_{key.upper()}": json.dumps(value) for key, value in connections.items()}
        shop.environment |= {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__ADJUST__FILES_FOLDER": str(folder),
        }
        yield shop
    engine.dispose()
    server.dispose()


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path, airflow_db: Path) -> Iterator[Shop]:
    with open_shop(postgres_url, tmp_path) as opened:
        yield opened


def purchase(number: int, at: datetime, **more: Any) -> dict[str, Any]:
    """A purchase of the customer with that number."""
    row = {"order_id": f"o-{number}", "customer_id": number, "purchased_at": at, "currency": "EUR"}
    return row | {"amount": 9.9, "amount_minor": 990} | more


def test_the_day_before_is_the_calendar_day_of_the_zone(shop: Shop) -> None:
    heading = "The calendar day before, in a time zone"
    end = pendulum.now("Europe/Berlin").start_of("day")
    start = end.subtract(days=1)
    second = timedelta(seconds=1)
    shop.customers(1, 2, 3, 4)
    for number, at in enumerate((start - second, start, end - second, end), start=1):
        shop.insert("purchases", purchase(number, at))
    shop.succeed("purchases_of_yesterday", end.add(hours=3))
    assert set(shop.statuses()) == {"o-2", "o-3"}
    # The days on which the clocks change are whole days, too.
    [code] = recipe("recipes-queries.md", heading, "python")
    [operator] = _operators(code)
    for run, hours in (("2026-03-30T03:00", 23), ("2026-10-26T03:00", 25), ("2026-06-01T03:00", 24)):
        at = pendulum.parse(run, tz="Europe/Berlin").in_timezone("UTC")  # type: ignore[union-attr]
        since, until = (
            pendulum.parse(jinja2.Template(operator.parameters[name]).render(data_interval_end=at))
            for name in ("since", "until")
        )
        assert (until - since).total_seconds() == hours * 3600  # type: ignore[operator,union-attr]


def _operators(code: str) -> list[Any]:
    """The tasks of a block that is a DAG of its own."""
    found: list[Any] = []
    module: dict[str, Any] = {"__name__": "recipe"}
    with DAG("around_the_recipe", schedule=None):
        exec(compile(code, "recipe", "exec"), module)
    for value in module.values():
        if callable(value) and getattr(value, "__wrapped__", None) is not None:
            found += value().tasks
    return found


#: The recipes that are an operator alone, each with the event token that it gets here: they share the shop, and no event.
OPERATORS = {
    "lookback": ("recipes-queries.md", "Late rows: a lookback"),
    "renewal": ("recipes-queries.md", "Subscription renewals: which id"),
    "payment": ("recipes-queries.md", "Refunds"),
    "percent": ("recipes-queries.md", "`%` in a query with parameters"),
    "dbtmodel": ("recipes-dags.md", "dbt: a model with a contract"),
}
HEAD = """
from datetime import UTC, datetime
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")

with DAG("operators", schedule=DAILY, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    SqlToAdjustOperator(
        task_id="cents", sql_conn_id="warehouse", sql="sql/purchases_of_cents.sql", event_token="cents", id_field="order_id",
    )
"""
FIRST = DAY - timedelta(days=1)


def hours(number: float, day: datetime = DAY) -> datetime:
    return day + timedelta(hours=number)


@pytest.fixture(scope="module")
def nights(postgres_url: str, tmp_path_factory: pytest.TempPathFactory, airflow_db: Path) -> Iterator[Shop]:
    """Two nights of one DAG that has the operators of all recipes."""
    with open_shop(postgres_url, tmp_path_factory.mktemp("recipes")) as shop:
        code = HEAD
        for name, (page, heading) in OPERATORS.items():
            [block] = recipe(page, heading, "python")
            block, replaced = re.subn(r'task_id="\w+"', f'task_id="{name}"', block)
            assert replaced == 1
            code += textwrap.indent(block.replace('event_token="f0ob4r"', f'event_token="{name}"'), "    ")
        (shop.folder / "dags" / "operators.py").write_text(code)
        _first_night(shop)
        shop.succeed("operators", MIDNIGHT - timedelta(days=1))
        _second_night(shop)
        shop.succeed("operators", MIDNIGHT)
        yield shop


def _first_night(shop: Shop) -> None:
    shop.customers(1, 2, 3, 4)
    shop.insert("purchases", purchase(1, hours(10, FIRST)), purchase(2, hours(11, FIRST)))
    shop.insert("contracts", {"contract_id": 77, "gps_adid": gps(77)})
    renewal = {"contract_id": 77, "amount": 4.99, "currency": "EUR"}
    shop.insert("renewals", renewal | {"period": "2026-10", "charged_at": hours(1, FIRST)})
    payment = {"order_id": "r-1", "customer_id": 1, "amount": 30, "currency": "EUR"}
    shop.insert("payments", payment | {"payment_id": "p-1", "kind": "purchase", "paid_at": hours(1, FIRST)})


def _second_night(shop: Shop) -> None:
    # Two rows that were loaded late: customer 3 has not bought since, customer 1 has.
    shop.insert("purchases", purchase(3, hours(9, FIRST)), purchase(1, hours(9, FIRST), order_id="o-1-late"))
    # One more purchase of the night after, which that night will send.
    shop.insert("purchases", purchase(4, hours(1, MIDNIGHT), order_id="web-3"))
    for number, (currency, minor) in enumerate({"USD": 1999, "jpy": 500, "KWD": 12345}.items()):
        cents = {"order_id": f"c-{number}", "currency": currency, "amount_minor": minor}
        shop.insert("purchases", purchase(4, hours(number)) | cents)
    for number, coupon in enumerate(("summer", "test-1", None)):
        shop.insert("purchases", purchase(4, hours(10 + number)) | {"order_id": f"web-{number}", "coupon": coupon})
    renewal = {"contract_id": 77, "amount": 4.99, "currency": "EUR"}
    shop.insert("renewals", renewal | {"period": "2026-11", "charged_at": hours(1)})
    payment = {"order_id": "r-1", "customer_id": 1, "currency": "EUR"}
    shop.insert("payments", payment | {"payment_id": "p-2", "kind": "refund", "paid_at": hours(2), "amount": -30})
    row = {"order_id": "m-1", "created_at": hours(3).replace(tzinfo=None), "revenue": 9.9, "currency": "EUR"}
    shop.insert("adjust_purchases", row | {"gps_adid": gps(4)})


def test_a_lookback_sends_late_rows_and_each_once(nights: Shop) -> None:
    """The one that Adjust would refuse for its order is sent at the time of its device's last event."""
    statuses = nights.statuses("lookback")
    assert set(statuses.values()) == {("delivered", "")}
    assert {"o-1", "o-2", "o-3", "o-1-late"} <= statuses.keys()
    sent = {json.loads(event["callback_params"])["event_id"]: event for event in nights.sent("lookback")}
    assert (len(sent), len(nights.sent("lookback"))) == (len(statuses), len(statuses))
    late = sent["o-1-late"]
    assert late["created_at_unix"] == sent["o-1"]["created_at_unix"]
    assert datetime.fromisoformat(json.loads(late["callback_params"])["true_time"]) == hours(9, FIRST)


def test_each_renewal_of_a_contract_is_an_event(nights: Shop) -> None:
    assert nights.statuses("renewal") == dict.fromkeys(("77|2026-10", "77|2026-11"), ("delivered", ""))
    assert len(nights.sent("renewal")) == 2


def test_a_refund_is_an_event_of_its_own_without_revenue(nights: Shop) -> None:
    [bought] = [event for event in nights.sent() if event["gps_adid"] == gps(1)]
    [refunded] = nights.sent("abc123")
    assert (bought["revenue"], json.loads(bought["callback_params"])) == ("30.00", {"event_id": "p-1"})
    assert ("revenue" in refunded, "currency" in refunded) == (False, False)
    amount = {"order_id": "r-1", "amount": "30.00", "currency": "EUR"}
    assert json.loads(refunded["callback_params"]) == amount | {"event_id": "p-2"}


def test_a_currency_is_divided_by_its_own_minor_unit(nights: Shop) -> None:
    revenue = {
        event["currency"]: Decimal(event["revenue"]) for event in nights.sent("cents") if event["gps_adid"] == gps(4)
    }
    assert revenue == {"USD": Decimal("19.99"), "JPY": 500, "KWD": Decimal("12.345"), "EUR": Decimal("9.9")}
    [compare] = recipe("recipes-queries.md", "Amounts in cents, and currencies without cents", "sql")[1:]
    compared = nights.rows(compare)
    for currency, amount in (("USD", "19.99"), ("JPY", "500"), ("KWD", "12.345")):
        assert (currency, 1, *[Decimal(amount)] * 3) in compared


def test_a_percent_sign_is_doubled_beside_parameters(nights: Shop) -> None:
    # web-0 with a coupon, web-2 without one; web-1 is a test.
    assert [int(event["created_at_unix"]) for event in nights.sent("percent")] == [
        int(hours(n).timestamp()) for n in (10, 12)
    ]


def test_the_sender_reads_the_model_of_dbt(nights: Shop) -> None:
    assert nights.statuses("dbtmodel") == {"m-1": ("delivered", "")}


def test_two_apps_get_their_own_events(shop: Shop) -> None:
    """Each app's events go to its own app token; the query that the page ends with shows both."""
    shop.insert("customers", {"customer_id": 1, "gps_adid": gps(1), "os_name": "Android"})
    shop.insert("customers", {"customer_id": 2, "idfa": "7E718606-E1BB-5461-B230-4F00F32FD469", "os_name": "ios"})
    shop.insert("customers", {"customer_id": 3, "os_name": "web"})
    shop.insert("purchases", purchase(1, hours(1)), purchase(2, hours(2), amount=5), purchase(3, hours(3)))
    for name in ("adjust_ios", "adjust_android"):
        connection = json.loads(shop.environment[f"AIRFLOW_CONN_{name.upper()}"])
        connection["extra"]["environment"] = "sandbox"
        shop.environment[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
    shop.succeed("purchases_of_two_apps", MIDNIGHT)
    tokens = {"4w565xzmb54d": {"f0ob4r": {"EUR": "5.00"}}, "9vn1c5ppnn5s": {"abc123": {"EUR": "9.90"}}}
    assert shop.sandbox.stats()["revenue_by_token"] == tokens
    [per_app] = recipe("recipes-dags.md", "Two apps, end to end", "sql")[1:]
    assert [row[:3] for row in shop.rows(per_app)] == [
        ("4w565xzmb54d", "f0ob4r", "delivered"),
        ("9vn1c5ppnn5s", "abc123", "delivered"),
    ]
    commands = "".join(recipe("recipes-dags.md", "Two apps, end to end", "bash"))
    tokens_of_the_page = re.findall(r'"app_token": "(\w+)"', commands)
    assert tokens_of_the_page == list(tokens)


def test_an_unknown_device_is_offered_again_until_adjust_knows_it(shop: Shop) -> None:
    shop.customers(1, 2)
    shop.insert("purchases", *(purchase(1, hours(n, FIRST), order_id=f"o-{n}") for n in range(1, 20)))
    shop.insert("purchases", purchase(2, hours(20, FIRST), order_id="late-device"))
    shop.sandbox.configure(unknown_devices=[gps(2)])
    shop.succeed("purchases_of_new_devices", MIDNIGHT - timedelta(days=1))
    assert shop.statuses()["late-device"] == ("rejected", "device_not_found")
    [count] = recipe("recipes-dags.md", "Unknown devices that heal after hours", "sql")
    assert shop.rows(count) == [(FIRST.date(), 1, Decimal("9.90"), "EUR")]
    shop.sandbox.configure(unknown_devices=[])
    shop.succeed("purchases_of_new_devices", MIDNIGHT)
    assert shop.statuses()["late-device"] == ("delivered", "")
    assert len(shop.sent()) == 20
    assert shop.rows(count) == []


def test_nothing_of_an_absurd_night_is_sent(shop: Shop) -> None:
    shop.customers(1)
    shop.insert("purchases", purchase(1, hours(1)))
    shop.succeed("guarded_purchases", MIDNIGHT)
    assert len(shop.sent()) == 1
    # Each kind of absurdity by the check's own query, and one of them by the whole DAG.
    [check] = recipe("recipes-dags.md", "Guard against an absurd night", "sql")
    tonight = jinja2.Template(check).render(data_interval_start=DAY, data_interval_end=MIDNIGHT)
    cents = purchase(1, hours(2), order_id="cents", amount=999_900)
    many = [purchase(1, hours(2), order_id=f"many-{number}") for number in range(500)]
    for rows, plausible in (
        ([], (True,) * 4),
        ([cents], (True, True, False, False)),
        (many, (True, False, True, True)),
    ):
        shop.insert("purchases", *rows)
        with shop.engine.connect() as connection:
            assert tuple(connection.exec_driver_sql(tonight).one()) == plausible
        shop.rows_changed("DELETE FROM purchases WHERE order_id <> 'o-1'")
    with shop.engine.connect() as connection:
        empty = jinja2.Template(check).render(
            data_interval_start=MIDNIGHT, data_interval_end=MIDNIGHT + timedelta(days=1)
        )
        assert connection.exec_driver_sql(empty).all() == []
    shop.insert("purchases", cents)
    code, log = shop.test("guarded_purchases", MIDNIGHT)
    assert code != 0
    assert "check_night" in log
    assert len(shop.sent()) == 1


def test_the_contract_of_the_page_is_what_the_command_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heading = "dbt: a model with a contract"
    [command] = recipe("recipes-dags.md", heading, "bash")
    [contract] = recipe("recipes-dags.md", heading, "yaml")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # else the command sets it
    with pytest.raises(SystemExit) as ended:
        main(command.replace("\\\n", "").partition(">")[0].split()[2:])
    assert (ended.value.code, capsys.readouterr().out) == (0, contract)
    [model] = recipe("recipes-dags.md", heading, "jinja")
    assert re.findall(r" AS (\w+),?$", model, re.MULTILINE)[:6] == re.findall(r'name: "(\w+)"\n +data_type', contract)


@pytest.mark.slow
@pytest.mark.skipif(Version(airflow.__version__) < Version("3.2"), reason="DagBag moved with 3.2")
def test_the_test_of_a_dag_is_one(shop: Shop) -> None:
    """In a project of its own: a folder of DAGs, and a folder of tests that begins with the page's conftest.py."""
    for name in ("adjust_two_apps.py", "sql/purchases_by_app.sql"):
        (shop.folder / "dags" / name).write_text((EXAMPLES / name).read_text(encoding="utf-8"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command, cwd=shop.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout


def test_the_guide_of_ad_revenue_sends_a_day_and_finds_it_in_the_report(shop: Shop) -> None:
    """Its two tasks in one DAG: the day of the run, whenever it runs, and amounts as Postgres' numeric has them."""
    head = HEAD.partition("    SqlToAdjustOperator(")[0].replace('"operators"', '"ad_revenue_guide"')
    text = (GUIDES / "ad-revenue.md").read_text(encoding="utf-8")
    send, reconcile = (code for language, code in FENCE.findall(text) if language == "python")
    tasks = send.replace("\nSqlTo", "\nsend = SqlTo") + reconcile.replace("\nAdjustRec", "\nreconcile = AdjustRec")
    code = head + textwrap.indent(f"{tasks}\nsend >> reconcile\n", "    ")
    (shop.folder / "dags" / "ad_revenue_guide.py").write_text(code)
    shop.rows_changed(
        "CREATE TABLE ad_impressions (impression_id TEXT, shown_at TIMESTAMPTZ, revenue NUMERIC, network TEXT,"
        " ad_unit TEXT, placement TEXT, gps_adid TEXT, idfa TEXT)"
    )
    amounts = ("0.0000001220000000000000000000", "0.0000400000", "0", "0.00000000031", "0.02")
    times = (hours(0), hours(23.99), hours(1), hours(1), MIDNIGHT)
    for number, (revenue, at) in enumerate(zip(amounts, times, strict=True)):
        row = {"impression_id": f"i-{number}", "shown_at": at, "revenue": Decimal(revenue), "gps_adid": gps(number)}
        shop.insert("ad_impressions", row)
    connection = json.loads(shop.environment["AIRFLOW_CONN_ADJUST_DEFAULT"])
    connection["extra"] |= {"api_token": "the-api-token", "report_endpoint": shop.sandbox.url}
    shop.environment["AIRFLOW_CONN_ADJUST_DEFAULT"] = json.dumps(connection)
    shop.sandbox.configure(api_tokens=["the-api-token"])
    log = shop.succeed("ad_revenue_guide", MIDNIGHT)
    assert shop.sandbox.stats()["by_endpoint"] == {"ad_revenue": 4}
    assert Decimal(shop.sandbox.stats()["ad_revenue"]["USD"]) == sum(map(Decimal, amounts[:4]))
    assert "0.00004012231 USD" in log
    assert "Compared: revenue in USD." in log


# -- queries on the warehouse and the ledger -----------------------------------------------------------------------------


@pytest.fixture
def books(shop: Shop) -> Shop:
    """A ledger and a warehouse that differ in every way that a query of the page looks for."""
    prepare(shop.engine)
    event: dict[str, Any] = {"app_token": "4w565xzmb54d", "event_token": "f0ob4r", "environment": "production"}
    may = datetime(2026, 5, 1, 12)
    rows = [
        event | {"event_id": key, "status": status, "reason": reason, "revenue": Decimal(amount), "currency": currency}
        | {"occurred_at": may, "updated_at": may + timedelta(hours=6), "dag_id": "revenue"}
        for key, status, reason, amount, currency in (
            ("o-1", "delivered", "", "9.90", "EUR"),
            ("o-2", "delivered", "", "500", "JPY"),
            ("o-3", "rejected", "device_not_found", "20", "EUR"),
            ("o-4", "in_doubt", "no_answer", "30", "EUR"),
            ("o-6", "duplicate", "unique_event", "11", "EUR"),
        )
    ]  # fmt: skip
    with shop.engine.begin() as connection:
        write_deliveries(connection, rows, with_totals=False)
        totals = {
            "outcome": "invalid",
            "reason": "missing_device_id",
            "events": 2,
            "revenue": Decimal(7),
            "currency": "EUR",
        }
        write_totals(connection, [event | totals | {"day": may.date(), "dag_id": "revenue"}])
    at = may.replace(tzinfo=UTC)
    shop.customers(1, 2, 3, 4)
    shop.insert("customers", {"customer_id": 5, "os_name": "ios", "idfa": "00000000-0000-0000-0000-000000000000"})
    shop.insert("purchases", purchase(1, at), purchase(2, at, amount=500, currency="JPY"), purchase(3, at, amount=20))
    shop.insert("purchases", purchase(4, at, amount=30), purchase(5, at - timedelta(hours=1), amount=7))
    shop.insert("purchases", purchase(4, at, order_id="o-6", amount=11, currency="eur"))
    return shop


def test_warehouse_and_ledger_are_compared_by_currency(books: Shop) -> None:
    [account] = recipe("recipes-operations.md", "Account for every cent, per currency", "sql")
    names = ("day", "currency", "purchases", "sold", "delivered", "refused", "in doubt", "never sent")
    euro, yen = (dict(zip(names, row, strict=True)) for row in books.rows(account))
    amounts = {"sold": Decimal("77.90"), "delivered": Decimal("20.90"), "refused": 20, "in doubt": 30, "never sent": 7}
    assert euro == {"day": date(2026, 5, 1), "currency": "EUR", "purchases": 5} | amounts
    assert (yen["currency"], yen["sold"], yen["delivered"], yen["never sent"]) == ("JPY", 500, 500, 0)


def test_the_queries_for_alerts_find_what_they_are_for(books: Shop) -> None:
    in_doubt, silent, refused, never_sent = recipe("recipes-operations.md", "Monitor and alert", "sql")
    assert [row[0] for row in books.rows(in_doubt)] == ["o-4"]
    assert [row[0] for row in books.rows(silent)] == ["revenue"]
    assert books.rows(refused) == [(date(2026, 5, 1), 5, 1, "device_not_found")]
    assert [row[1:6] for row in books.rows(never_sent)] == [("invalid", "revenue", "missing_device_id", 2, Decimal(7))]


def test_rows_with_new_ids_are_counted(books: Shop) -> None:
    [count] = recipe("recipes-queries.md", "Ids that change", "sql")
    assert books.rows(count)[0][0] == 1  # order 5, which was never sent
    books.rows_changed(
        "UPDATE purchases SET order_id = 'new-' || order_id, purchased_at = purchased_at - INTERVAL '1 hour'"
    )
    assert books.rows(count)[0][0] == 6


def test_coverage_is_measured_by_platform(books: Shop) -> None:
    [coverage] = recipe("recipes-queries.md", "Buyers without an advertising id", "sql")
    assert books.rows(coverage) == [("android", 3, 100, 0), ("ios", 1, 0, 7)]
