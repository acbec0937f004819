"""The documentation says what the code does: its table, links, excerpts, names and examples are checked against it."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from ledger_rows import write_deliveries
from table import table

from airflow_provider_adjust.adjust_api import errors as report_errors
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.operators.adjust_delivery_digest import AdjustDeliveryDigestOperator
from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator
from airflow_provider_adjust.operators.adjust_prune_ledger import AdjustPruneLedgerOperator
from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.operators.adjust_reconcile_exports import AdjustReconcileExportsOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.operators.adjust_third_party_sharing import AdjustThirdPartySharingOperator
from airflow_provider_adjust.s2s import errors
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers import classify as responses
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES
from airflow_provider_adjust.s2s.answers.reasons import REASONS
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sensors.adjust_device_event import AdjustDeviceEventSensor
from airflow_provider_adjust.sensors.adjust_events_ready import AdjustEventsReadySensor
from airflow_provider_adjust.sensors.adjust_events_reported import AdjustEventsReportedSensor
from airflow_provider_adjust.sensors.adjust_exports import AdjustExportsSensor
from airflow_provider_adjust.sensors.adjust_waiting import AdjustWaitingSensor
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

#: What is in these pages is run by tests/test_recipes.py.
RECIPES = "docs/guides/recipes-"

FENCE = re.compile(r"^( *)(```+)(\w*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
EXCERPT = re.compile(r"<!-- excerpt: (\S+) -->\n+```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Any) -> str:
    return page.relative_to(ROOT).as_posix() if isinstance(page, Path) else ""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Every fenced block of one language, with the name of its page and its number there."""
    for page in PAGES:
        found = (match for match in FENCE.finditer(read(page)) if match[3] == language)
        for number, match in enumerate(found, start=1):
            yield f"{name_of(page)} {number}", textwrap.dedent(match[4])


# -- the generated table -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_tables_are_up_to_date(generator: ModuleType) -> None:
    for file in {file for file, _, _ in generator.TABLES}:
        page = read(DOCS / file)
        assert page == generator.brought_up_to_date(page, file), "run python scripts/generate_docs.py"


def test_the_parameters_table_has_every_parameter(generator: ModuleType) -> None:
    for endpoint in ENDPOINTS.values():
        names = re.findall(r"^\| `(\w+)` \|", generator.parameters_table(endpoint), re.MULTILINE)
        assert names == list(endpoint.parameters)


# -- links ---------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = FENCE.sub("", read(page))
    headings = re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@table("page", PAGES, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", read(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


@table("page", PAGES, ids=name_of)
def test_pictures_are_there_and_described(page: Path) -> None:
    for description, path in IMAGE.findall(FENCE.sub("", read(page))):
        assert description, path
        assert (page.parent / path).is_file(), f"{path} is missing; run make docs SCREENSHOTS=1"


@table("page", PAGES, ids=name_of)
def test_links_to_the_web_are_https(page: Path) -> None:
    assert not [link for link in LINK.findall(read(page)) if link.startswith("http://")]


def test_every_page_is_reached_from_the_index() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.*") if path.suffix in {".md", ".rst"}}
    # The site's menu is made of the first cells of the index's tables.
    rows = re.findall(r"^\| \[[^\]]*\]\((\S+)\) \|", read(DOCS / "index.md"), re.MULTILINE)
    assert sorted(rows) == sorted(pages - {"index.md"})


def test_the_tests_that_a_page_names_exist() -> None:
    named = {(page, *test) for page in PAGES for test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read(page))}
    assert {name_of(page) for page, *_ in named} == {"docs/explanations/security.md"}
    missing = [
        f"{name_of(page)}: {path}::{test}"
        for page, path, test in named
        if not (ROOT / path).is_file() or not re.search(rf"^(async )?def {test}\(", read(ROOT / path), re.MULTILINE)
    ]
    assert not missing


