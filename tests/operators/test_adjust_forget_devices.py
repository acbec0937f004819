"""AdjustForgetDevicesOperator erases devices for good, names none of them anywhere, and needs to be told so."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, Connect, Said, device, purchase, reveals
from operators.sending import operator

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, DeliveryStopped
from airflow_provider_adjust.s2s.ledger import erasures as ledger_erasures
from airflow_provider_adjust.s2s.ledger.schema import erasures
from airflow_provider_adjust.sandbox import SandboxServer

TASK = SimpleNamespace(dag_id="privacy", run_id="today", task_id="forget", map_index=-1, try_number=1)


@pytest.fixture(autouse=True)
def no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_erasures, "PACE", 0.0)


@pytest.fixture
def account(adjust: SandboxServer, connect: Connect, ledger: sa.Engine) -> SandboxServer:
    """The stand-in, with which the connection erases as well."""
    connect(adjust.url, gdpr_url=adjust.url)
    return adjust


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return sa.create_engine(f"sqlite:///{path}")


def rows(*numbers: int) -> list[dict[str, str]]:
    return [{"gps_adid": device(number)} for number in numbers]


def forget(devices: Any = None, **arguments: Any) -> AdjustForgetDevicesOperator:
    given = {"task_id": "forget", "ledger_conn_id": "adjust_ledger", "confirm": "permanently"} | arguments
    return AdjustForgetDevicesOperator(devices=devices, **given)


def records(ledger: sa.Engine) -> list[Any]:
    with ledger.connect() as connection:
        return list(connection.execute(sa.select(erasures).order_by(erasures.c.id)).all())


def test_devices_are_erased_and_their_events_refused(account: SandboxServer, ledger: sa.Engine, said: Said) -> None:
    made = forget(rows(1, 2), asked_by="ticket 17")
    result = made.execute({"ti": TASK})  # type: ignore[typeddict-item]
    assert (result["erased"], result["left"], result["requests"]) == (2, 0, 2)
    assert [each["gps_adid"] for each in account.erasures()] == [device(1), device(2)]
    assert {each["environment"] for each in account.erasures()} == {"production"}
    kept = records(ledger)
    assert {(each.asked_by, each.dag_id, each.run_id, each.task_id, each.status) for each in kept} == {
        ("ticket 17", "privacy", "today", "forget", "erased")
    }
    assert forget(rows(1, 2)).execute({})["known"] == 2

    before = account.stats()["requests"]
    sent = operator([purchase(1), purchase(3)], ledger_conn_id="adjust_ledger", tolerate=["device_opted_out"]).execute(
        {}
    )
    assert (sent["by_reason"], sent["delivered"]) == ({"device_opted_out": 1}, 1)
    assert account.stats()["requests"] == before + 1
    assert reveals(f"{said}{result}") == []


def test_a_query_is_streamed_and_only_its_device_ids_are_read(
    account: SandboxServer, warehouse: sa.Engine, said: Said
) -> None:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE requests (person TEXT, GPS_ADID TEXT, adid TEXT)")
        for number in (1, 2):
            connection.exec_driver_sql("INSERT INTO requests VALUES (?, ?, NULL)", (f"person {number}", device(number)))
    query = {"sql": "SELECT person, gps_adid, adid FROM requests", "sql_conn_id": "warehouse"}
    dry = forget(**query, confirm=None, dry_run=True).execute({})
    assert (dry["left"], account.erasures()) == (2, [])
    assert "2 devices would be asked for, which takes 0 minutes" in str(said)
    assert forget(**query, limit=1).execute({})["left"] == 1
    assert "1 devices are left for the next run" in str(said)
    assert forget(**query).execute({})["known"] == 1
    assert len(account.erasures()) == 2
    assert reveals(said) == []
    with pytest.raises(AirflowFailException, match="no column with a device id that Adjust erases by"):
        forget(sql="SELECT person FROM requests", sql_conn_id="warehouse").execute({})
    with pytest.raises(AirflowFailException, match="more than one column named adid"):
        forget(sql="SELECT adid, adid FROM requests", sql_conn_id="warehouse").execute({})


def test_the_query_is_closed_before_the_first_turn(
    account: SandboxServer, warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns take an hour, in which a database would keep the transaction, or end it."""
    with warehouse.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE requests (adid TEXT)")
        connection.exec_driver_sql("INSERT INTO requests VALUES ('a1'), ('a2')")
    calls = Mock()
    for module, name in (("sql_rows", "_close_all"), ("operators.adjust_forget_devices", "post")):
        path = f"airflow_provider_adjust.{module}.{name}"
        real = create_autospec(pkgutil.resolve_name(path), side_effect=pkgutil.resolve_name(path))
        calls.attach_mock(real, name)
        monkeypatch.setattr(path, real)
    assert forget(sql="SELECT adid FROM requests", sql_conn_id="warehouse").execute({})["erased"] == 2
    assert [name for name, *_ in calls.mock_calls if not name.startswith("_close_all().")] == [
        "_close_all",
        "post",
        "post",
    ]


def test_devices_may_be_the_json_of_a_template(account: SandboxServer, said: Said) -> None:
    assert forget(json.dumps(rows(1, 2)), asked_by=None).execute({})["erased"] == 2
    for nothing in ("", " None ", "null"):
        with pytest.raises(AirflowFailException, match="devices rendered to nothing"):
            forget(nothing).execute({})
    for wrong, words in ((device(3), "devices is not a JSON list"), (rows(3)[0], "devices must be a list of rows")):
        with pytest.raises(AirflowFailException, match=words):
            forget(wrong).execute({})
    assert forget("[]").execute({})["devices"] == 0
    assert len(account.erasures()) == 2
    assert reveals(said) == []


