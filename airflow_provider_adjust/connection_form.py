"""The fields of an `adjust` connection, defined once, in the two formats that Airflow needs.

Since Airflow 3.2 the form is metadata: `ui-field-behaviour` and `conn-fields` in the provider dict, and the UI never
imports the hook. Airflow 3.1 ignores these keys and calls two methods of the hook. Both formats are built here from one list,
so they always agree. Airflow reads the provider dict during its own import, so this module does not import Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CONN_TYPE: Final = "adjust"
CONN_NAME_ATTR: Final = "adjust_conn_id"
HOOK_NAME: Final = "Adjust S2S"
HOOK_CLASS: Final = "airflow_provider_adjust.hooks.adjust_s2s.AdjustS2SHook"
DEFAULT_CONN_ID: Final = "adjust_default"

DEFAULT_ENDPOINT: Final = "https://s2s.adjust.com"
DEFAULT_API_ENDPOINT: Final = "https://api.adjust.com"
DEFAULT_GDPR_URL: Final = "https://gdpr.adjust.com"
DEFAULT_REPORT_ENDPOINT: Final = "https://automate.adjust.com"
#: The default hosts for tokens: Adjust's own domains, as its SDKs name them, and this machine for the sandbox.
DEFAULT_ALLOWED_HOSTS: Final = "*.adjust.com, *.adjust.world, *.adjust.net.in, *.adjust.cn, *.adjust.io, loopback"
DEFAULT_CONNECT_TIMEOUT: Final = 5
DEFAULT_READ_TIMEOUT: Final = 30
DEFAULT_REPORT_TIMEOUT: Final = 600

ENVIRONMENTS: Final = ("production", "sandbox")


@dataclass(frozen=True, kw_only=True)
class StandardField:
    """A column of every Airflow connection, under its name for Adjust.

    Airflow shows a label and a placeholder only, so the placeholder says where to find the value.
    """

    name: str
    label: str
    placeholder: str


@dataclass(frozen=True, kw_only=True)
class ExtraField:
    """A field of Adjust, stored in the connection's `extra` under `name`. Each may stay empty.

    `kind` is a JSON Schema type. `choices` make a dropdown. A `secret` has a password box. Airflow masks it in its other views
    if its name contains one of Airflow's words, such as token.
    """

    name: str
    label: str
    description: str
    kind: str = "string"
    default: str | int | None = None
    placeholder: str | None = None
    pattern: str | None = None
    minimum: int | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    def as_json_schema(self) -> dict[str, Any]:
        """Return the field's JSON Schema. It allows `null`, or the UI would refuse to save an empty field."""
        constraints = {
            "default": self.default,
            "pattern": self.pattern,
            "minimum": self.minimum,
            "enum": list(self.choices) or None,
            "format": "password" if self.secret else None,
        }
        return {"type": [self.kind, "null"]} | {key: value for key, value in constraints.items() if value is not None}


STANDARD_FIELDS: Final = (
    StandardField(name="host", label="Endpoint", placeholder=DEFAULT_ENDPOINT),
    StandardField(
        name="password",
        label="S2S security token",
        placeholder="AppView > All apps > your app > Protection > S2S Security",
    ),
    # The Test button of Airflow 3.3.1 and 3.3.2 refuses every connection without a port (apache/airflow#73298).
    StandardField(name="port", label="Port", placeholder="443 (fill it in: the Test button needs a port)"),
)

# `extra` is hidden because every key that the hook reads from it has its own field below.
HIDDEN_FIELDS: Final = ("schema", "login", "extra")