def test_every_party_of_the_threat_model_has_tests() -> None:
    model, tests = section(DOCS / "explanations" / "security.md", "Threat model").split("\n### Tests\n")
    parties = re.findall(r"^\| \*\*(.+?)\*\* \|", model, re.MULTILINE)
    shown = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.*) \|$", tests, re.MULTILINE))
    assert len(parties) >= 9
    assert list(shown) == parties
    assert [who for who, named in shown.items() if "::test_" not in named] == []


# -- excerpts and examples -----------------------------------------------------------------------------------------------


def test_the_readme_quotes_the_example() -> None:
    excerpts = EXCERPT.findall(read(ROOT / "README.md"))
    assert {path for path, _ in excerpts} == {"example_dags/adjust_revenue_sync.py", "example_dags/sql/purchases.sql"}


@table("page", [page for page in PAGES if EXCERPT.search(read(page))], ids=name_of)
def test_a_page_quotes_files_as_they_are(page: Path) -> None:
    """The files themselves are examples and DAGs that have tests of their own."""
    for path, code in EXCERPT.findall(read(page)):
        assert code.strip(), path
        assert code in read(ROOT / path), f"{path} has changed; quote it anew"


def own_python() -> Iterator[Any]:
    """The Python blocks that are no excerpts, and no files of a project's tests, which change what they run in."""
    quote = {textwrap.dedent(code) for page in PAGES for _, code in EXCERPT.findall(read(page))}
    own = (block for block in blocks("python") if block[1] not in quote and not block[1].startswith("# tests/"))
    return (pytest.param(*block, id=block[0]) for block in own)


#: What a block may import although the tests do not install it.
NOT_INSTALLED = {"kubernetes"}


@pytest.mark.parametrize(("where", "code"), own_python())
def test_python_blocks_run(
    where: str, code: str, adjust_sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a block imports is there, what it calls takes the arguments, and a test in it passes."""
    monkeypatch.chdir(tmp_path)
    module: dict[str, Any] = {"__name__": "block_of_the_docs"}
    try:
        with DAG("a_dag_of_the_docs", schedule=None):
            exec(compile(code, where, "exec"), module)
    except ModuleNotFoundError as missing:
        if missing.name not in NOT_INSTALLED:
            raise
        pytest.skip(f"{missing.name} is not installed")
    for name, test in list(module.items()):
        if name.startswith("test_"):
            test(adjust_sandbox)


def ledger_sql() -> list[str]:
    """The statements on the ledger's tables and its view."""
    sql = [block for where, block in blocks("sql") if "adjust_" in block and not where.startswith(RECIPES)]
    found = [statement.strip() for block in sql for statement in block.split(";")]
    return [statement for statement in found if statement]


def test_sql_on_the_ledger_runs(ledger_engine: sa.Engine) -> None:
    """On every database that holds a ledger, and in the order in which the docs have it."""
    prepare(ledger_engine)
    event: dict[str, Any] = {"app_token": "4w565xzmb54d", "event_token": "f0ob4r", "environment": "production"}
    event |= {"occurred_at": datetime(2026, 5, 1, 12), "revenue": 5, "currency": "USD"}
    orders = {"1001": "in_doubt", "1002": "delivered", "1003": "rejected"}
    statements = ledger_sql()
    assert len(statements) == 7
    with ledger_engine.connect() as connection:
        write_deliveries(connection, [event | {"event_id": key, "status": status} for key, status in orders.items()])
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE purchases (order_id VARCHAR(9), purchased_at DATE, amount INT)"
        )
        connection.exec_driver_sql("INSERT INTO purchases (order_id) VALUES ('1001'), ('1002'), ('1003'), ('1004')")
        night, in_doubt, missing, call_delivered, forget = (
            connection.exec_driver_sql(statement)
            for statement in statements
            if "autovacuum" not in statement and "adjust_erasure" not in statement
        )
        assert sorted((row[0], row[2]) for row in night) == [("delivered", 1), ("in_doubt", 1), ("rejected", 1)]
        assert [row[0] for row in in_doubt] == ["1001"]
        assert sorted(row[0] for row in missing) == ["1001", "1003", "1004"]
        # The first correction has settled the event, so that the second one does not find it.
        assert (call_delivered.rowcount, forget.rowcount) == (1, 0)
        [proof] = [each for each in statements if "adjust_erasure" in each]
        assert connection.exec_driver_sql(proof).all() == []
        if ledger_engine.dialect.name == "postgresql":
            connection.exec_driver_sql(next(each for each in statements if "autovacuum" in each))


