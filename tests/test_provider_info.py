"""The provider dict: what Airflow, its own schemas and its own form code make of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module, resources
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.utils import canonicalize_name
from table import table

from airflow_provider_adjust import __version__, connection_form
from airflow_provider_adjust.get_provider_info import get_provider_info

REPOSITORY = Path(__file__).resolve().parent.parent

INFO = get_provider_info()
[CONNECTION_TYPE] = INFO["connection-types"]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def airflow_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(resources.files("airflow").joinpath(name).read_text(encoding="utf-8"))
    return schema


def modules_named() -> Iterator[str]:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in INFO[kind]:
            yield from entry["python-modules"]
    for entry in INFO["transfers"]:
        yield entry["python-module"]


# --- The dict ---------------------------------------------------------------------------------------------------------


def test_the_dict_is_valid_by_the_schema_that_airflow_applies_at_start() -> None:
    jsonschema.validate(INFO, airflow_schema("provider_info.schema.json"))


def test_every_key_is_one_that_airflow_knows() -> None:
    """The runtime schema lets any key pass, so a misspelt one would be ignored in silence."""
    known = airflow_schema("provider_info.schema.json")["properties"] | {"versions": {}}
    assert INFO.keys() <= known.keys()


@table(
    "key",
    [
        "asset-uris",
        "config",
        "connection-types",
        "integrations",
        "hooks",
        "operators",
        "sensors",
        "triggers",
        "transfers",
        "task-decorators",
    ],
)
def test_the_stricter_schema_of_airflows_own_providers_accepts_it(key: str) -> None:
    """Only this one describes `ui-field-behaviour` and `conn-fields`; the runtime reads them unchecked."""
    schema = airflow_schema("provider.yaml.schema.json")
    assert INFO[key], "an empty list would be valid and say nothing"
    jsonschema.validate(INFO[key], {**schema["properties"][key], "definitions": schema.get("definitions", {})})


def test_package_name_is_the_canonical_distribution_name() -> None:
    assert INFO["package-name"] == canonicalize_name(PROJECT["name"])


def test_version_is_the_packages() -> None:
    assert INFO["versions"] == [__version__]


def test_the_entry_point_is_this_function() -> None:
    [(name, target)] = PROJECT["entry-points"]["apache_airflow_provider"].items()
    [installed] = [e for e in entry_points(group="apache_airflow_provider") if e.value == target]
    assert installed.name == name
    assert installed.load() is get_provider_info


def test_airflow_finds_the_provider() -> None:
    from airflow.providers_manager import ProvidersManager

    assert ProvidersManager().providers[INFO["package-name"]].version == __version__


def test_every_option_has_its_default_where_airflow_reads_it() -> None:
    from airflow.configuration import AIRFLOW_HOME, conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    for section, described in INFO["config"].items():
        for option, more in described["options"].items():
            assert conf.get(section, option) == more["default"].replace("{AIRFLOW_HOME}", AIRFLOW_HOME)


def test_reading_the_dict_imports_nothing_of_airflow() -> None:
    """Airflow calls `get_provider_info` half-way through its own import: an import back would stop every process."""
    code = (
        "import sys\n"
        "from airflow_provider_adjust.get_provider_info import get_provider_info\n"
        "get_provider_info()\n"
        "print([m for m in sys.modules if m.partition('.')[0] == 'airflow'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_airflow_registers_the_asset_uris() -> None:
    """An entry that lacks its schemes or its handler is skipped in silence."""
    try:
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as Manager
    except ImportError:  # before Airflow 3.2
        from airflow.providers_manager import ProvidersManager as Manager  # type: ignore[assignment]

    manager, [entry] = Manager(), INFO["asset-uris"]
    for registry, key in [
        (manager.asset_uri_handlers, "handler"),
        (manager.asset_factories, "factory"),
        (manager.asset_to_openlineage_converters, "to_openlineage_converter"),
    ]:
        module, _, name = entry[key].rpartition(".")
        assert registry["adjust"] is getattr(import_module(module), name)


@table("module", sorted(modules_named()))
def test_every_module_named_imports(module: str) -> None:
    assert import_module(module).__doc__


def objects_named() -> Iterator[str]:
    yield from INFO["extra-links"]
    yield from INFO["cli"]
    yield from INFO["notifications"]
    for entry in INFO["task-decorators"]:
        yield entry["class-name"]


@table("path", sorted(objects_named()))
def test_every_object_named_is_there(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_airflow_offers_the_decorator_by_its_name() -> None:
    from airflow.sdk import task

    [entry] = INFO["task-decorators"]
    assert getattr(task, entry["name"]).__name__ == entry["class-name"].rpartition(".")[2]


def test_the_links_named_are_those_of_the_operators() -> None:
    from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator

    links = [type(link) for link in AdjustDeliveryOperator.operator_extra_links]
    assert [f"{link.__module__}.{link.__name__}" for link in links] == INFO["extra-links"]


def test_the_hook_class_has_the_attributes_without_which_airflow_ignores_it() -> None:
    module, _, name = CONNECTION_TYPE["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), name)
    assert (hook.conn_type, hook.conn_name_attr, hook.default_conn_name, hook.hook_name) == (
        CONNECTION_TYPE["connection-type"],
        connection_form.CONN_NAME_ATTR,
        connection_form.DEFAULT_CONN_ID,
        CONNECTION_TYPE["hook-name"],
    )


# --- The form ---------------------------------------------------------------------------------------------------------


def test_the_fields_are_those_that_the_hook_reads() -> None:
    assert list(CONNECTION_TYPE["conn-fields"]) == [
        "app_token",
        "environment",
        "api_token",
        "digest_key",
        "endpoints",
        "connect_timeout",
        "read_timeout",
        "api_endpoint",
        "report_endpoint",
        "gdpr_url",
        "report_timeout",
    ]


def test_environment_has_no_default() -> None:
    assert CONNECTION_TYPE["conn-fields"]["environment"]["schema"] == {
        "type": ["string", "null"],
        "enum": ["production", "sandbox"],
    }


@table("token", ["4w565xzmb54d", "abc123DEF456g", "A"])
def test_an_app_token_of_any_length_passes(token: str) -> None:
    jsonschema.validate(token, CONNECTION_TYPE["conn-fields"]["app_token"]["schema"])


@table("token", ["", "4w565xzmb54d ", "4w565-xzmb54d", "{your_app_token}"])
def test_an_invalid_app_token_is_refused(token: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(token, CONNECTION_TYPE["conn-fields"]["app_token"]["schema"])


@table("name", list(CONNECTION_TYPE["conn-fields"]))
def test_every_field_may_stay_empty_and_says_in_one_sentence_what_it_is_for(name: str) -> None:
    field = CONNECTION_TYPE["conn-fields"][name]
    jsonschema.Draft202012Validator.check_schema(field["schema"])
    assert "null" in field["schema"]["type"]
    assert field["description"].endswith(".")
    assert field["description"].count(". ") == 0


def test_a_default_is_a_value_that_the_field_accepts() -> None:
    defaults = {n: f["schema"] for n, f in CONNECTION_TYPE["conn-fields"].items() if "default" in f["schema"]}
    assert set(defaults) == {
        "connect_timeout", "read_timeout", "api_endpoint", "report_endpoint", "gdpr_url", "report_timeout",
    }  # fmt: skip
    for schema in defaults.values():
        jsonschema.validate(schema["default"], schema)


@pytest.fixture
def form_libraries(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """Put Airflow's own stand-ins in the place of the form libraries, as Airflow 3.1 does without them.

    There is nothing else in them, so a class that Airflow's stand-ins lack is an ImportError here as it is there.
    """
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    names: dict[str, dict[str, Any]] = {
        "wtforms": {
            "StringField": HookMetaService.MockStringField,
            "IntegerField": HookMetaService.MockIntegerField,
            "PasswordField": HookMetaService.MockPasswordField,
            "BooleanField": HookMetaService.MockBooleanField,
        },
        "wtforms.validators": {"Optional": HookMetaService.MockOptional, "any_of": HookMetaService.MockEnum},
        "flask_babel": {"lazy_gettext": str},
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {
            "BS3TextFieldWidget": HookMetaService.MockAnyWidget,
            "BS3PasswordFieldWidget": HookMetaService.MockAnyWidget,
        },
    }
    for module_name, members in names.items():
        module = ModuleType(module_name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module_name, module)
    return HookMetaService


def test_the_widgets_of_airflow_3_1_say_what_the_fields_of_3_2_say(form_libraries: type[Any]) -> None:
    # `pattern` and `minimum` have no stand-in in 3.1, where the hook alone refuses a bad value.
    not_in_3_1 = {"pattern", "minimum"}
    expected = {
        name: {
            "value": field["schema"].get("default"),
            "description": field["description"],
            "schema": {"title": field["label"]} | {k: v for k, v in field["schema"].items() if k not in not_in_3_1},
        }
        for name, field in CONNECTION_TYPE["conn-fields"].items()
    }
    widgets = connection_form.hook_form_widgets()
    dumps = {name: widget.param.dump() for name, widget in widgets.items()}
    actual = {
        name: {
            "value": dump["value"],
            "description": dump["description"],
            "schema": dump["schema"] | ({"default": dump["value"]} if dump["value"] is not None else {}),
        }
        for name, dump in dumps.items()
    }
    assert list(actual) == list(expected)
    assert actual == expected


def test_the_labels_of_airflow_3_1_are_those_of_3_2() -> None:
    kebab = CONNECTION_TYPE["ui-field-behaviour"]
    snake = connection_form.hook_field_behaviour()
    assert {key.replace("_", "-"): value for key, value in snake.items()} == kebab
    jsonschema.validate(snake, airflow_schema("customized_form_field_behaviours.schema.json"))


def test_the_hook_hands_out_this_form(form_libraries: type[Any]) -> None:
    module, _, name = CONNECTION_TYPE["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), name)
    assert hook.get_ui_field_behaviour() == connection_form.hook_field_behaviour()
    assert list(hook.get_connection_form_widgets()) == list(CONNECTION_TYPE["conn-fields"])


# --- The registry's file ----------------------------------------------------------------------------------------------


def test_the_registry_lists_every_class_for_dags() -> None:
    registry = yaml.safe_load((REPOSITORY / ".airflow-registry.yaml").read_text(encoding="utf-8"))
    assert registry["package-name"] == INFO["package-name"]
    assert registry["display-name"] == INFO["name"]

    told = [entry["module"] for kind in ("operators", "other") for entry in registry[kind]]
    for module, _, name in (path.rpartition(".") for path in told):
        assert getattr(import_module(module), name).__module__ == module
    taken = set(modules_named()) - {module for entry in INFO["triggers"] for module in entry["python-modules"]}
    assert taken <= {path.rpartition(".")[0] for path in told}
    assert {INFO["task-decorators"][0]["class-name"], *INFO["notifications"]} <= set(told)