def test_each_instance_of_a_mapped_task_has_turns_of_its_own(account: SandboxServer, ledger: sa.Engine) -> None:
    for number in (0, 1):
        forget(rows(number)).execute({"ti": SimpleNamespace(**vars(TASK) | {"map_index": number})})  # type: ignore[typeddict-item]
    assert [each.task_id for each in records(ledger)] == ["forget[0]", "forget[1]"]


def test_a_lost_key_is_reported_before_devices_are_requested_again(
    account: SandboxServer, connect: Connect, said: Said
) -> None:
    forget(rows(1, 2)).execute({})
    assert "digest key" not in str(said)
    connect(account.url, gdpr_url=account.url, token="anotherToken")
    assert forget(rows(1), confirm=None, dry_run=True).execute({})["left"] == 1
    assert "2 devices were erased under a digest key that the connection does not have" in str(said)


def test_an_erasure_must_be_confirmed_as_permanent() -> None:
    for wrong in (
        {"confirm": None},
        {"confirm": "yes"},
        {"confirm": "yes", "dry_run": True},
        {"sql": "SELECT 1", "sql_conn_id": "warehouse"},
        {"devices": None},
        {"devices": None, "sql": "SELECT 1"},
        {"limit": 0},
        {"max_minutes": 0},
    ):
        with pytest.raises(AdjustConfigurationError):
            forget(**{"devices": []} | wrong)


def test_what_is_refused_fails_the_task_after_all_others_were_asked_for(account: SandboxServer, said: Said) -> None:
    with pytest.raises(AirflowFailException) as caught:
        forget([{"oaid": device(9)}, *rows(1), {"adid": f"{device(2)} {device(3)}"}]).execute({})
    assert str(caught.value).startswith("ErasureIncomplete: 2 were not erased: row 1: the row has no usable device id")
    assert len(account.erasures()) == 2
    assert "row 3: Adjust refuses the adid" in str(said)
    assert reveals(f"{said}{caught.value}") == []


def test_a_connection_of_no_use_is_refused_before_anything_is_asked(account: SandboxServer, connect: Connect) -> None:
    for settings, words in (
        ({"app_token": None}, "needs an app token"),
        ({"environment": None}, "would take production"),
        ({"environment": "Sandbox"}, "production or sandbox"),
        ({"token": None}, "digest_key"),
    ):
        connect(account.url, gdpr_url=account.url, **settings)  # type: ignore[arg-type]
        with pytest.raises(AirflowFailException, match=words):
            forget(rows(1)).execute({})
    connect(account.url, gdpr_url="https://elsewhere.example.com")
    with pytest.raises(AirflowFailException, match="no token may go to"):
        forget(rows(1)).execute({})
    assert account.erasures() == []


def test_devices_are_erased_where_their_events_go(account: SandboxServer, connect: Connect, ledger: sa.Engine) -> None:
    """Adjust answers 200 for a device that it does not know, and a rehearsal must not erase at Adjust."""
    for host, gdpr_url, words in (
        (account.url, None, "to 127.0.0.1, but would erase devices for good at gdpr.adjust.com"),
        (account.url, "https://gdpr.eu.adjust.com", "set gdpr_url to the stand-in"),
        ("https://s2s.eu.adjust.com", None, "such as https://gdpr.eu.adjust.com"),
        ("https://s2s.tr.adjust.com", "https://gdpr.us.adjust.com", "such as https://gdpr.tr.adjust.com"),
        ("https://us.s2s.adjust.com", account.url, "does not know the app's devices"),
    ):
        connect(host, gdpr_url=gdpr_url)
        for how in ({}, {"confirm": None, "dry_run": True}):
            with pytest.raises(AirflowFailException, match=words):
                forget(rows(1), **how).execute({})
    for host, gdpr_url in (
        ("https://s2s.eu.adjust.com", "https://gdpr.eu.adjust.com"),
        (None, "https://gdpr.eu.adjust.com"),
        (None, account.url),
    ):
        connect(host, gdpr_url=gdpr_url)
        assert forget(rows(1), confirm=None, dry_run=True).execute({})["left"] == 1
    assert records(ledger) == []


def test_the_app_is_the_one_of_its_events(account: SandboxServer, ledger: sa.Engine) -> None:
    """However it was written: a device is suppressed for an app, and its events name the app without white space."""
    assert forget(rows(1), app_token=f" {APP_TOKEN}\n").execute({})["erased"] == 1
    assert [each["app_token"] for each in account.erasures()] == [APP_TOKEN]
    sent = operator([purchase(1)], ledger_conn_id="adjust_ledger", tolerate=["device_opted_out"]).execute({})
    assert sent["by_reason"] == {"device_opted_out": 1}
    for app_token, words in (("none", "needs an app token"), ("abc-123", "letters and digits only")):
        with pytest.raises(AirflowFailException, match=words):
            forget(rows(2), app_token=app_token).execute({})


def test_a_killed_task_asks_for_nothing_more(account: SandboxServer, connect: Connect) -> None:
    made = forget(rows(1))
    made.on_kill()
    with pytest.raises(DeliveryStopped):
        made.execute({})
    assert account.erasures() == []
    made = forget(rows(1))
    made.execute({})
    made.on_kill()


def test_the_rendered_fields_show_no_device() -> None:
    made = forget(rows(1, 2))
    made.hide_rendered_fields()
    assert str(made.devices) == "2 devices (not shown)"
    templated = forget("{{ ti.xcom_pull('load') }}")
    templated.hide_rendered_fields()
    assert str(templated.devices) == "some devices (not shown)"
    query = forget(sql="SELECT 1", sql_conn_id="warehouse")
    query.hide_rendered_fields()
    assert query.devices is None
