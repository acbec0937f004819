"""Neither a failure nor a success shows a device, an address or a token."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, IP_ADDRESS, S2S_TOKEN, Said, device, purchase, reveals
from operators.sending import operator, send

from airflow_provider_adjust.sandbox import SandboxServer

PERSONAL = {"idfa": device(2), "callback_params": {"ip": IP_ADDRESS}, "partner_params": json.dumps({"id": device(3)})}
FAILURES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # events, arguments, settings of the stand-in
    "refused by Adjust": ([purchase(1, **PERSONAL)], {}, {"unknown_devices": [device(1)]}),
    "opted out": ([purchase(1, **PERSONAL)], {}, {"opted_out_devices": [device(1)]}),
    "condemned": ([purchase(1, **PERSONAL)], {}, {"tokens": ["other"]}),
    "condemned by 202": ([purchase(1, **PERSONAL)], {}, {"tokens": ["other"], "enforce": False}),
    "unreachable": ([purchase(1, **PERSONAL)], {}, {"fault_plan": ["429"], "retry_after": 900}),
    "in doubt": ([purchase(1, **PERSONAL)], {"on_in_doubt": "hold"}, {"fault_plan": ["truncate"]}),
    "out of order": (iter([purchase(2, **PERSONAL), purchase(1)]), {}, {}),
    "the same event twice": ([purchase(1, **PERSONAL), purchase(1)], {}, {}),
    "broken JSON": (json.dumps([purchase(1)])[:-9], {}, {}),
    "no JSON": (str([purchase(1)]), {}, {}),
    "a single row": (purchase(1), {}, {}),
    "no rows": ([device(1), [IP_ADDRESS], None], {}, {}),
    "no such route": ([purchase(1, os_name=device(2))], {"route_by": "os_name", "adjust_conn_id": {"a": "adjust_default"}}, {}),
    "no such event": ([purchase(1, event=device(2))], {"event_tokens": {"buy": EVENT_TOKEN}}, {}),
    "an id where another value belongs": (
        [purchase(n, **{name: device(9)}) for n, name in enumerate(
            ("revenue", "currency", "ip_address", "os_name", "created_at", "environment", "session_count", "att_status",
             "tracking_enabled", "callback_params", "app_token", "event_token", "s2s")
        )],
        {}, {},
    ),
    "a wrong type": ([purchase(1, gps_adid=[device(1)], ip_address={"ip": IP_ADDRESS})], {}, {}),
    "an app token that is none": ([purchase(1)], {"app_token": f"{APP_TOKEN}-{S2S_TOKEN}"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_reveals_a_device_an_address_or_a_token(adjust: SandboxServer, said: Said, name: str) -> None:
    events, arguments, settings = FAILURES[name]
    adjust.configure(**settings)
    with pytest.raises(Exception) as failure:
        operator(events, **arguments).execute({})
    assert not reveals("".join(traceback.format_exception(failure.value)))
    assert not reveals(said)


def test_success_reveals_nothing_either(adjust: SandboxServer, said: Said) -> None:
    result = send([purchase(number, order_id=..., **PERSONAL) for number in range(5)], id_field=None)
    assert "Delivery ended" in str(said)
    assert not reveals(said)
    assert not reveals(result)
