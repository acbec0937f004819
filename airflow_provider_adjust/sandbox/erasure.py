"""`/gdpr_forget_device`: erases a device, after which its events are answered 451.

Source: Adjust's "Data erasure API" page: parameters in the query, six kinds of id, 10 requests a minute. It does not say
what the limit counts, nor how refusals are worded; both are this module's choice.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.rules import bearer_token

PATH = "/gdpr_forget_device"
ID_NAMES = ("idfa", "idfv", "gps_adid", "fire_adid", "win_adid", "adid")
_WINDOW_SECONDS = 60.0


def forget_device(query: bytes, authorization: str | None, sandbox: Sandbox) -> tuple[int, dict[str, str]]:
    """Return the status and JSON body. A device that nobody knows is erased like any other."""
    config, state = sandbox.config, sandbox.state
    params = dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True))
    now = config.clock()
    state.erasure_requests.append((now, params))
    recent = sum(1 for at, _ in state.erasure_requests if now - at < _WINDOW_SECONDS)
    if recent > config.erasures_per_minute:
        return 429, _error("Too many requests")
    if config.tokens and bearer_token(authorization) not in config.tokens:
        return 401, _error("Failed to authorize request")
    if params.get("s2s") != "1":
        return 400, _error("Parameter s2s=1 is missing")
    app_token = params.get("app_token", "")
    if not app_token or (config.app_tokens is not None and app_token not in config.app_tokens):
        return 400, _error("Invalid app token")
    ids = {name: params[name] for name in ID_NAMES if params.get(name)}
    if len(ids) != 1 or any(" " in value for value in ids.values()):
        return 400, _error("Invalid device id")
    environment = params.get("environment", "production")
    [(name, value)] = ids.items()
    if value in config.opted_out_devices:
        return 451, _error("Device is opted out")
    state.erase(app_token, environment, name, value)
    return 200, {"status": "OK"}


def _error(message: str) -> dict[str, str]:
    return {"error": f"Forget device failed ({message})"}