EXTRA_FIELDS: Final = (
    ExtraField(
        name="app_token",
        label="App token",
        description=(
            "Start here: the app's token, in AppView > All apps > your app (Airflow hides it once it is saved, so put the "
            "app's name into Description); a task or a row may name another."
        ),
        placeholder="4w565xzmb54d",
        # No length: the examples in Adjust's documentation have 12 and 13 characters.
        pattern="^[A-Za-z0-9]+$",
    ),
    ExtraField(
        name="environment",
        label="Environment",
        description=(
            "Where events count: production for real revenue, sandbox for the testing console; "
            "if it is empty, every task or row has to name it."
        ),
        # No default on purpose: test events in production and revenue in the sandbox cannot be taken back.
        choices=ENVIRONMENTS,
    ),
    ExtraField(
        name="api_token",
        label="API token",
        description=(
            "Your user's API token, in your account profile in Adjust; only the Report Service and the Device API need "
            "it, and it is not the S2S security token under Standard Fields."
        ),
        secret=True,
    ),
    ExtraField(
        name="digest_key",
        label="Digest key",
        description=(
            "Secrets with commas between them, the newest first, that key the digests of what events hold; if it is empty, "
            "the S2S security token does."
        ),
        secret=True,
    ),
    ExtraField(
        name="endpoints",
        label="Endpoints to test",
        description=(
            "What the connection test asks, with commas between them (event, ad_revenue): each needs its scope of the S2S "
            "security token, and Adjust enforces tokens for each on its own; if it is empty, the test asks event."
        ),
        placeholder="event, ad_revenue",
    ),
    ExtraField(
        name="connect_timeout",
        label="Connect timeout (seconds)",
        description="How long to wait, in whole seconds, until Adjust accepts a connection.",
        kind="integer",
        default=DEFAULT_CONNECT_TIMEOUT,
        minimum=1,
    ),
    ExtraField(
        name="read_timeout",
        label="Read timeout (seconds)",
        description="How long to wait, in whole seconds, for Adjust's answer to a request; past it the event is in doubt.",
        kind="integer",
        default=DEFAULT_READ_TIMEOUT,
        minimum=1,
    ),
    ExtraField(
        name="api_endpoint",
        label="API endpoint",
        description="Base URL of the Device API; change it only to test against a stand-in for Adjust.",
        default=DEFAULT_API_ENDPOINT,
        placeholder=DEFAULT_API_ENDPOINT,
    ),
    ExtraField(
        name="report_endpoint",
        label="Report endpoint",
        description="Base URL of the Report Service; change it only to test against a stand-in for Adjust.",
        default=DEFAULT_REPORT_ENDPOINT,
        placeholder=DEFAULT_REPORT_ENDPOINT,
    ),
    ExtraField(
        name="gdpr_url",
        label="GDPR endpoint",
        description=(
            "Base URL for the erasure of devices, for which the S2S token needs the GDPR scope; an app with data residency has "
            "its region's, such as https://gdpr.eu.adjust.com."
        ),
        default=DEFAULT_GDPR_URL,
        placeholder=DEFAULT_GDPR_URL,
    ),
    ExtraField(
        name="report_timeout",
        label="Report timeout (seconds)",
        description="How long to wait, in whole seconds, for a report; large ones take minutes.",
        kind="integer",
        default=DEFAULT_REPORT_TIMEOUT,
        minimum=1,
    ),
)


def provider_form() -> dict[str, Any]:
    """Return the form for Airflow 3.2 and newer: two keys of a `connection-types` entry in the provider dict."""
    behaviour = hook_field_behaviour()
    return {
        "ui-field-behaviour": {key.replace("_", "-"): value for key, value in behaviour.items()},
        "conn-fields": {
            field.name: {"label": field.label, "description": field.description, "schema": field.as_json_schema()}
            for field in EXTRA_FIELDS
        },
    }


def hook_field_behaviour() -> dict[str, Any]:
    """Return the hidden fields, labels and placeholders for Airflow 3.1, by the hook's `get_ui_field_behaviour`."""
    return {
        "hidden_fields": list(HIDDEN_FIELDS),
        "relabeling": {field.name: field.label for field in STANDARD_FIELDS},
        "placeholders": {
            field.name: field.placeholder
            for field in (*STANDARD_FIELDS, *EXTRA_FIELDS)
            if field.placeholder is not None
        },
    }


def hook_form_widgets() -> dict[str, Any]:
    """Return a widget for each field in `extra` for Airflow 3.1, by the hook's `get_connection_form_widgets`.

    The form libraries are imported here because workers do not have them. During this call, Airflow 3.1's API server replaces
    them with stand-ins that have only the classes and validators used below. `minimum` and `pattern` are therefore checked by
    the hook.
    """
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    widgets: dict[str, Any] = {}
    for field in EXTRA_FIELDS:
        if field.secret:
            field_class, widget = PasswordField, BS3PasswordFieldWidget()
        else:
            field_class, widget = (IntegerField if field.kind == "integer" else StringField), BS3TextFieldWidget()
        widgets[field.name] = field_class(
            lazy_gettext(field.label),
            validators=[Optional(), *([any_of(list(field.choices))] if field.choices else [])],
            description=field.description,
            default=field.default,
            widget=widget,
        )
    return widgets