@table(("where", "text"), [pytest.param(*block, id=block[0]) for block in blocks("json")])
def test_json_blocks_are_json(where: str, text: str) -> None:
    assert isinstance(json.loads(text), dict), where


def connections() -> Iterator[tuple[str, str]]:
    text = read(DOCS / "start" / "connection.md")
    yield from (("a URI", uri) for uri in re.findall(r"^adjust://\S+$", text, re.MULTILINE))
    yield from (("JSON", block) for where, block in blocks("json") if where.startswith("docs/start/connection"))
    yield from (("on the command line", block) for block in re.findall(r"--conn-json '(.*?)'\n", text, re.DOTALL))
    exports = re.findall(
        r"^export AIRFLOW_CONN_ADJUST_DEFAULT='(.*?)'$", read(ROOT / "README.md"), re.DOTALL | re.MULTILINE
    )
    yield from (("README", value) for value in exports)


def test_connections_in_the_docs_are_read_by_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(connections())
    assert len(found) == 5
    for where, value in found:
        monkeypatch.setenv("AIRFLOW_CONN_ADJUST_DEFAULT", value)
        settings = AdjustS2SHook().settings
        assert settings.app_token == "4w565xzmb54d", where
        assert settings.environment in {"sandbox", "production"}, where
        local = "127.0.0.1" in value
        assert settings.endpoint == ("http://127.0.0.1:8099" if local else "https://s2s.adjust.com"), where
        assert bool(settings.s2s_token) is not local, where


def test_the_page_of_examples_lists_every_example() -> None:
    listed = re.findall(
        r"^\| \[\w+\]\(\.\./\.\./example_dags/(\w+\.py)\) \|", read(DOCS / "start" / "examples.md"), re.MULTILINE
    )
    assert sorted(listed) == sorted(path.name for path in (ROOT / "example_dags").glob("*.py"))


# -- names ---------------------------------------------------------------------------------------------------------------


def test_every_reason_is_in_a_table_of_the_failures_page_and_no_other() -> None:
    """The tables are generated; the first cell of each of their rows holds the reason."""
    tables = re.findall(
        r"^\| Reason \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", read(DOCS / "reference" / "failures.md"), re.MULTILINE
    )
    named = [row.split("`")[1] for table in tables for row in table.splitlines()]
    assert sorted(named) == sorted(reason.code for reason in REASONS)


def test_the_page_of_events_names_only_parameters_as_invalid() -> None:
    invalid = set(re.findall(r"`(invalid_\w+)`", read(DOCS / "reference" / "events.md")))
    assert invalid <= {f"invalid_{name}" for endpoint in ENDPOINTS.values() for name in endpoint.parameters} | {
        "invalid_"
    }


def test_every_outcome_and_error_is_in_the_failures_page() -> None:
    page = read(DOCS / "reference" / "failures.md")
    for outcome in FINAL_OUTCOMES:
        assert f"| `{outcome.value}` |" in page
    # The bases are never raised themselves, and a refused row does not fail the task by itself.
    bases = {"AdjustError", "DeliveryIncomplete", "FinalError", "InvalidEvent"}
    for name, error in inspect.getmembers(errors, inspect.isclass) + inspect.getmembers(report_errors, inspect.isclass):
        if issubclass(error, errors.AdjustError) and name not in bases:
            assert f"| `{name}` |" in page


def test_troubleshooting_has_every_distinguished_message_with_its_outcome() -> None:
    rows = read(DOCS / "guides" / "troubleshooting.md").lower().splitlines()
    words = {"halt": "stops the delivery", "retry": "sends the event again"}
    for message, outcome, reason in responses._BY_MESSAGE:
        found = [row for row in rows if row.startswith("| `") and message in row]
        old = message in {"event token for wrong app", "event supposed to be unique"}
        assert old or found, message
        for row in found:
            assert words.get(outcome.value, f"counts `{outcome.value}`, `{reason}`, and continues") in row, message


def section(page: Path, heading: str) -> str:
    """A second-level section with its subsections."""
    text = read(page)
    assert f"\n## {heading}\n" in text
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


OPERATORS: list[tuple[str, Any]] = [
    ("Common parameters", AdjustDeliveryOperator),
    ("SqlToAdjustOperator", SqlToAdjustOperator),
    ("AdjustSendEventsOperator", AdjustSendEventsOperator),
    ("AdjustEventsReadySensor", AdjustEventsReadySensor),
    ("AdjustPruneLedgerOperator", AdjustPruneLedgerOperator),
    ("AdjustForgetDevicesOperator", AdjustForgetDevicesOperator),
    ("AdjustThirdPartySharingOperator", AdjustThirdPartySharingOperator),
    ("AdjustEventsReportedSensor", AdjustEventsReportedSensor),
    ("AdjustDeviceEventSensor", AdjustDeviceEventSensor),
    ("Common parameters of the sensors", AdjustWaitingSensor),
    ("AdjustReconcileOperator", AdjustReconcileOperator),
    ("AdjustReconcileExportsOperator", AdjustReconcileExportsOperator),
    ("AdjustExportsSensor", AdjustExportsSensor),
    ("AdjustDeliveryDigestOperator", AdjustDeliveryDigestOperator),
]


def written(default: Any) -> str:
    """A default as a DAG has it."""
    if isinstance(default, timedelta):
        for unit, seconds in (("days", 86_400), ("hours", 3_600), ("seconds", 1)):
            if default.total_seconds() % seconds == 0:
                return f"timedelta({unit}={int(default.total_seconds() // seconds)})"
    return repr(default).replace("'", '"')


def own_parameters(operator: Any) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(operator.__init__).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


@table(("heading", "operator"), OPERATORS)
def test_every_operator_parameter_is_documented_with_its_default(heading: str, operator: Any) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (yes|no) \|", section(DOCS / "reference" / "operators.md", heading), re.MULTILINE
    )
    documented = {name: (default, templated == "yes") for name, default, templated in rows}
    expected = {}
    for name, parameter in own_parameters(operator).items():
        required = parameter.default is inspect.Parameter.empty
        default = "required" if required else f"`{written(parameter.default)}`"
        expected[name] = (default, name in operator.template_fields)
    assert documented == expected


def test_the_result_is_documented_key_by_key() -> None:
    result = DeliverySummary().as_result(seconds=0.0, rejected_path=None)
    table = section(DOCS / "reference" / "operators.md", "The result")
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(result)
    shown = [json.loads(text) for text in re.findall(r"^```json\n(.+?)^```", table, re.MULTILINE | re.DOTALL)]
    assert [list(example) for example in shown] == [list(result)]


# -- form ----------------------------------------------------------------------------------------------------------------


@table("page", PAGES, ids=name_of)
def test_lines_are_short_but_for_tables(page: Path) -> None:
    # 120 is the aim, 130 what the linter lets prose and messages have. A link's target cannot be broken.
    lines = re.sub(r"(?<=\])\([^)\s]+\)", "", read(page)).splitlines()
    assert not [line for line in lines if len(line) > 130 and not line.startswith("|")]
